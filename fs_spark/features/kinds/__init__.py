"""The kinds of transforms: what their texts say. A kind is a module here and one in `fs_spark.transforms.kinds`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fs_spark.features.kinds.against import AgainstTransform
from fs_spark.features.kinds.aggregate import AggregateTransform
from fs_spark.features.kinds.columns import ColumnsTransform
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.kinds.fitted import FittedTransform
from fs_spark.features.kinds.function import FunctionTransform
from fs_spark.features.kinds.rolling import RollingTransform

Transform = Annotated[
    AgainstTransform
    | ColumnsTransform
    | ExpressionsTransform
    | FittedTransform
    | FunctionTransform
    | RollingTransform
    | AggregateTransform,
    Field(discriminator="kind"),
]

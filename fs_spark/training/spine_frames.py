"""A spine as it is given -> a frame whose times have zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import DataFrame

from fs_spark.errors import SchemaError, zone_hint
from fs_spark.tables import Tables

if TYPE_CHECKING:
    import pandas as pd


def spine_frame(tables: Tables, spine: DataFrame | pd.DataFrame, timestamp: str) -> DataFrame:
    """A frame of Spark as it is; one of pandas brought to Spark.

    Raises     SchemaError for a pandas frame without its time, or with times without a zone
    """
    import pandas as pd

    if not isinstance(spine, pd.DataFrame):
        return spine
    if timestamp not in spine.columns:
        raise SchemaError(f"the spine lacks its time column {timestamp!r}; it has {', '.join(map(str, spine.columns))}")
    for column in spine.columns:
        if pd.api.types.is_datetime64_any_dtype(spine[column]) and spine[column].dt.tz is None:
            time = f"spine[{column!r}].dt.tz_localize"
            raise SchemaError(
                f"the spine's {column!r} is without a zone. " + zone_hint(f"{time}('UTC')", f"{time}(zone)")
            )
    zoned = {c: spine[c].dt.tz_convert("UTC") for c in spine.columns if isinstance(spine[c].dtype, pd.DatetimeTZDtype)}
    import pyarrow as pa

    return tables.spark.createDataFrame(pa.Table.from_pandas(spine.assign(**zoned), preserve_index=False))

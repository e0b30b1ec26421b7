"""fs_spark: a feature store for semiconductor wafer test, on Spark and Delta.

Nothing is imported before it is asked for, so that a process which only reads online features starts neither Spark
nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fs_spark.errors import FsSparkError
    from fs_spark.features.compute import compute_features
    from fs_spark.features.labels import ColumnLabel, CountLabel, Every, LabelRequest, SumLabel
    from fs_spark.features.service import FeatureService
    from fs_spark.features.session import WaferSession
    from fs_spark.features.settings import SpatialSettings
    from fs_spark.features.spine import GroupSplit, NegativeSampling, SpineRequest, TimeSplit
    from fs_spark.features.view import FeatureView
    from fs_spark.online.reader import open_online
    from fs_spark.session import build_session
    from fs_spark.stdf.reader import read_stdf
    from fs_spark.store import FeatureStore
    from fs_spark.training.rules import PinnedTable, TrainingRules
    from fs_spark.training.saved import TrainingSet
    from fs_spark.transforms.as_of import AsOfView, as_of_join
    from fs_spark.wafer import WaferGeometry

_PLACES = {
    "AsOfView": "transforms.as_of",
    "ColumnLabel": "features.labels",
    "CountLabel": "features.labels",
    "Every": "features.labels",
    "FeatureService": "features.service",
    "FeatureStore": "store",
    "FeatureView": "features.view",
    "FsSparkError": "errors",
    "SpatialSettings": "features.settings",
    "TrainingSet": "training.saved",
    "WaferGeometry": "wafer",
    "WaferSession": "features.session",
    "GroupSplit": "features.spine",
    "LabelRequest": "features.labels",
    "NegativeSampling": "features.spine",
    "PinnedTable": "training.rules",
    "SpineRequest": "features.spine",
    "SumLabel": "features.labels",
    "TimeSplit": "features.spine",
    "TrainingRules": "training.rules",
    "as_of_join": "transforms.as_of",
    "build_session": "session",
    "compute_features": "features.compute",
    "open_online": "online.reader",
    "read_stdf": "stdf.reader",
}

__all__ = [
    "AsOfView",
    "ColumnLabel",
    "CountLabel",
    "Every",
    "FeatureService",
    "FeatureStore",
    "FeatureView",
    "FsSparkError",
    "GroupSplit",
    "LabelRequest",
    "NegativeSampling",
    "PinnedTable",
    "SpatialSettings",
    "SpineRequest",
    "SumLabel",
    "TimeSplit",
    "TrainingRules",
    "TrainingSet",
    "WaferGeometry",
    "WaferSession",
    "as_of_join",
    "build_session",
    "compute_features",
    "open_online",
    "read_stdf",
]


def __getattr__(name: str) -> Any:
    if name == "leaks":  # `import fs_spark` is enough for fs_spark.leaks.check
        return importlib.import_module("fs_spark.leaks")
    if name not in _PLACES:
        raise AttributeError(f"module 'fs_spark' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fs_spark.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

"""Every public name with its signature, and every feature of the catalogue: a rename here is a visible decision."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import BaseModel

import fs_spark
from fs_spark.features.catalogue import CATALOGUE, find_feature
from fs_spark.features.feature import BOUNDARIES
from fs_spark.features.view import FeatureView

PUBLIC = {
    "AsOfView": (
        "(name: 'str', frame: 'DataFrame', keys: 'tuple[str, ...]', columns: 'dict[str, str]', "
        "boundary: 'Boundary' = 'strictly_before', ttl: 'timedelta | None' = None, "
        "offset: 'timedelta' = datetime.timedelta(0)) -> None"
    ),
    "FeatureService": "name, features, description=''",
    "FeatureStore": "(config: 'Configuration', spark: 'SparkSession | None' = None) -> 'None'",
    "FeatureView": "name, version, insertion='1', features, parameters=(), ttl=None, description=''",
    "FsSparkError": "Exception",
    "TrainingSet": "(name: 'str', df: 'DataFrame', manifest: 'dict[str, Any]') -> None",
    "WaferGeometry": (
        "(center_x: 'float', center_y: 'float', pitch_x: 'int' = 1, pitch_y: 'int' = 1, "
        "die_width_mm: 'float | None' = None, die_height_mm: 'float | None' = None, "
        "wafer_diameter_mm: 'float | None' = None, pos_x: 'str | None' = None, pos_y: 'str | None' = None, "
        "edge_exclusion_mm: 'float' = 3.0, rows: 'tuple[DieRow, ...]' = (), "
        "geometry_source: 'GeometrySource' = 'configuration') -> None"
    ),
    "as_of_join": (
        "(spine: 'DataFrame', views: 'Sequence[AsOfView]', *, timestamp: 'str' = 'event_timestamp') -> 'DataFrame'"
    ),
    "build_session": (
        "(conf: 'StoreConfig | str | Path | None' = None, *, master: 'str | None' = None, "
        "app_name: 'str' = 'fs_spark', settings: 'Mapping[str, str] | None' = None) -> 'SparkSession'"
    ),
    "compute_features": (
        "(dies: 'pa.Table', geometry: 'WaferGeometry', *, features: 'Sequence[str]', "
        "parameters: 'Sequence[str]' = (), known: 'Known' = 'at_event') -> 'pa.Table'"
    ),
    "open_online": "(url: 'str') -> 'OnlineReader'",
    "read_stdf": (
        "(source: 'str | Path | bytes', *, testers: 'Sequence[TesterConfig] | None' = None, "
        "products: 'Sequence[ProductConfig] | None' = None) -> 'StdfFile'"
    ),
}

STORE = {
    "apply": "(self) -> 'list[Change]'",
    "export": "(self, service: 'str') -> 'ExportReport'",
    "history": "(self, name: 'str') -> 'list[Commit]'",
    "ingest": (
        "(self, sources: 'Sequence[str | Path]' = (), *, again: 'bool' = False, dry_run: 'bool' = False)"
        " -> 'IngestReport'"
    ),
    "load": "(self, name: 'str') -> 'TrainingSet'",
    "materialize": "(self, views: 'Sequence[str] | None' = None, *, full: 'bool' = False) -> 'MaterializeReport'",
    "online": "(self) -> 'OnlineReader'",
    "open": "(conf: 'str | Path', spark: 'SparkSession | None' = None) -> 'FeatureStore'",
    "plan": "(self) -> 'list[Change]'",
    "reproduce": "(self, name: 'str') -> 'TrainingSet'",
    "rollback": "(self, view: 'str', version: 'str') -> 'FeatureView'",
    "table": "(self, name: 'str', *, version: 'int | None' = None) -> 'DataFrame'",
    "training_set": (
        "(self, spine: 'DataFrame | pd.DataFrame', features: 'Sequence[str]', *, name: 'str', "
        "timestamp: 'str' = 'event_timestamp', prefix: 'Prefix' = 'none') -> 'TrainingSet'"
    ),
    "views": "(self) -> 'dict[str, Any]'",
}

FEATURES = [
    # key, entity, knowledge, boundary, type, unit
    ("x_mm", "die", "static", "at_or_before", "double", "mm"),
    ("y_mm", "die", "static", "at_or_before", "double", "mm"),
    ("radius_mm", "die", "static", "at_or_before", "double", "mm"),
    ("radius_norm", "die", "static", "at_or_before", "double", "1"),
    ("angle_rad", "die", "static", "at_or_before", "double", "rad"),
    ("edge_distance_mm", "die", "static", "at_or_before", "double", "mm"),
    ("is_edge", "die", "static", "at_or_before", "boolean", ""),
    ("neighbor_possible", "die", "before_test", "at_or_before", "int", "dies"),
    ("neighbor_count", "die", "before_test", "at_or_before", "int", "dies"),
    ("fail__neighbor_count", "die", "before_test", "at_or_before", "int", "dies"),
    ("fail__neighbor_frac", "die", "before_test", "at_or_before", "double", "1"),
    ("{p}__neighbor_mean", "die", "before_test", "at_or_before", "double", ""),
    ("{p}__neighbor_std", "die", "before_test", "at_or_before", "double", ""),
    ("{p}", "die", "at_test", "strictly_before", "double", ""),
    ("wafers_done", "lot", "after_wafer", "strictly_before", "int", "wafers"),
    ("yield_mean", "lot", "after_wafer", "strictly_before", "double", "1"),
    ("yield_std", "lot", "after_wafer", "strictly_before", "double", "1"),
    ("{p}__lot_mean", "lot", "after_wafer", "strictly_before", "double", ""),
    ("{p}__lot_std", "lot", "after_wafer", "strictly_before", "double", ""),
    ("{p}__lot_die_mean", "lot", "after_wafer", "strictly_before", "double", ""),
    ("{p}__lot_die_std", "lot", "after_wafer", "strictly_before", "double", ""),
]


def described(thing: Any) -> str:
    """The signature; of a pydantic model its fields and defaults, of an exception its builtin base."""
    if isinstance(thing, type) and issubclass(thing, BaseModel):
        fields = thing.model_fields.items()
        return ", ".join(name if field.is_required() else f"{name}={field.default!r}" for name, field in fields)
    if isinstance(thing, type) and issubclass(thing, BaseException):
        return thing.__mro__[1].__name__
    return str(inspect.signature(thing))


def test_the_public_names() -> None:
    assert sorted(fs_spark.__all__) == fs_spark.__all__ == sorted(PUBLIC)
    assert len(PUBLIC) <= 20
    assert dir(fs_spark) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_signature(name: str) -> None:
    assert described(getattr(fs_spark, name)) == PUBLIC[name]
    assert (getattr(fs_spark, name).__doc__ or "").strip()


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Featurestore'"):
        fs_spark.Featurestore  # type: ignore[attr-defined]  # noqa: B018


def test_the_methods_of_the_store() -> None:
    methods = {
        name: str(inspect.signature(getattr(fs_spark.FeatureStore, name)))
        for name in vars(fs_spark.FeatureStore)
        if not name.startswith("_")
    }
    assert methods == STORE
    assert len(STORE) <= 15


def test_the_catalogue() -> None:
    assert [(f.key, f.entity, f.knowledge, BOUNDARIES[f.knowledge], f.dtype, f.unit) for f in CATALOGUE] == FEATURES


@pytest.mark.parametrize("feature", CATALOGUE, ids=lambda feature: feature.key)
def test_a_feature_is_found_and_makes_a_view(feature: Any) -> None:
    assert find_feature(feature.key) is feature
    assert feature.undefined_when
    assert feature.source
    view = FeatureView(name="v", version="1.0", features=(feature.key,), parameters=("vdd",))
    assert list(view.columns) == [feature.key.replace("{p}", "vdd")]
    assert view.boundary == BOUNDARIES[feature.knowledge]


def test_names_end_in_their_unit_and_are_told_apart() -> None:
    keys = [feature.key for feature in CATALOGUE]
    assert len(set(keys)) == len(keys)
    for feature in CATALOGUE:
        if feature.unit in ("mm", "rad"):
            assert feature.name.endswith(f"_{feature.unit}")


def test_a_feature_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"'radius_m' is not in the catalogue\. Hint: did you mean 'radius_mm'\?"):
        find_feature("radius_m")
    with pytest.raises(ValueError, match="Hint: the catalogue has x_mm, y_mm"):
        find_feature("qqqq")

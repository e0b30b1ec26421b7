"""Every public name with its signature, and every feature of the catalogue: a rename here is a visible decision."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import fs_spark
from fs_spark.features.catalogue import CATALOGUE, FAMILIES, find_feature
from fs_spark.features.feature import BOUNDARIES
from fs_spark.features.settings import SpatialSettings
from fs_spark.features.view import FeatureView
from tests.conftest import ROOT
from tests.contracts.catalogue import FEATURES

PUBLIC = {
    "AsOfView": (
        "(name: 'str', frame: 'DataFrame', keys: 'tuple[str, ...]', columns: 'Mapping[str, str] | "
        "Sequence[str]', boundary: 'Boundary' = 'strictly_before', ttl: 'timedelta | None' = None, offset: "
        "'timedelta' = datetime.timedelta(0), prefix: 'str' = '', event_timestamp: 'str' = "
        "'event_timestamp', available_timestamp: 'str | None' = 'available_timestamp', sequence: 'str | "
        "None' = 'sequence', event_as: 'str | None' = None, age_as: 'str | None' = None, last_event: 'str | "
        "None' = None, since_as: 'str | None' = None, valid_to: 'str | None' = None, nulls: \"Literal['keep', "
        "'skip']\" = 'keep') -> None"
    ),
    "ColumnLabel": "(column: 'str', lag: 'timedelta | str' = datetime.timedelta(0)) -> None",
    "CountLabel": (
        "(source: 'Place', *, until: 'timedelta | str', after: 'timedelta | str' = datetime.timedelta(0), lag: "
        "'timedelta | str' = datetime.timedelta(0), where: 'str | None' = None, by: 'Mapping[str, str] | "
        "Sequence[str] | None' = None) -> None"
    ),
    "Every": "(step: 'timedelta | str', begin: 'datetime', end: 'datetime', of: 'Place | None' = None) -> None",
    "FeatureService": "name, features, roles={}, defaults={}, description=''",
    "FeatureStore": "(config: 'Configuration', spark: 'SparkSession | None' = None) -> 'None'",
    "FeatureView": (
        "name, version, ttl=None, description='', owner='', tags=(), sla=None, expectations=(), "
        "insertion='1', features, parameters=(), bins=(), settings=SpatialSettings(gdbn_side_weight=1.0, "
        "gdbn_corner_weight=0.5, density_box_mm=10.0, density_sigma_mm=5.0, gradient_radius_mm=10.0, "
        "rings=5, sectors=8, edge_exclusion_mm=None, pat_sigmas=6.0, pat_population='passing', "
        "wm_remove_single_fails=False)"
    ),
    "FsSparkError": "Exception",
    "GroupSplit": "(by: 'str | Sequence[str]', fractions: 'Mapping[str, float]', seed: 'int' = 0) -> None",
    "LabelRequest": (
        "(keys: 'Mapping[str, str] | Sequence[str]', at: 'Place | Every', label: 'Label', name: 'str' = "
        "'label', as_of: 'datetime | None' = None, negatives: 'NegativeSampling | None' = None, split: "
        "'Split | None' = None, columns: 'Mapping[str, str] | Sequence[str]' = ()) -> None"
    ),
    "NegativeSampling": "(fraction: 'float', seed: 'int' = 0) -> None",
    "PinnedTable": (
        "(table: 'str', version: 'int', columns: 'tuple[str, ...]' = (), where: 'str | None' = None, rename: "
        "'Mapping[str, str]' = <factory>) -> None"
    ),
    "SpatialSettings": (
        "gdbn_side_weight=1.0, gdbn_corner_weight=0.5, density_box_mm=10.0, density_sigma_mm=5.0, "
        "gradient_radius_mm=10.0, rings=5, sectors=8, edge_exclusion_mm=None, pat_sigmas=6.0, "
        "pat_population='passing', wm_remove_single_fails=False"
    ),
    "SpineRequest": (
        "(question: 'Question', label: 'str | None' = None, insertion: 'str' = '1', earlier_insertion: 'str "
        "| None' = None, unended: \"Literal['left_out', 'told']\" = 'left_out', attempts: 'Attempts | None' = "
        "None, lots: 'Sequence[str] | None' = None, products: 'Sequence[str] | None' = None, negatives: "
        "'NegativeSampling | None' = None, split: 'Split | None' = None) -> None"
    ),
    "SumLabel": (
        "(source: 'Place', column: 'str', *, until: 'timedelta | str', after: 'timedelta | str' = "
        "datetime.timedelta(0), lag: 'timedelta | str' = datetime.timedelta(0), where: 'str | None' = None, "
        "by: 'Mapping[str, str] | Sequence[str] | None' = None) -> None"
    ),
    "TimeSplit": (
        "(cuts: 'tuple[datetime, ...]', embargo: 'timedelta' = datetime.timedelta(0), sides: 'tuple[str, "
        "...]' = ()) -> None"
    ),
    "TrainingRules": (
        "(offset: 'Mapping[str, timedelta]' = <factory>, ttl: 'Mapping[str, timedelta]' = <factory>, "
        "ignore_availability: 'Sequence[str]' = (), times: 'bool' = False, keep: 'Keep' = 'rows') -> None"
    ),
    "TrainingSet": "(name: 'str', df: 'DataFrame', manifest: 'dict[str, Any]', tables: 'Tables | None' = None) -> None",
    "WaferGeometry": (
        "(center_x: 'float', center_y: 'float', pitch_x: 'int' = 1, pitch_y: 'int' = 1, die_width_mm: 'float "
        "| None' = None, die_height_mm: 'float | None' = None, wafer_diameter_mm: 'float | None' = None, "
        "pos_x: 'str | None' = None, pos_y: 'str | None' = None, edge_exclusion_mm: 'float' = 3.0, rows: "
        "'tuple[DieRow, ...]' = (), geometry_source: 'GeometrySource' = 'configuration', notch: 'str | None' "
        "= None, reticle: 'tuple[int, int, int, int] | None' = None) -> None"
    ),
    "WaferSession": "(geometry: 'WaferGeometry', view: 'FeatureView') -> 'None'",
    "as_of_join": (
        "(spine: 'DataFrame', views: 'Sequence[AsOfView]', *, timestamp: 'str' = 'event_timestamp', pruning: "
        "'Pruning | None' = None, heavy: 'Sequence[HeavyKey]' = ()) -> 'DataFrame'"
    ),
    "build_session": (
        "(conf: 'StoreConfig | str | Path | None' = None, *, master: 'str | None' = None, app_name: 'str' = "
        "'fs_spark', settings: 'Mapping[str, str] | None' = None) -> 'SparkSession'"
    ),
    "compute_features": (
        "(dies: 'pa.Table', geometry: 'WaferGeometry', *, features: 'Sequence[str]', parameters: "
        "'Sequence[str]' = (), bins: 'Sequence[int]' = (), settings: 'SpatialSettings | None' = None, known: "
        "'Known' = 'at_event') -> 'pa.Table'"
    ),
    "open_online": "(url: 'str') -> 'OnlineReader'",
    "read_stdf": (
        "(source: 'str | Path | bytes', *, testers: 'Sequence[TesterConfig] | None' = None, products: "
        "'Sequence[ProductConfig] | None' = None) -> 'StdfFile'"
    ),
}

STORE = {
    "open": (
        "(conf: 'str | Path', spark: 'SparkSession | None' = None, *, views: 'Sequence[FeatureView | "
        "Mapping[str, Any]]' = ()) -> 'FeatureStore'"
    ),
    "ingest": (
        "(self, sources: 'Sequence[str | Path]' = (), *, again: 'bool' = False, dry_run: 'bool' = False) -> "
        "'IngestReport'"
    ),
    "plan": "(self) -> 'Plan'",
    "apply": "(self, *, reason: 'str | None' = None) -> 'list[Change]'",
    "materialize": "(self, views: 'Sequence[str] | None' = None, *, full: 'bool' = False) -> 'MaterializeReport'",
    "fit": "(self, view: 'str') -> 'FitReport'",
    "spine": (
        "(self, request: 'SpineRequest | LabelRequest', *, columns: 'Sequence[str] | Mapping[str, str]' = "
        "()) -> 'DataFrame'"
    ),
    "training_set": (
        "(self, spine: 'DataFrame | pd.DataFrame | PinnedTable | SpineRequest | LabelRequest', features: 'Features', "
        "*, name: 'str', timestamp: 'str' = 'event_timestamp', prefix: 'Prefix' = 'none', rules: 'TrainingRules | "
        "None' = None, roles: 'Roles | None' = None) -> 'TrainingSet'"
    ),
    "reproduce": "(self, name: 'str', *, from_source: 'bool' = False) -> 'TrainingSet'",
    "training_sets": "(self) -> 'TrainingSets'",
    "export": "(self, service: 'str', *, at: 'datetime | None' = None, full: 'bool' = False) -> 'ExportReport'",
    "verify_online": ("(self, service: 'str', *, sample: 'int | None' = None, seed: 'int' = 0) -> 'OnlineDifferences'"),
    "online": "(self) -> 'OnlineReader'",
    "table": "(self, name: 'str', *, version: 'int | None' = None) -> 'DataFrame'",
    "vacuum": (
        "(self, *, keep_days: 'int | None' = None, horizon: 'str | None' = None, dry_run: 'bool' = False) -> "
        "'VacuumReport'"
    ),
    "repair": "(self, *, dry_run: 'bool' = False) -> 'RepairReport'",
    "history": "(self, name: 'str') -> 'list[Commit]'",
    "rollback": ("(self, view: 'str', version: 'str | None' = None, *, reason: 'str | None' = None) -> 'View'"),
    "views": "(self) -> 'RegisteredViews'",
}


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
    assert len(PUBLIC) <= 25
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
        for name in dir(fs_spark.FeatureStore)
        if not name.startswith("_")
    }
    assert methods == STORE
    assert len(STORE) <= 20


def test_the_catalogue() -> None:
    found = [
        " | ".join([f.key, f.family, f.entity, f.knowledge, f.dtype, f.unit or "-", ",".join(f.inputs) or "-"])
        for f in CATALOGUE
    ]
    assert found == FEATURES.strip().splitlines()


def test_every_family_tells_its_cost() -> None:
    families = {f.family for f in CATALOGUE}
    told = {name for name in FAMILIES if name != "full_*"}
    assert {family for family in families if family not in told and not family.startswith("full_")} == set()
    assert {family.removeprefix("full_") for family in families if family.startswith("full_")} <= told


def test_knowledge_and_boundaries() -> None:
    assert BOUNDARIES == {
        "static": "at_or_before",
        "before_test": "at_or_before",
        "at_test": "strictly_before",
        "after_wafer": "strictly_before",
    }
    whole = {f.key for f in CATALOGUE if "full_" in f.key}
    assert {f.knowledge for f in CATALOGUE if f.key in whole} == {"after_wafer"}


@pytest.mark.parametrize("feature", CATALOGUE, ids=lambda feature: feature.key)
def test_a_feature_is_found_and_makes_a_view(feature: Any) -> None:
    assert find_feature(feature.key) is feature
    assert feature.undefined_when
    assert feature.source
    view = FeatureView(
        name="v", version="1.0", features=(feature.key,), parameters=("vdd",), bins=(7,),
        settings=SpatialSettings(rings=1, sectors=1),
    )  # fmt: skip
    one = {"{p}": "vdd", "{bin}": "bin7", "{ring}": "ring0", "{sector}": "sector0", "{zone}": "zone0"}
    key = feature.key
    for mark, name in one.items():
        key = key.replace(mark, name)
    assert list(view.columns) == [key.replace("{n}", f"{k:02}") for k in range(feature.count)]
    assert view.boundary == BOUNDARIES[feature.knowledge]


def test_names_end_in_their_unit_and_are_told_apart() -> None:
    keys = [feature.key for feature in CATALOGUE]
    assert len(set(keys)) == len(keys)
    for feature in CATALOGUE:
        if feature.unit in ("mm", "rad"):
            assert feature.name.endswith(f"_{feature.unit}")


STARTER_HASHES = {
    "die_geometry": "2b717b31841d64099068635dd17d6c95fce6d87a214c3c254498ea41dfda8e3d",
    "die_measured": "d3a3484ec3a3ca2fc2fb27a450c9a0a700b21623716c18b3713d932944086f84",
    "die_neighborhood": "dd15b69afe7ba6d8ebe24392d15a396e8e0e7bce9ae6702db96b2dd3290634bb",
    "lot_so_far": "32f5df9b64bc6f2deb8a7bb60e17867bd1b076dde0033b2ed939d1d2dd4c1486",
}


@pytest.mark.parametrize("name", STARTER_HASHES)
def test_the_hash_of_a_registered_view_stays(name: str) -> None:
    """Stores hold these views: a definition that hashes to something else would be refused as another one."""
    text = (ROOT / "conf" / "views" / f"{name}.yaml").read_text(encoding="utf-8")
    assert FeatureView.model_validate(yaml.safe_load(text)).definition_hash == STARTER_HASHES[name]


def test_a_feature_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match=r"'radius_m' is not in the catalogue\. Hint: did you mean 'radius_mm'\?"):
        find_feature("radius_m")
    with pytest.raises(ValueError, match="Hint: the catalogue has x_mm, y_mm"):
        find_feature("qqqq")

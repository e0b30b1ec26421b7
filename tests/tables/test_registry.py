"""The registry: versions that never change, what is promoted, and the first binding of a product."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fs_spark.binding import binding_entry
from fs_spark.errors import ConfigError, FeatureNotFoundError
from fs_spark.features.view import FeatureView
from fs_spark.registry import Registry
from fs_spark.registry_state import Change, RegistryState
from fs_spark.tables import Tables
from fs_spark.transforms.spatial import MeasuredTest, ProductBinding
from fs_spark.wafer import WaferGeometry


def view(name: str = "die_measured", version: str = "1.0", **changed: object) -> FeatureView:
    definition = {"name": name, "version": version, "features": ["{p}"], "parameters": ["vdd", "idd"], "ttl": "30 d"}
    return FeatureView.model_validate({**definition, **changed})


ONE, TWO = view(), view(version="2.0", parameters=["vdd"])
OTHER = view("lot_so_far", features=["wafers_done"], parameters=[])
BINDING = ProductBinding(
    WaferGeometry(1.5, -2.0, pitch_x=2, rows=((0, 0, 4), (1, 2, 2)), die_width_mm=3.25, geometry_source="wcr"),
    {"vdd": MeasuredTest(7, "vdd", "last")},
)


@pytest.fixture
def registry(spark: SparkSession, tmp_path: Path) -> Registry:
    return Registry(Tables(spark, root=str(tmp_path), catalog=None, horizon="interval 3650 days"))


def test_register_promote_and_roll_back(registry: Registry) -> None:
    assert registry.state() == RegistryState()
    state, changes = registry.register(registry.state(), [ONE, OTHER])
    assert changes == [Change("die_measured", "1.0", "register"), Change("lot_so_far", "1.0", "register")]
    assert state.promoted == {"die_measured": "1.0", "lot_so_far": "1.0"}
    assert state.view("die_measured") == ONE  # as it was written, with its ttl
    assert state.view("die_measured").definition_hash == ONE.definition_hash

    written = registry.tables.version("registry")
    again, changes = registry.register(registry.state(), [ONE, OTHER])
    assert [change.action for change in changes] == ["unchanged", "unchanged"]
    assert again == registry.state()
    assert registry.tables.version("registry") == written  # a rerun writes nothing

    state, changes = registry.register(state, [TWO, OTHER])
    assert [change.action for change in changes] == ["register", "unchanged"]
    assert state.promoted == {"die_measured": "2.0", "lot_so_far": "1.0"}
    assert state.view("die_measured") == TWO
    assert state.view("die_measured", "1.0") == state.view("die_measured__v1.0") == ONE

    state = registry.promote(state, ONE)
    assert state == registry.state()
    assert state.promoted["die_measured"] == "1.0"
    assert state.view("die_measured") == ONE
    assert state.view("die_measured__v2.0") == TWO
    written = registry.tables.version("registry")
    assert registry.promote(state, ONE) == state
    assert registry.tables.version("registry") == written

    state, _ = registry.register(state, [TWO])  # registered already: what was rolled back stays rolled back
    assert state.promoted["die_measured"] == "1.0"


def test_the_first_binding_stands(registry: Registry) -> None:
    state, _ = registry.register(registry.state(), [ONE, TWO])
    other = ProductBinding(WaferGeometry(0, 0), {})
    state = registry.add(state, [binding_entry(ONE, "chip", BINDING, {"files": 3})])
    digest = state.binding_digests[("die_measured", "1.0")]["chip"]
    state = registry.add(
        state, [binding_entry(ONE, "chip", other, {"files": 4}), binding_entry(ONE, "wide", other, {"files": 4})]
    )
    assert state == registry.state()
    assert state.bindings == {("die_measured", "1.0"): {"chip": BINDING, "wide": other}}
    assert state.binding_digests[("die_measured", "1.0")]["chip"] == digest
    assert state.binding_digests[("die_measured", "1.0")]["wide"] != digest


# Without Spark.


def known(*views: FeatureView) -> RegistryState:
    return RegistryState(versions={(v.name, v.version): v for v in views}, promoted={v.name: v.version for v in views})


def test_a_definition_does_not_change_under_its_version() -> None:
    state = known(ONE, view(version="1.9"), OTHER)
    changed = [view(parameters=["vdd"]), view(version="1.9", ttl=None), OTHER]
    with pytest.raises(ConfigError) as fault:
        state.plan(changed)
    text = str(fault.value)
    assert (
        "die_measured v1.0 is registered with another definition. Hint: raise its version, for example to 1.1" in text
    )
    assert (
        "die_measured v1.9 is registered with another definition. Hint: raise its version, for example to 1.10" in text
    )
    assert "lot_so_far" not in text


def test_the_description_is_no_part_of_the_definition() -> None:
    assert known(ONE).plan([view(description="in other words")]) == [Change("die_measured", "1.0", "unchanged")]


def test_an_unknown_view_has_a_hint() -> None:
    state = known(ONE, OTHER)
    for wrong in ("die_mesured", "die_mesured__v1.0"):
        with pytest.raises(FeatureNotFoundError) as fault:
            state.view(wrong)
        assert str(fault.value) == (
            "view 'die_mesured' is not registered.\nRegistered: die_measured, lot_so_far.\n"
            "Hint: did you mean 'die_measured'?"
        )
    with pytest.raises(FeatureNotFoundError, match="Registered: nothing yet"):
        RegistryState().view("die_measured")


def test_an_unknown_version_names_those_that_there_are() -> None:
    state = known(view(version="1.10"), view(version="1.9"), OTHER)
    with pytest.raises(FeatureNotFoundError, match=r"has no version 3.0.\nRegistered: 1.9, 1.10."):
        state.view("die_measured__v3.0")

"""A wafer served touchdown by touchdown: the bits of the batch."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from fs_spark import FeatureView, WaferSession
from fs_spark.errors import RequestError
from fs_spark.features.feature import Feature
from tests.kernels.test_spatial_features import AT, BEFORE, BINS, CHOSEN, Row, computed, geometry_of, wafers


def view_of(features: list[Feature]) -> FeatureView:
    keys = tuple(f.key for f in features)
    return FeatureView(name="v", version="1.0", features=keys, parameters=("a", "b"), bins=BINS, settings=CHOSEN)


def served(rows: list[Row], features: list[Feature]) -> list[dict[str, Any]]:
    session = WaferSession(geometry_of((1, 1)), view_of(features))
    found: list[dict[str, Any]] = []
    ordered = sorted(rows, key=lambda r: (r["event_timestamp"], r["run_id"], r["part_index"]))
    for _, touchdown in itertools.groupby(ordered, key=lambda r: r["event_timestamp"]):
        parts = list(touchdown)
        own = ("die_x", "die_y", "head", "site", *(("a", "b", "hard_bin") if features is AT else ()))
        found += session.ask([{name: part[name] for name in own} for part in parts])
        session.push(parts)
    return found


@pytest.mark.parametrize("features", [BEFORE, AT], ids=["before_test", "at_test"])
@given(data=st.data())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_equals_the_batch_bit_for_bit(features: list[Feature], data: st.DataObject) -> None:
    rows = data.draw(wafers(late=False, pitch=(1, 1)))
    batch = computed(rows, geometry_of((1, 1)), features)
    columns = list(view_of(features).columns)
    assert served(rows, features) == [{name: row[name] for name in columns} for row in batch]


def test_other_views_are_refused() -> None:
    static = FeatureView(name="v", version="1.0", features=("radius_mm",))
    with pytest.raises(RequestError, match="serves before_test and at_test views"):
        WaferSession(geometry_of((1, 1)), static)
    with pytest.raises(RequestError, match="no wafer map"):
        WaferSession(geometry_of((1, 1), rows=()), view_of(BEFORE))


def test_too_many_sites() -> None:
    session = WaferSession(geometry_of((1, 1)), view_of(BEFORE))
    with pytest.raises(RequestError, match="more than 1024 sites"):
        session.push([{"die_x": 0, "die_y": 0, "head": 1, "site": k} for k in range(1025)])

"""The leak that this engine is made against, on real maps: 2,088 wafers of WM-811K in a serpentine order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

from fs_spark.features.attempts import UnitAttempts
from fs_spark.features.catalogue import find_feature
from fs_spark.features.compute import plan_of
from fs_spark.features.feature import BOUNDARIES
from fs_spark.features.mapped import MappedWafers
from fs_spark.features.units import wafer_rows
from fs_spark.wafer import WaferGeometry

NO_MAP = WaferGeometry(0.0, 0.0)


def serpentine(picture: np.ndarray) -> UnitAttempts:
    """Rows of the map from the top, even rows left to right, odd ones right to left; each die an instant of its own."""
    places = [
        (x if y % 2 == 0 else picture.shape[1] - 1 - x, y)
        for y in range(picture.shape[0])
        for x in range(picture.shape[1])
    ]
    x, y = np.array([(a, b) for a, b in places if picture[b, a]], np.int64).T
    count = len(x)
    number, none = np.arange(count), np.full(count, -1, np.int32)
    outcome = (picture[y, x] == 1).astype(np.int8)
    return UnitAttempts(
        np.ascontiguousarray(x), np.ascontiguousarray(y), number, number, np.zeros(count, np.int32), number, number,
        outcome, none, none, np.zeros((0, count)),
    )  # fmt: skip


def auc(score: np.ndarray, label: np.ndarray) -> float:
    ranks = rankdata(score)
    ones = label.sum()
    return float((ranks[label].sum() - ones * (ones + 1) / 2) / (ones * (len(label) - ones)))


def over_all(wafers: list[UnitAttempts], feature: str) -> tuple[np.ndarray, np.ndarray]:
    """The feature and whether the die itself fails, over all dies of all wafers."""
    plan = plan_of((feature,), (), (), None)
    values, fails = [], []
    for wafer in wafers:
        rows = wafer_rows(plan, wafer, NO_MAP, MappedWafers(plan.settings, 0.0), "at_event")
        values.append(rows.values[0])
        fails.append(wafer.outcome[rows.of] == 0)
    return np.concatenate(values), np.concatenate(fails)


@pytest.fixture(scope="module")
def wafers(shared_data: Path) -> list[UnitAttempts]:
    table = pq.read_table(shared_data / "wm811k" / "wm811k_lots_dev.parquet", columns=["rows", "cols", "map"])
    assert table.num_rows == 2088
    return [
        serpentine(np.frombuffer(row["map"], np.uint8).reshape(row["rows"], row["cols"])) for row in table.to_pylist()
    ]


def test_the_earlier_neighbors_tell_this_much_and_no_more(wafers: list[UnitAttempts]) -> None:
    fraction, fails = over_all(wafers, "fail__neighbor_frac")
    there = ~np.isnan(fraction)
    assert (~there).mean() == pytest.approx(0.00349, abs=0.00001)
    assert auc(fraction[there], fails[there]) == pytest.approx(0.7157, abs=0.0005)


def test_all_neighbors_would_leak_and_are_known_after_the_wafer_alone(wafers: list[UnitAttempts]) -> None:
    fraction, fails = over_all(wafers, "fail__full_neighbor_frac")
    there = ~np.isnan(fraction)
    assert auc(fraction[there], fails[there]) == pytest.approx(0.7545, abs=0.0005)
    assert find_feature("fail__full_neighbor_frac").knowledge == "after_wafer"
    assert BOUNDARIES["after_wafer"] == "strictly_before"

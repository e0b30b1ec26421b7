"""Values against a population equal the oracle's loop, at every time of knowledge at which they change."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_spark.features.kinds.against import AgainstFeature, AgainstTransform
from fs_spark.features.types import ARROW
from fs_spark.kernels.against import MEDIAN_DIFF, RANK, ROBUST_Z, compare
from fs_spark.transforms.kinds.against import AgainstKernel
from tests.oracles.populations import median_diff, percentile_rank, population, robust_z

Row = dict[str, Any]


def history(seed: int, *, dies: int = 14, late: float = 0.15, levels: int = 6) -> list[Row]:
    """Attempts of a population in the order of their events, some delivered late, some again, some without a value."""
    rng = random.Random(seed)
    rows = []
    for part in range(dies + dies // 2):
        event = rng.randrange(0, 40)
        available = event + (rng.randrange(1, 30) if rng.random() < late else 0)
        value = rng.choice([None, -0.0, *map(float, range(levels)), rng.gauss(0, 1)])
        rows.append(
            {"lot_id": "L", "wafer_id": "W", "insertion": "1", "die_x": rng.randrange(dies), "die_y": 0,
             "event": event, "available": available, "run_id": "r", "part_index": part, "vdd": value}
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row["event"], row["part_index"]))


def wanted(rows: list[Row], *, revisions: str) -> dict[tuple[int, int], list[float | None]]:
    """(place, known from) -> rank, robust z, difference of the median."""
    found: dict[tuple[int, int], list[float | None]] = {}
    for at, row in enumerate(rows):
        before = None
        for a in sorted({each["available"] for each in rows if each["available"] >= row["available"]}):
            others = population(rows, row, a, group=("lot_id",), column="vdd")
            now = [compared(row["vdd"], others) for compared in (percentile_rank, robust_z, median_diff)]
            if a == row["available"] or (revisions == "all" and now != before):
                found[at, a] = now
            before = now
    return found


def ours(rows: list[Row], *, revisions: str) -> dict[tuple[int, int], list[float | None]]:
    made = compare(
        np.array([row["event"] for row in rows], np.int64), np.array([row["available"] for row in rows], np.int64),
        np.array([row["die_x"] for row in rows], np.int64), np.ones(len(rows), np.bool_),
        np.array([[math.nan if row["vdd"] is None else row["vdd"] for row in rows]], np.float64),
        all_revisions=revisions == "all",
    )  # fmt: skip
    keys = list(zip(made.row.tolist(), made.known_us.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    columns = made.values[0, [RANK, ROBUST_Z, MEDIAN_DIFF]].T.tolist()
    return {key: [None if math.isnan(v) else v for v in values] for key, values in zip(keys, columns, strict=True)}


def close(ours: float | None, theirs: float | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("revisions", ["all", "first"])
@pytest.mark.parametrize("late", [0.0, 0.15, 0.8])
def test_equal_the_oracle(late: float, revisions: str) -> None:
    told = 0
    for seed in range(60):
        rows = history(seed, late=late, levels=1 + seed % 7)
        found, right = ours(rows, revisions=revisions), wanted(rows, revisions=revisions)
        assert found.keys() == right.keys(), seed
        for key, values in right.items():
            assert all(map(close, found[key], values)), (seed, key, found[key], values)
        told += len(right) - len(rows)
    assert (told > 100) == (late > 0 and revisions == "all")


def test_rows_that_do_not_give_are_part_of_the_population() -> None:
    rows = history(3)
    event, available, unit = (
        np.array([row[name] for row in rows], np.int64) for name in ("event", "available", "die_x")
    )
    values = np.array([[math.nan if row["vdd"] is None else row["vdd"] for row in rows]])
    gives = np.arange(len(rows)) % 3 == 0
    some = compare(event, available, unit, gives, values, all_revisions=True)
    every = compare(event, available, unit, np.ones(len(rows), np.bool_), values, all_revisions=True)
    kept = gives[every.row]
    assert some.row.tolist() == every.row[kept].tolist()
    assert np.array_equal(some.values, every.values[:, :, kept], equal_nan=True)


def test_a_later_row_changes_nothing_that_was_known() -> None:
    for seed in range(20):
        rows = history(seed, late=0.4)
        cut = sorted(row["available"] for row in rows)[len(rows) // 2]
        early = ours([row for row in rows if row["available"] <= cut], revisions="all")
        places = [at for at, row in enumerate(rows) if row["available"] <= cut]
        later = {(at, a): v for (at, a), v in ours(rows, revisions="all").items() if a <= cut}
        assert {(places[at], a): v for (at, a), v in early.items()} == later


def test_values_beyond_a_double_are_null_and_equal_ones_have_no_spread() -> None:
    event = np.arange(4, dtype=np.int64)
    made = compare(
        event, event, event, np.ones(4, np.bool_), np.array([[-1.7e308, -1.7e308, 1.7e308, 1.7e308], [2.0] * 4]),
        all_revisions=True,
    )  # fmt: skip
    assert np.isnan(made.values[0, MEDIAN_DIFF, 2])
    assert np.isnan(made.values[1, ROBUST_Z]).all()
    assert made.values[1, MEDIAN_DIFF, 1:].tolist() == [0.0] * 3
    assert made.values[1, RANK, 1:].tolist() == [0.5] * 3


def test_a_group_that_comes_in_two_pieces_is_refused() -> None:
    transform = AgainstTransform(
        population=("lot",), features=(AgainstFeature(name="r", column="vdd", comparison="rank"),)
    )
    kinds = {
        "die": pa.int32(), "event_timestamp": ARROW["timestamp"], "available_timestamp": ARROW["timestamp"],
        "sequence": pa.int64(), "r": pa.float64(),
    }  # fmt: skip
    kernel = AgainstKernel("lot", transform, {"die": "die"}, ("lot", "die"), ("part",), pa.schema(list(kinds.items())))
    time = pa.array([1, 2], pa.int64()).cast(ARROW["timestamp"])

    def batch(lot: str) -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict(
            {"lot": [lot] * 2, "die": pa.array([0, 1], pa.int32()), "part": [0, 1], "vdd": [1.0, 2.0],
             "sequence": [0, 1], "event_timestamp": time, "available_timestamp": time, "__start": [1, 2],
             "__end": [9, 9]}
        )  # fmt: skip

    found = pa.Table.from_batches(list(kernel(iter([batch("a"), batch("b")]))))
    assert found["r"].to_pylist() == [None, 1.0, None, 1.0]
    with pytest.raises(RuntimeError, match="the rows of one lot came apart: 'a'"):
        list(kernel(iter([batch("a"), batch("b"), batch("a")])))

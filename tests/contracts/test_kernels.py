"""A kernel is a value beside its code: what each says of itself, and a new feature that touches three places."""

from __future__ import annotations

import textwrap
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fs_spark.kernels
from fs_spark.features import catalogue
from fs_spark.features.catalogue import CATALOGUE, find_feature
from fs_spark.features.compute import compute_features, plan_of
from fs_spark.features.engine import changed_kernels, kernel_column
from fs_spark.features.feature import Feature
from fs_spark.features.session import WaferSession
from fs_spark.features.view import FeatureView
from fs_spark.kernels.kernel import kernel_of
from fs_spark.wafer import WaferGeometry, rows_of_dies

# A mended kernel has another revision: all lots are computed anew, and manifests tell which it was.
REVISIONS = {
    "clusters": 1,
    "density": 2,
    "local_values": 2,
    "lots": 2,
    "map": 1,
    "nearest": 1,
    "neighborhood": 1,
    "order_statistics": 2,
    "own": 2,
    "radial": 2,
    "wafer_counts": 2,
    "wafer_values": 2,
    "whole_wafer": 2,
    "wm811k": 2,
}

# 1. The kernel: one file, which says what the engine has to know.
TOY = '''
"""Passes so far, of every die alike."""

from typing import NamedTuple

import numpy as np
from numba import njit

from fs_spark.kernels.kernel import Kernel

COLUMNS = ("passes_so_far", "every_nth")
_PASSES, _NTH = range(2)


class PassState(NamedTuple):
    passed: np.ndarray
    total: np.ndarray
    every: int


def new_state(lattice, *, every):
    return PassState(np.full(len(lattice.x), -1, np.int8), np.zeros(1, np.int64), every)


@njit
def _run(die, known, outcome, passed, total, every, bounds, ask, tell, out):
    for k in range(len(bounds) - 1):
        first, last = bounds[k], bounds[k + 1]
        for i in range(first, last if ask else first):
            out[_PASSES, i] = total[0]
            out[_NTH, i] = total[0] // every
        for j in range(first, last if tell else first):
            if known[j]:
                total[0] += (outcome[j] == 1) - (passed[die[j]] == 1)
                passed[die[j]] = outcome[j]


def run(lattice, replay, state, bounds, ask, tell, out):
    _run(replay.die, replay.known, replay.outcome, *state, bounds, ask, tell, out)


KERNEL = Kernel(
    revision=1, columns=COLUMNS, new_state=new_state, run=run,
    options=lambda asked, wafer, sites: {"every": asked.settings.rings},
)
'''

# 2. The lines of the catalogue.
LINES = tuple(
    Feature(
        name, "toy", "toy_passes", "die", "die", "before_test", "int", "dies", ("passed",), "never", "own definition"
    )
    for name in ("passes_so_far", "every_nth")
)


# 3. The oracle: a naive loop.
def passes_so_far(attempts: list[dict[str, Any]], attempt: dict[str, Any]) -> int:
    latest: dict[Any, Any] = {}
    for other in sorted(attempts, key=lambda a: a["event_timestamp"]):
        if other["event_timestamp"] < attempt["event_timestamp"]:
            latest[other["die_x"], other["die_y"]] = other
    return sum(a["passed"] for a in latest.values())


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_passes.py").write_text(textwrap.dedent(TOY))
    monkeypatch.setattr(fs_spark.kernels, "__path__", [*fs_spark.kernels.__path__, str(tmp_path)])
    monkeypatch.setattr(catalogue, "_BY_KEY", {**catalogue._BY_KEY, **{f.key: f for f in LINES}})
    invalidate_caches()


def test_a_feature_is_a_kernel_a_line_and_an_oracle(toy: None) -> None:
    rng = np.random.default_rng(1)
    attempts = [
        {
            "die_x": int(rng.integers(4)), "die_y": int(rng.integers(4)), "event_timestamp": k // 2,
            "available_timestamp": k // 2, "run_id": "r", "part_index": k, "touchdown": k // 2,
            "passed": bool(rng.random() < 0.6),
        }
        for k in range(0, 60, 2)
    ]  # fmt: skip
    table = pa.Table.from_pylist(attempts)
    for name in ("event_timestamp", "available_timestamp"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(pa.timestamp("us", tz="UTC")))
    geometry = WaferGeometry(1.5, 1.5, rows=rows_of_dies([(x, y) for x in range(4) for y in range(4)], 1))
    keys = ["passes_so_far", "every_nth", "neighbor_count"]
    rows = compute_features(table, geometry, features=keys).to_pylist()
    assert [r["passes_so_far"] for r in rows] == [passes_so_far(attempts, a) for a in attempts]
    assert [r["every_nth"] for r in rows] == [r["passes_so_far"] // 5 for r in rows]
    view = FeatureView(name="toys", version="1.0", features=tuple(keys))
    assert plan_of(keys, (), (), None).revisions == {"neighborhood": 1, "toy_passes": 1}
    session = WaferSession(geometry, view)
    for attempt, row in zip(attempts, rows, strict=True):
        assert session.ask([attempt])[0] == {key: row[key] for key in keys}
        session.push([attempt])


def test_every_kernel_says_what_it_is() -> None:
    assert {name: kernel_of(name).revision for name in sorted({f.kernel for f in CATALOGUE})} == REVISIONS
    for feature in CATALOGUE:
        kernel = kernel_of(feature.kernel)
        names = list(feature.by_kernel(("p",)).values()) if feature.kernel == "wm811k" else [kernel_column(feature)]
        if feature.per == "bin":
            assert kernel.of_bins
        else:
            assert set(names) <= set(kernel.columns), feature.key
        assert (kernel.run is None) == (kernel.new_state is None)


def test_a_plan_names_the_revisions_of_all_that_it_reads() -> None:
    assert plan_of(("{p}__zscore", "{p}__rank"), ("z",), (), None).revisions == {
        "order_statistics": 2,
        "own": 2,
        "wafer_values": 2,
    }
    assert changed_kernels({}, {"map": 1, "own": 2}) == {"own": (1, 2)}
    assert changed_kernels({"own": 2, "gone": 1}, {"own": 2}) == {}


RENAMED = {
    "old_frac": ("fail__old_frac", "fail__neighbor_frac"),
    "old_mean": ("{p}__old_mean", "{p}__neighbor_mean"),
    "old_rate": ("{bin}__old_rate", "{bin}__rate"),
    "old_radius": ("old_radius", "radius_mm"),
    "old_z": ("{p}__old_z", "{p}__zscore"),
    "old_low": ("{p}__old_low", "{p}__whole_pat_low"),
    "old_radon": ("old_radon_{n}", "wm_radon_mean_{n}"),
    "old_profile": ("{p}__{ring}_old", "{p}__{ring}_mean"),
    "old_yield": ("{sector}__old", "{sector}__yield"),
    "old_lot": ("{p}__old_lot", "{p}__lot_std"),
    "old_full": ("fail__full_old", "fail__full_neighbor_frac"),
}


@pytest.mark.parametrize("case", RENAMED)
def test_a_key_of_before_a_renaming_is_readable_for_ever(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its column names of that time, the same values, and the hash that it had."""
    old, new = RENAMED[case]
    rng = np.random.default_rng(2)
    count = 40
    times = pa.array(np.arange(count)).cast(pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {
            "wafer_id": ["W1", "W2"] * (count // 2), "die_x": np.arange(count) % 8, "die_y": np.arange(count) // 8,
            "event_timestamp": times, "available_timestamp": times, "run_id": ["r1", "r2"] * (count // 2),
            "part_index": np.arange(count), "touchdown": np.arange(count), "passed": rng.random(count) < 0.7,
            "hard_bin": rng.integers(1, 3, count), "head": np.ones(count, int), "site": np.ones(count, int),
            "z": rng.normal(size=count),
        }
    )  # fmt: skip
    geometry = WaferGeometry(
        3.5, 2.0, die_width_mm=2.0, die_height_mm=3.0, wafer_diameter_mm=30.0, pos_x="R", pos_y="U",
        rows=rows_of_dies([(x, y) for x in range(8) for y in range(5)], 1),
    )  # fmt: skip
    with pytest.raises(ValueError, match="not in the catalogue"):
        find_feature(old)
    monkeypatch.setattr(catalogue, "RENAMED", {old: new})
    text = '{"name": "v", "version": "1.0", "features": ["%s"], "parameters": ["z"], "bins": [1]}'
    view, now = (FeatureView.model_validate_json(text % key) for key in (old, new))
    assert view.definition_hash != now.definition_hash
    assert f'"{old}"' in view.to_json()
    found, wanted = (
        compute_features(table, geometry, features=v.features, parameters=["z"], bins=[1]) for v in (view, now)
    )
    names = list(view.columns)
    assert len(names) == len(now.columns)
    assert all("old" in name for name in names)
    assert found.select(names).to_pydict() == dict(
        zip(names, wanted.select(list(now.columns)).to_pydict().values(), strict=True)
    )

"""Part average test limits: of the parts that pass, null without a spread, against a plain computation."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_spark.features.catalogue import CATALOGUE, find_feature
from fs_spark.features.compute import compute_features
from fs_spark.features.settings import SpatialSettings
from fs_spark.features.view import FeatureView
from fs_spark.kernels.whole_wafer import pat_limits
from fs_spark.wafer import WaferGeometry

NO_MAP = WaferGeometry(0.0, 0.0)
LIMITS = ["{p}__whole_pat_low", "{p}__whole_pat_high", "{p}__whole_robust_pat_low", "{p}__whole_robust_pat_high"]
FLAGS = ["{p}__pat_flag", "{p}__robust_pat_flag"]


def wafer(values: list[float | None], passed: list[bool | None]) -> pa.Table:
    count = len(values)
    event = pa.array(np.arange(count)).cast(pa.timestamp("us", tz="UTC"))
    return pa.table(
        {
            "die_x": np.arange(count) % 10, "die_y": np.arange(count) // 10, "event_timestamp": event,
            "available_timestamp": event, "run_id": ["r"] * count, "part_index": np.arange(count),
            "touchdown": np.arange(count), "passed": pa.array(passed, pa.bool_()), "z": pa.array(values, pa.float64()),
        }
    )  # fmt: skip


def found(table: pa.Table, keys: list[str], **settings: Any) -> list[dict[str, Any]]:
    chosen = SpatialSettings(**settings)
    rows: list[dict[str, Any]] = compute_features(
        table, NO_MAP, features=keys, parameters=["z"], settings=chosen
    ).to_pylist()
    return rows


@pytest.mark.parametrize("population", ["passing", "all"])
def test_limits_and_flags_by_the_standard_library(population: str) -> None:
    rng = np.random.default_rng(2)
    values: list[float | None] = [float(v) for v in rng.normal(size=60)]
    passed: list[bool | None] = [bool(v) for v in rng.random(60) < 0.8]
    values[4], values[9], values[20], passed[30], passed[31] = None, 40.0, -35.0, None, False
    counted = [
        v for v, good in zip(values, passed, strict=True) if v is not None and (population == "all" or good is True)
    ]
    mean, std = statistics.fmean(counted), statistics.stdev(counted)
    low, middle, high = np.quantile(counted, [0.25, 0.5, 0.75]).tolist()
    sigma = (high - low) / 1.35
    wanted = [mean - 3 * std, mean + 3 * std, middle - 3 * sigma, middle + 3 * sigma]
    table = wafer(values, passed)
    (row,) = found(table, LIMITS, pat_population=population, pat_sigmas=3.0)
    assert [row[key.replace("{p}", "z")] for key in LIMITS] == pytest.approx(wanted, rel=1e-12)
    rows = found(table, FLAGS, pat_population=population, pat_sigmas=3.0)
    for value, flags in zip(values, rows, strict=True):
        plain = None if value is None else not wanted[0] <= value <= wanted[1]
        robust = None if value is None else not wanted[2] <= value <= wanted[3]
        assert (flags["z__pat_flag"], flags["z__robust_pat_flag"]) == (plain, robust)


def test_an_interquartile_range_of_0_flags_nothing() -> None:
    """60 of 100 parts alike and 40 beside them were 40 outliers."""
    values: list[float | None] = [1.0 for _ in range(60)]
    values += [1.0 + 0.01 * k for k in range(1, 21)] + [1.0 - 0.01 * k for k in range(1, 21)]
    table = wafer(values, [True for _ in values])
    (row,) = found(table, LIMITS)
    assert row["z__whole_robust_pat_low"] is row["z__whole_robust_pat_high"] is None
    assert row["z__whole_pat_low"] < row["z__whole_pat_high"]
    assert {r["z__robust_pat_flag"] for r in found(table, FLAGS)} == {None}
    assert {r["z__pat_flag"] for r in found(table, FLAGS)} == {False}


@pytest.mark.parametrize("passed", [[True] * 10, [False] * 10, [True] + [False] * 9, [None] * 10])
def test_without_a_spread_among_the_parts_that_count_there_are_no_limits(passed: list[bool | None]) -> None:
    values: list[float | None] = [0.1] * 10 if passed[1] else [float(k) for k in range(10)]
    (row,) = found(wafer(values, passed), LIMITS)
    assert set(row.values()) - {row["event_timestamp"], row["available_timestamp"], 0} == {None}
    assert {r["z__pat_flag"] for r in found(wafer(values, passed), FLAGS)} == {None}


def test_limits_do_not_depend_on_the_order_of_parts() -> None:
    values = np.random.default_rng(0).normal(size=50) * 10.0 ** np.arange(-25, 25)
    for robust in (False, True):
        assert pat_limits(values, sigmas=6, robust=robust) == pat_limits(values[::-1], sigmas=6, robust=robust)
    assert np.isnan(pat_limits(np.zeros(0), sigmas=6, robust=True)).all()


def test_the_catalogue_and_the_definition_name_the_population() -> None:
    pat = [f for f in CATALOGUE if "pat_" in f.name and f.kernel == "whole_wafer"]
    assert len(pat) == 6
    assert all("parts that pass (setting `pat_population`)" in f.source and "passed" in f.inputs for f in pat)
    assert "no spread" in find_feature("{p}__whole_robust_pat_low").undefined_when
    plain = FeatureView(name="v", version="1.0", features=("{p}__pat_flag",), parameters=("z",))
    of_all = plain.model_copy(update={"settings": SpatialSettings(pat_population="all")})
    assert "pat_population" not in plain.to_json()
    assert '"pat_population": "all"' in of_all.to_json()
    assert plain.definition_hash != of_all.definition_hash
    for view in (plain, of_all):
        assert FeatureView.model_validate_json(view.to_json()) == view

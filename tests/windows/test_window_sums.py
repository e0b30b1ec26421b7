"""Sums, deviations, slopes and weighted means of windows: without drift, and against fractions."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from fs_spark.kernels import sliding_ewm
from fs_spark.kernels.sliding import NEVER, NONE, Feature, History, Window, state_rows
from fs_spark.kernels.sliding_digits import BIAS, SQUARES, parts, put, put_product, read
from fs_spark.kernels.sliding_doubts import settle_doubts
from fs_spark.kernels.sliding_moments import DOUBTFUL, moments
from fs_spark.kernels.sliding_walk import Log
from tests.oracles import windows as oracle

DAY = 86_400_000_000


def streamed(event_us: np.ndarray, values: np.ndarray) -> History:
    """One group of rows known at once."""
    count = len(event_us)
    return History(
        np.array([0, count]), event_us, np.arange(count), event_us, np.full(count, NEVER), values[None, :],
        np.zeros((0, count), np.int64), np.ones((1, count), bool), np.array([NONE]),
    )  # fmt: skip


def log_of(steps: list[list[int]]) -> Log:
    """A log of one group: what comes and goes before each state."""
    ops = [op for step in steps for op in step]
    begin = np.cumsum([0, *map(len, steps)])
    return Log(np.array(ops, np.int64), begin, np.arange(-1, len(steps) - 1))


def spread_and_slope(values: np.ndarray, event_us: np.ndarray, log: Log) -> tuple[np.ndarray, int]:
    """Sum, deviation and slope in each state, and how many results were in doubt."""
    count, out = np.empty(len(log.instant), np.int64), np.full((3, len(log.instant)), np.nan)
    edges = np.array([0, len(values)])
    moments(values, event_us, *log, edges, True, True, count, out)
    doubts = int((out == DOUBTFUL).sum())
    settle_doubts(values, event_us, edges, log, out[1], out[2])
    return out, doubts


def test_a_million_rows_leave_no_trace() -> None:
    """Large values with small ones among them; whatever has left, the rest is summed as if alone."""
    rng = np.random.default_rng(3)
    count = 1_000_000
    values = np.where(rng.random(count) < 0.5, 1e15 * rng.standard_normal(count), rng.standard_normal(count))
    event = np.arange(count, dtype=np.int64) * 10
    windows = [Window(span_us=200_000), Window(last=7)]
    features = [Feature(w, s, 0) for w in (0, 1) for s in ("sum", "mean", "std", "slope")]  # type: ignore[arg-type]
    found = state_rows(
        streamed(event, values), windows=windows, features=features, from_us=event[-3], until_us=10_300_000
    )
    for k in range(0, len(found.instant_us), 1777):
        u = found.instant_us[k]
        left = values[(event <= u) & (event > u - 200_000)].tolist()
        assert found.columns[0][k] == math.fsum(left)
        assert found.columns[1][k] == math.fsum(left) / len(left)
        assert found.columns[4][k] == math.fsum(values[event <= u][-7:].tolist())
    u = found.instant_us[0]
    inside = (event <= u) & (event > u - 200_000)
    assert found.columns[2][0] == oracle.std(values[inside].tolist())
    assert found.columns[3][0] == oracle.slope(event[inside].tolist(), values[inside].tolist())
    assert found.columns[7][0] == oracle.slope(event[event <= u][-7:].tolist(), values[event <= u][-7:].tolist())


@pytest.mark.parametrize("seed", range(40))
def test_digits_hold_sums_and_products(seed: int) -> None:
    r = random.Random(seed)
    size = r.choice([lambda: 1.0, lambda: 10.0 ** r.uniform(-300, 149), lambda: 10.0 ** r.uniform(-323, -300)])
    terms = [(r.uniform(-1, 1) * size(), r.randrange(1 << r.choice([3, 45, 58]))) for _ in range(r.randint(1, 40))]
    total, squares, crossed = (np.zeros(SQUARES, np.int64) for _ in range(3))
    for x, t in terms:
        side, whole, position = parts(x)
        put(total, whole, position, side)
        put_product(squares, whole, whole, 2 * position, 1)
        put_product(crossed, whole, t, position, side)
    digits = np.zeros(SQUARES + 1, np.int64)
    exact = (
        (total, BIAS, sum(Fraction(x) for x, _ in terms)),
        (squares, 2 * BIAS, sum(Fraction(x) ** 2 for x, _ in terms)),
        (crossed, BIAS, sum(Fraction(x) * t for x, t in terms)),
    )
    for sums, bias, wanted in exact:
        high, low, up = read(sums, 0, SQUARES - 1, digits)
        scaled = Fraction(wanted) * Fraction(2) ** (bias - up)
        assert high == float(scaled)
        assert abs(Fraction(high) + Fraction(low) - scaled) <= abs(scaled) / 2**104


@pytest.mark.parametrize(
    ("values", "exact"),
    [
        ([2.0**53, 1.0, 2.0**-60], 2.0**53 + 2),  # above the middle by what is far below
        ([2.0**53, 1.0], 2.0**53),  # in the middle: to the even one
        ([2.0**53, 3.0], 2.0**53 + 4),
        ([2.0**53, 1.0, -(2.0**-60)], 2.0**53),
        ([2.0**53, 1.0, 5e-324], 2.0**53 + 2),
        ([-(2.0**53), -1.0, -5e-324], -(2.0**53) - 2),
        ([1e149, 5e-324, -1e149], 5e-324),
    ],
)
def test_a_sum_is_rounded_once(values: list[float], exact: float) -> None:
    assert math.fsum(values) == exact
    event = np.zeros(len(values), np.int64)
    features = [Feature(0, "sum", 0), Feature(0, "mean", 0)]
    for asked in (features, [*features, Feature(0, "std", 0)]):
        found = state_rows(streamed(event, np.array(values)), windows=[Window()], features=asked, from_us=0, until_us=1)
        assert [c.tolist() for c in found.columns[:2]] == [[exact], [exact / len(values)]]


def middles() -> list[tuple[list[int], list[float]]]:
    """Rows whose sum of squares, or whose slope, lies in the middle between two doubles, or just beside it."""
    odd = float(2**53 - 1)
    return [
        ([0, 0, 0], [odd / 2**26, 0.0, -odd / 2**26]),
        ([0, 2 * DAY], [0.0, odd]),
        ([0, DAY, 2 * DAY], [-odd, 2.0**-400, 2.0]),
        ([0, DAY, 2 * DAY], [-odd, 0.0, 2.0]),
        ([0, DAY, 2 * DAY], [-odd, 0.0, 4.0]),
        ([0, DAY, 2 * DAY], [odd, 0.0, -2.0]),
        ([0, 2 * DAY, 4 * DAY], [-odd, 2.0**-400, 2.0]),
        ([0, 0], [1.0, 1.0 + 2.0**-52]),
    ]


@pytest.mark.parametrize("case", range(len(middles())))
def test_results_in_the_middle_of_two_doubles(case: int) -> None:
    times, values = middles()[case]
    out, _ = spread_and_slope(np.array(values), np.array(times), log_of([[], list(range(len(values)))]))
    assert out[1, 1] == oracle.std(values)
    wanted = oracle.slope(times, values)
    assert out[2, 1] == wanted if wanted is not None else math.isnan(out[2, 1])


def test_doubts_occur_and_are_settled() -> None:
    """A middle between doubles, steps of a column that is constant in its windows, and times that are close."""
    doubts = 0
    for times, values in middles():
        doubts += spread_and_slope(np.array(values), np.array(times), log_of([[], list(range(len(values)))]))[1]
    assert doubts >= 4
    steps_of = np.array([1e9, 1e9, 3.3, 3.3, 3.3, 3.35, 3.35])
    event = np.array([0, 9 * 10**14, *(10**15 + k for k in (0, 3, 4, 9, 11))])
    steps: list[list[int]] = [[], [0, 1, 2, 3], [~0], [~1], [4], [5], [6, ~2], [~3, ~4]]
    out, doubts = spread_and_slope(steps_of, event, log_of(steps))
    assert doubts > 0
    here: list[int] = []
    for s, step in enumerate(steps):
        here = sorted({*here, *(v for v in step if v >= 0)} - {~v for v in step if v < 0})
        x = steps_of[here].tolist()
        for found, wanted in ((out[1, s], oracle.std(x)), (out[2, s], oracle.slope(event[here].tolist(), x))):
            assert found == wanted if wanted is not None else math.isnan(found)
    assert out[1, -1] == 0.0
    assert out[2, -1] == 0.0


def test_powers() -> None:
    """2^(t / half-life) against 60 digits; times before 1970 too."""
    r = random.Random(1)
    for half_life in (1, 7, 3_600_000_000, 365 * DAY, 2**52 + 1):
        event = [r.randrange(-(2**52), 2**52) for _ in range(200)] + [0, half_life, half_life - 1, -1]
        m, k = sliding_ewm.powers(np.array(event), half_life, sliding_ewm._ROOTS)
        with mpmath.workdps(60):
            for t, mantissa, exponent in zip(event, m.tolist(), k.tolist(), strict=True):
                exact = mpmath.mpf(2) ** (mpmath.mpf(t) / half_life - exponent)
                assert 1 <= exact < 2
                assert abs(mantissa - exact) < mpmath.mpf(2) ** -52 * 1.1


@pytest.mark.parametrize("seed", range(10))
def test_weighted_means_by_the_librarys_own_powers(seed: int) -> None:
    r = random.Random(seed)
    event = np.array(sorted(r.randrange(40 * DAY) for _ in range(60)))
    values = np.array([r.gauss(5, 2) for _ in range(60)])
    half_life = r.choice([3600_000_000, DAY, 30 * DAY])
    found = state_rows(
        streamed(event, values), windows=[Window(span_us=9 * DAY)], features=[Feature(0, "ewm", 0, half_life)],
        from_us=0, until_us=100 * DAY,
    )  # fmt: skip
    for u, value in zip(found.instant_us.tolist(), found.columns[0].tolist(), strict=True):
        inside = (event <= u) & (event > u - 9 * DAY)
        wanted = oracle.weighted_mean(event[inside].tolist(), values[inside].tolist(), half_life, oracle.plain_weight)
        assert value == pytest.approx(wanted, rel=1e-13) if wanted is not None else math.isnan(value)

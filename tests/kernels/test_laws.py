"""The laws of prefix, permutation and knowledge, on a synthetic lot and on real files (architecture, section 4)."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fs_spark.features.catalogue import CATALOGUE
from fs_spark.features.compute import compute_features
from fs_spark.stdf import StdfFile, read_stdf
from fs_spark.synth import LotSpec, generate_lot
from fs_spark.wafer import WaferGeometry, resolve_geometry
from tests.kernels.wafers import UTC_US, bits
from tests.stdf.files import in_zone, product, real_file

PARAMETERS = ("first", "second")
BEFORE = tuple(f.key for f in CATALOGUE if f.knowledge == "before_test")
AT = tuple(f.key for f in CATALOGUE if f.knowledge == "at_test")
WHOLE = tuple(f.key for f in CATALOGUE if f.knowledge == "after_wafer" and f.entity == "die")
SUMMARY = tuple(f.key for f in CATALOGUE if f.knowledge == "after_wafer" and f.entity == "wafer")
STATIC = ("x_mm", "y_mm", "radius_mm", "radius_norm", "angle_rad", "edge_distance_mm", "is_edge")
LOT = (
    "wafers_done", "yield_mean", "yield_std", "{p}__lot_mean", "{p}__lot_std", "{p}__lot_die_mean", "{p}__lot_die_std",
)  # fmt: skip
WAFERS = ("synthetic", "lot2", "prod", "diamond40", "2a816")
Tests = Sequence[tuple[int, str]]


class Wafer(NamedTuple):
    """The attempts of one wafer (of one lot, for lot features) and the map of its product."""

    attempts: pa.Table
    geometry: WaferGeometry

    def features(self, keys: Sequence[str], attempts: pa.Table | None = None, known: Any = "all") -> pa.Table:
        given = self.attempts if attempts is None else attempts
        return compute_features(given, self.geometry, features=keys, parameters=PARAMETERS, bins=(1, 2), known=known)


def with_values(found: StdfFile, tests: Tests) -> pa.Table:
    """The parts with the first result of two tests beside them."""
    parts = found.parts
    for name, (number, text) in zip(PARAMETERS, tests, strict=True):
        mine = pc.and_(pc.equal(found.results["test_num"], number), pc.equal(found.results["test_name"], text))
        rows = found.results.filter(pc.and_(mine, pc.equal(found.results["occurrence"], 0)))
        assert rows.num_rows > 0, f"no result of {number} {text}"
        values = np.full(parts.num_rows, np.nan)
        values[rows["part_index"].to_numpy()] = rows["result"].fill_null(np.nan).to_numpy()
        parts = parts.append_column(name, pa.array(values))
    return parts


def as_wafer(files: Sequence[StdfFile], tests: Tests) -> Wafer:
    attempts = pa.concat_tables([with_values(found, tests) for found in files])
    dies = set(zip(attempts["die_x"].to_pylist(), attempts["die_y"].to_pylist(), strict=True))
    return Wafer(attempts, resolve_geometry(sorted(dies), recorded=files[0].runs.to_pylist()[0]))


SYNTHETIC_TESTS = ((1001, "vdd"), (1003, "freq"))
BERLIN, NO_RULES = [in_zone("Europe/Berlin")], [product()]


@pytest.fixture(scope="module")
def lot_files(tmp_path_factory: pytest.TempPathFactory) -> list[StdfFile]:
    spec = LotSpec(lot_id="LAWS", seed=7, wafers=4, die_width_mm=9.0, die_height_mm=8.0)
    truth = generate_lot(spec, tmp_path_factory.mktemp("laws"))
    return [read_stdf(path, testers=BERLIN, products=NO_RULES) for path in truth.files if "CP1" in path.name]


@pytest.fixture(scope="module")
def lot(lot_files: list[StdfFile]) -> Wafer:
    return as_wafer(lot_files, SYNTHETIC_TESTS)


def first_megabytes(path: Path, megabytes: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(path.read_bytes(), megabytes << 20)


@pytest.fixture(scope="module", params=WAFERS)
def wafer(request: pytest.FixtureRequest, shared_data: Path) -> Wafer:
    if request.param == "synthetic":
        return as_wafer(request.getfixturevalue("lot_files")[:1], SYNTHETIC_TESTS)
    if request.param == "lot2":
        path = real_file(shared_data, "noonchen-rust-stdf/lot2.stdf.gz")
        found = read_stdf(path, testers=BERLIN, products=NO_RULES)
        return as_wafer([found], most_measured(found))
    if request.param == "prod":
        files = [
            read_stdf(
                real_file(shared_data, f"jervinkhoo-stdf-archive/PROD_*_R{k}_*"), testers=BERLIN, products=NO_RULES
            )
            for k in (0, 1)
        ]
        return as_wafer(files, most_measured(files[0]))
    if request.param == "2a816":  # a strip that is run twice in one file
        found = read_stdf(real_file(shared_data, "jervinkhoo-stdf-archive/*2a816*"), testers=BERLIN, products=NO_RULES)
        strip = as_wafer([found], most_measured(found))
        return strip._replace(attempts=strip.attempts.filter(pc.equal(strip.attempts["wafer_id"], "1748RSB011")))
    # a cut file gives its complete parts: 15 MB of 95 are some 600
    data = first_megabytes(real_file(shared_data, "nerohmot-stdf/diamond40_*"), 15)
    found = read_stdf(data, testers=BERLIN, products=NO_RULES)
    return as_wafer([found], [(110044, "vdds"), (800200, "Idd@5.0V")])


def most_measured(found: StdfFile) -> Tests:
    counts = found.results.filter(pc.is_valid(found.results["result"])).group_by(["test_num", "test_name"])
    ranked = counts.aggregate([("result", "count")]).sort_by(
        [("result_count", "descending"), ("test_num", "ascending")]
    )
    return [(row["test_num"], row["test_name"]) for row in ranked.slice(0, 2).to_pylist()]


def times(attempts: pa.Table, name: str = "event_timestamp") -> np.ndarray:
    found: np.ndarray = attempts[name].cast(pa.int64()).to_numpy()
    return found


def spread(values: np.ndarray, count: int) -> list[int]:
    """Some of the distinct values, from early to late."""
    distinct = np.unique(values)
    return [int(distinct[int(k)]) for k in np.linspace(0, len(distinct) - 1, count + 2)[1:-1]]


def rows_where(table: pa.Table, keep: np.ndarray) -> pa.Table:
    return table.filter(pa.array(keep))


def late(attempts: pa.Table) -> pa.Table:
    """Results known in some thirty portions, each at its own delay; those of one touchdown are known together."""
    event = times(attempts)
    step = max(1, int(event.max() - event.min()) // 30)
    portion = (event - event.min()) // step
    delay = np.random.default_rng(5).integers(0, 6, int(portion.max()) + 1)
    available = np.maximum(event, event.min() + (portion + delay[portion]) * step)
    at = attempts.column_names.index("available_timestamp")
    return attempts.set_column(at, "available_timestamp", pa.array(available).cast(UTC_US))


ALSO_LATE = pytest.mark.parametrize("timing", [lambda attempts: attempts, late], ids=["streaming", "late"])


def test_the_wafers_are_worth_testing(wafer: Wafer) -> None:
    found = wafer.features(BEFORE)
    assert found.num_rows == wafer.attempts.num_rows >= 300
    assert pc.sum(pc.greater(found["neighbor_count"], 2)).as_py() > 100
    assert pc.sum(found["fail__neighbor_count"]).as_py() > 20
    assert pc.sum(pc.is_valid(found["second__neighbor_std"])).as_py() > 50


@pytest.mark.parametrize("keys", [BEFORE, AT, STATIC], ids=["before_test", "at_test", "static"])
@ALSO_LATE
def test_law_1_later_touchdowns_leave_earlier_rows_as_they_were(
    wafer: Wafer, keys: Sequence[str], timing: Callable[[pa.Table], pa.Table]
) -> None:
    attempts = timing(wafer.attempts)
    whole = wafer.features(keys, attempts)
    for cut in spread(times(attempts), 3):
        prefix = wafer.features(keys, rows_where(attempts, times(attempts) <= cut))
        if keys is STATIC:
            dies = set(zip(prefix["die_x"].to_pylist(), prefix["die_y"].to_pylist(), strict=True))
            places = zip(whole["die_x"].to_pylist(), whole["die_y"].to_pylist(), strict=True)
            earlier = rows_where(whole, np.array([place in dies for place in places]))
        else:
            earlier = rows_where(whole, times(whole) <= cut)
        assert 0 < earlier.num_rows < whole.num_rows or keys is STATIC
        assert bits(prefix) == bits(earlier)


def test_law_1_a_later_run_leaves_earlier_rows_as_they_were(shared_data: Path, wafer: Wafer) -> None:
    runs = wafer.attempts["run_id"].unique().to_pylist()
    first = wafer.features(BEFORE, wafer.attempts.filter(pc.equal(wafer.attempts["run_id"], runs[0])))
    whole = wafer.features(BEFORE)
    assert bits(first) == bits(rows_where(whole, times(whole) <= times(first).max()))


@ALSO_LATE
def test_law_2_a_touchdowns_own_parts_do_not_matter_to_it(wafer: Wafer, timing: Callable[[pa.Table], pa.Table]) -> None:
    attempts = timing(wafer.attempts)
    event = times(attempts)
    original = wafer.features(BEFORE, attempts)
    own_columns = [name for name in original.column_names if name != "sequence"]  # it numbers the parts
    changed_elsewhere = 0
    for moment in spread(event, 8):
        mine = event == moment
        changed = other_outcomes(attempts, mine)
        found = wafer.features(BEFORE, changed)
        before, after = (t.select(own_columns) for t in (original, found))
        assert bits(rows_where(before, times(before) <= moment)) == bits(rows_where(after, times(after) <= moment))
        later = [rows_where(t, times(t) > moment) for t in (before, after)]
        changed_elsewhere += bits(later[0]) != bits(later[1])
    assert changed_elsewhere >= 4  # the same changes do reach what comes later


def other_outcomes(attempts: pa.Table, mine: np.ndarray) -> pa.Table:
    """The parts of one touchdown in reverse order of file, with opposite outcomes and other values."""
    index = attempts["part_index"].to_numpy().copy()
    index[mine] = index[mine][::-1]
    passed = attempts["passed"].to_numpy(zero_copy_only=False).astype(bool).copy()
    passed[mine] = ~passed[mine]
    columns = {"part_index": pa.array(index, pa.int32()), "passed": pa.array(passed)}
    for name in PARAMETERS:
        values = attempts[name].to_numpy().copy()
        values[mine] = values[mine] * 2 + 1
        columns[name] = pa.array(values)
    for name, column in columns.items():
        attempts = attempts.set_column(attempts.column_names.index(name), name, column)
    return attempts.take(pa.array(np.random.default_rng(1).permutation(attempts.num_rows)))


@pytest.mark.parametrize("keys", [BEFORE, AT], ids=["before_test", "at_test"])
@ALSO_LATE
def test_law_3_what_is_known_at_a_time_needs_only_what_was_available_then(
    wafer: Wafer, keys: Sequence[str], timing: Callable[[pa.Table], pa.Table]
) -> None:
    attempts = timing(wafer.attempts)
    whole = wafer.features(keys, attempts)
    for moment in spread(times(attempts, "available_timestamp"), 4):
        known = rows_where(attempts, times(attempts, "available_timestamp") <= moment)
        from_known = wafer.features(keys, known)
        place = ("die_x", "die_y", "event_timestamp")
        there = set(zip(*(known[name].to_pylist() for name in place), strict=True))
        of_known = np.array([row in there for row in zip(*(whole[name].to_pylist() for name in place), strict=True)])

        def by_then(rows: pa.Table, moment: int = moment) -> np.ndarray:
            return times(rows, "available_timestamp") <= moment

        assert bits(rows_where(from_known, by_then(from_known))) == bits(rows_where(whole, by_then(whole) & of_known))
        assert by_then(whole).sum() > 10


@pytest.mark.parametrize("keys", [BEFORE, AT, STATIC], ids=["before_test", "at_test", "static"])
def test_the_order_of_the_input_is_nothing(wafer: Wafer, keys: Sequence[str]) -> None:
    shuffled = wafer.attempts.take(pa.array(np.random.default_rng(2).permutation(wafer.attempts.num_rows)))
    assert bits(wafer.features(keys, shuffled)) == bits(wafer.features(keys))


def test_at_event_is_the_first_row_of_each_attempt(wafer: Wafer) -> None:
    attempts = late(wafer.attempts)
    everything, at_event = wafer.features(BEFORE, attempts), wafer.features(BEFORE, attempts, known="at_event")
    own = times(everything) == times(everything, "available_timestamp")
    assert bits(rows_where(everything, own)) == bits(at_event)
    assert everything.num_rows > at_event.num_rows
    assert bits(wafer.features(BEFORE)) == bits(wafer.features(BEFORE, known="at_event"))  # streaming


# whole wafers


@pytest.mark.parametrize("keys", [WHOLE, SUMMARY], ids=["die", "wafer"])
def test_law_1_a_later_run_leaves_the_whole_wafer_as_it_was_at_the_end_of_earlier_ones(
    wafer: Wafer, keys: Sequence[str]
) -> None:
    attempts = at_file_close(wafer.attempts)
    runs = attempts["run_id"].unique().to_pylist()
    whole = wafer.features(keys, attempts)
    assert whole.num_rows >= len(runs)
    first = wafer.features(keys, attempts.filter(pc.equal(attempts["run_id"], runs[0])))
    earlier = times(whole, "available_timestamp") <= times(first, "available_timestamp").max()
    assert bits(first) == bits(rows_where(whole, earlier & (times(whole) <= times(first).max())))
    ends = times(whole)
    for run in runs:  # strictly before an end no touchdown of its run sees it
        mine = times(attempts.filter(pc.equal(attempts["run_id"], run)))
        assert not ((ends > mine.min()) & (ends < mine.max())).any()


# lots


def at_file_close(attempts: pa.Table) -> pa.Table:
    """Every result known at the end of its run, some runs a whole run later."""
    event, available = times(attempts), times(attempts).copy()
    runs = attempts["run_id"].to_pylist()
    for k, run in enumerate(dict.fromkeys(runs)):
        mine = np.array([other == run for other in runs])
        length = int(event[mine].max() - event[mine].min())
        available[mine] = event[mine].max() + (2 * length if k % 2 == 0 else 0)
    at = attempts.column_names.index("available_timestamp")
    return attempts.set_column(at, "available_timestamp", pa.array(available).cast(UTC_US))


LOT_TIMINGS = pytest.mark.parametrize(
    "timing", [lambda attempts: attempts, at_file_close], ids=["streaming", "file_close"]
)


@LOT_TIMINGS
def test_law_1_whole_runs_later_leave_earlier_lot_rows(lot: Wafer, timing: Callable[[pa.Table], pa.Table]) -> None:
    attempts = timing(lot.attempts)
    whole = lot.features(LOT, attempts)
    runs = attempts["run_id"].unique().to_pylist()
    for count in range(1, len(runs)):
        some = lot.features(LOT, attempts.filter(pc.is_in(attempts["run_id"], pa.array(runs[:count]))))
        assert bits(some) == bits(rows_where(whole, times(whole) <= times(some).max()))
    assert pc.max(whole["wafers_done"]).as_py() == len(runs) == 4


@LOT_TIMINGS
def test_law_3_lot_rows_known_at_a_run_end(lot: Wafer, timing: Callable[[pa.Table], pa.Table]) -> None:
    attempts = timing(lot.attempts)
    whole = lot.features(LOT, attempts)
    for moment in np.unique(times(whole, "available_timestamp")).tolist():
        known = rows_where(attempts, times(attempts, "available_timestamp") <= moment)
        # in streaming the run that is under way is known in part: it has no end yet
        ended = [run for run in known["run_id"].unique().to_pylist() if run_is_known(attempts, run, moment)]
        found = lot.features(LOT, known.filter(pc.is_in(known["run_id"], pa.array(ended, pa.string()))))
        by_then = times(whole, "available_timestamp") <= moment
        assert bits(found) == bits(rows_where(whole, by_then))


def run_is_known(attempts: pa.Table, run: str, moment: int) -> bool:
    mine = attempts.filter(pc.equal(attempts["run_id"], run))
    return int(times(mine, "available_timestamp").max()) <= moment


def test_the_order_of_a_lots_attempts_is_nothing(lot: Wafer) -> None:
    shuffled = lot.attempts.take(pa.array(np.random.default_rng(3).permutation(lot.attempts.num_rows)))
    assert bits(lot.features(LOT, shuffled)) == bits(lot.features(LOT))


def test_no_touchdown_sees_a_lot_row_of_its_own_run(lot: Wafer) -> None:
    """Under the class's boundary, strictly before, the end of a run is later than all that its touchdowns may see."""
    ends = times(lot.features(LOT), "available_timestamp")
    for run in lot.attempts["run_id"].unique().to_pylist():
        mine = times(lot.attempts.filter(pc.equal(lot.attempts["run_id"], run)))
        seen = ends[ends < mine.max()]
        assert (seen < mine.min()).all()

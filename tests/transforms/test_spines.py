"""Spines from the store's own tests: against the oracle, at hand-written times, and as laws."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark.errors import LeakageError, RequestError, SchemaError
from fs_spark.features.spine import GroupSplit, NegativeSampling, SpineRequest, TimeSplit
from fs_spark.transforms import AsOfView, as_of_join, with_attempts
from fs_spark.transforms.spines import spine_of
from tests.oracles.attempts import number_attempts
from tests.oracles.spines import spine_rows
from tests.rows import Rows, frame_of, rows_of

SCHEMA = (
    "run_id string, part_index int, lot_id string, wafer_id string, insertion string, die_x int, die_y int, "
    "passed boolean, hard_bin int, soft_bin int, run_start timestamp, event_timestamp timestamp, "
    "available_timestamp timestamp, product_id string"
)
LOTS = ("L1", "L2", "L11", "µ:4", "L5")


def at(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def span(micros: int) -> timedelta:
    return timedelta(microseconds=micros)


def random_tests(rng: random.Random) -> Rows:
    """Five lots of up to three wafers at two insertions, with retests, nulls, late results."""
    rows: Rows = []
    for lot in LOTS:
        for wafer in ("1", "11", "1:2")[: rng.choice([1, 3, 3, 3])]:
            begin = rng.randrange(0, 160)
            for insertion, start, count in (("1", begin, 8), ("2", begin + rng.choice([15, 30, 30]), 18)):
                for _ in range(count):
                    event = start + rng.randrange(20)
                    passed = rng.choice([True, True, False, False, None])
                    rows.append(
                        {
                            "run_id": f"{lot}/{wafer}/{insertion}",
                            "part_index": len(rows),
                            "lot_id": lot if rng.random() > 0.03 else None,
                            "wafer_id": wafer if rng.random() > 0.03 else None,
                            "insertion": insertion if rng.random() > 0.03 else None,
                            "die_x": rng.choice([1, 11, -3, 1, 11, -3, None]),
                            "die_y": rng.choice([1, -11, 2]),
                            "passed": passed,
                            "hard_bin": 1 if passed else rng.choice([None, 5, 6]),
                            "soft_bin": rng.choice([None, 1, 70]),
                            "run_start": rng.choice([start, start, start + 4, None]),
                            "event_timestamp": event,
                            "available_timestamp": event + rng.choice([0, 0, 0, 3]) if rng.random() > 0.02 else None,
                            "product_id": rng.choice(["P", "P", "P", "Q", None]),
                        }
                    )
    rng.shuffle(rows)
    return rows


def dies(spark: SparkSession, rows: Rows) -> DataFrame:
    return with_attempts(frame_of(spark, rows, SCHEMA))


def sorted_rows(rows: Rows) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.items()) for row in rows), key=repr)


SHARES = {"train": 0.5, "validation": 0.2, "test": 0.3}
BY_LOT, BY_WAFER = GroupSplit("lot", SHARES, seed=3), GroupSplit("wafer", SHARES, seed=-1)
BY_TIME = TimeSplit((at(70), at(130)), span(12))

# What is asked, and the same in the oracle's words.
ASKED: dict[str, tuple[SpineRequest, dict[str, Any]]] = {
    "first tests by lot": (
        SpineRequest("die_test", split=BY_LOT),
        {"label": "fails", "attempts": "first", "split": ("lot", SHARES, 3)},
    ),
    "all tests, fewer passes": (
        SpineRequest(
            "die_test", "hard_bin", "2", attempts="all", negatives=NegativeSampling(0.4, seed=3), split=BY_TIME
        ),
        {
            "label": "hard_bin",
            "insertion": "2",
            "attempts": "all",
            "negatives": (0.4, 3),
            "split": ("time", (70, 130), 12, ("train", "validation", "test")),
        },
    ),
    "next insertion": (
        SpineRequest("next_insertion", insertion="2", earlier_insertion="1", split=BY_WAFER),
        {"insertion": "2", "earlier": "1", "label": "fails", "attempts": "final", "split": ("wafer", SHARES, -1)},
    ),
    "next insertion, told": (
        SpineRequest(
            "next_insertion",
            "soft_bin",
            "2",
            "1",
            "told",
            "first",
            lots=["L1", "µ:4", "L5"],
            products=["P"],
            split=TimeSplit((at(100),), sides=("old", "new")),
        ),
        {
            "insertion": "2",
            "earlier": "1",
            "unended": "told",
            "label": "soft_bin",
            "attempts": "first",
            "lots": ["L1", "µ:4", "L5"],
            "products": ["P"],
            "split": ("time", (100,), 0, ("old", "new")),
        },
    ),
    "final yield of lots": (
        SpineRequest("lot_final", insertion="2", earlier_insertion="1", unended="told", split=BY_LOT),
        {
            "insertion": "2",
            "earlier": "1",
            "unended": "told",
            "label": "final_yield",
            "attempts": "final",
            "split": ("lot", SHARES, 3),
        },
    ),
    "first-pass yield of lots": (
        SpineRequest("lot_final", "first_pass_yield", products=["P"], split=TimeSplit((at(60), at(75)), span(5))),
        {
            "label": "first_pass_yield",
            "attempts": "first",
            "products": ["P"],
            "split": ("time", (60, 75), 5, ("train", "validation", "test")),
        },
    ),
}
USUAL: dict[str, Any] = {
    "insertion": "1", "earlier": None, "unended": "left_out", "lots": None, "products": None,
    "negatives": None, "split": None,
}  # fmt: skip


@pytest.mark.parametrize("case", ASKED)
@pytest.mark.parametrize(("seed", "partitions"), [(1, 1), (2, 7)])
def test_equals_the_oracle(spark: SparkSession, case: str, seed: int, partitions: int) -> None:
    request, told = ASKED[case]
    rows = random_tests(random.Random(seed))
    expected = spine_rows(number_attempts(rows), {**USUAL, "question": request.question, **told})
    assert len(expected) >= (2 if request.of_lots else 10)
    found = spine_of(dies(spark, rows).repartition(partitions), request)
    assert sorted_rows(rows_of(found)) == sorted_rows(expected)


def test_the_random_tests_have_every_case() -> None:
    """Neither a constant label nor one side alone, or the comparison above would tell little."""
    seen: dict[str, set[Any]] = {}
    for seed in (1, 2):
        numbered = number_attempts(random_tests(random.Random(seed)))
        for case, (request, told) in ASKED.items():
            for row in spine_rows(numbered, {**USUAL, "question": request.question, **told}):
                for name in ("split", "weight", "earlier_ended", request.label_column):
                    seen.setdefault(f"{case}: {name}", set()).add(row.get(name))
    few = {what for what, values in seen.items() if len(values) < 2 and values != {None}}
    assert not few
    assert seen["all tests, fewer passes: split"] == {"train", "validation", "test", "embargo"}
    assert "embargo" in seen["first-pass yield of lots: split"]


# times, written by hand


def one(
    wafer: str, insertion: str, x: int | None, event: int | None, passed: bool | None, **more: Any
) -> dict[str, Any]:
    die = {"run_id": f"{wafer}/{insertion}", "part_index": event or 0, "lot_id": "L1", "wafer_id": wafer, "die_y": 1}
    times = {"event_timestamp": event, "available_timestamp": event}
    return {**die, "insertion": insertion, "die_x": x, "passed": passed, "product_id": "P", **times, **more}


def test_a_die_is_asked_at_its_own_touchdown(spark: SparkSession) -> None:
    """A view known before the test gives the row of that very touchdown, one of the test itself only earlier rows."""
    tests = dies(spark, [one("W", "1", 1, 10, False), one("W", "1", 2, 10, True), one("W", "1", 1, 20, True)])
    spine = spine_of(tests, SpineRequest("die_test", attempts="all"))
    keys = ("lot_id", "wafer_id", "die_x", "die_y")
    own = tests.withColumn("sequence", F.lit(0)).withColumn("row_of", F.unix_micros("event_timestamp"))
    joined = as_of_join(
        spine,
        [
            AsOfView("before", own, keys, {"before": "row_of"}, boundary="at_or_before"),
            AsOfView("own", own, keys, {"own": "row_of"}, boundary="strictly_before"),
        ],
    )
    found = {
        (row["die_x"], row["event_timestamp"], row["fails"]): (row["before"], row["own"]) for row in rows_of(joined)
    }
    assert found == {(1, 10, True): (10, None), (2, 10, False): (10, None), (1, 20, False): (20, 10)}


def test_the_next_insertion_is_asked_at_the_start_of_the_wafers_first_run(spark: SparkSession) -> None:
    tests = [
        one("W1", "1", 1, 10, True),
        one("W1", "2", 1, 35, False, run_start=30),
        one("W1", "2", 1, 55, True, run_start=50),  # a retest: its run starts later, and is not the first
        one("W2", "1", 1, 30, True),  # ends when insertion 2 starts: its end is not strictly before
        one("W2", "2", 1, 35, False, run_start=30),
        one("W3", "2", 1, 35, False, run_start=30),  # never at insertion 1
        one("W4", "1", 1, 10, True),
        one("W4", "2", None, 32, True, run_start=30),  # a part without a place starts the run all the same
        one("W4", "2", 1, 35, False, run_start=34),
        one("W5", "1", 1, 10, True),
        one("W5", "2", 1, 27, False, run_start=30),  # the logged clock runs behind the header's
        one("W6", "1", 1, 10, True),
        one("W6", "2", 1, 35, None, run_start=30),  # not judged
        one("W7", "1", 1, 10, True, available_timestamp=30),  # ended, not yet known
        one("W7", "2", 1, 35, True, run_start=30),
        one("W8", "1", 1, 10, True),
        one("W8", "1", 2, 40, True),  # tested again at insertion 1 after insertion 2
        one("W8", "2", 1, 35, True, run_start=30),
        one("W9", "1", 1, 10, True),
        one("W9", "2", 1, None, True),  # no time at all
    ]
    request = SpineRequest("next_insertion", insertion="2", earlier_insertion="1")
    spine = rows_of(spine_of(dies(spark, tests), request))
    assert {(row["wafer_id"], row["event_timestamp"], row["fails"]) for row in spine} == {
        ("W1", 30, False), ("W4", 30, True), ("W5", 27, True),
    }  # fmt: skip
    told = SpineRequest("next_insertion", insertion="2", earlier_insertion="1", unended="told")
    ended = {row["wafer_id"]: row["earlier_ended"] for row in rows_of(spine_of(dies(spark, tests), told))}
    assert ended == {"W1": True, "W2": False, "W3": False, "W4": True, "W5": True, "W7": False, "W8": False}


def test_a_lots_yield_counts_each_die_once(spark: SparkSession) -> None:
    tests = [
        one("W1", "1", 1, 12, False, run_start=10),
        one("W1", "1", 1, 50, True, run_start=40),
        one("W1", "1", 2, 12, False, run_start=10),
        one("W2", "1", 1, 22, True, run_start=20),
        one("W2", "1", 2, 22, True, run_start=20),
        one("W2", "1", 2, 60, None, run_start=40),  # its last word is no judgment
        one("W2", "1", None, 22, False, run_start=8),  # no die: in no yield, but the lot had begun
    ]
    (final,) = rows_of(spine_of(dies(spark, tests), SpineRequest("lot_final")))
    assert final == {
        "lot_id": "L1", "event_timestamp": 8, "final_yield": 2 / 3, "die_count": 3, "fail_count": 1, "wafer_count": 2,
    }  # fmt: skip
    (first,) = rows_of(spine_of(dies(spark, tests), SpineRequest("lot_final", "first_pass_yield")))
    assert (first["first_pass_yield"], first["die_count"], first["fail_count"]) == (0.5, 4, 2)


def test_the_edges_of_a_cut_and_its_embargo(spark: SparkSession) -> None:
    """Cut at 100, embargo of 10: before 100, and from 110."""
    late = {"available_timestamp": 100}
    tests = [
        *(one(f"{event}", "1", 1, event, True) for event in (99, 100, 109, 110)),
        one("late", "1", 1, 90, True, **late),
        one("never", "1", 1, 90, True, available_timestamp=None),
        *(one("spans", "1", x, event, True) for x, event in ((1, 90), (2, 120))),
        *(one("retest", "1", 1, event, True) for event in (90, 120)),
    ]
    split = TimeSplit((at(100),), span(10))
    first = rows_of(spine_of(dies(spark, tests), SpineRequest("die_test", split=split)))
    assert {row["wafer_id"]: row["split"] for row in first} == {
        "99": "train", "100": "embargo", "109": "embargo", "110": "test",
        "late": "embargo", "never": "embargo", "spans": "embargo", "retest": "train",
    }  # fmt: skip
    final = rows_of(spine_of(dies(spark, tests), SpineRequest("die_test", attempts="all", split=split)))
    assert {row["split"] for row in final if row["wafer_id"] == "retest"} == {"embargo"}


# laws


SAMPLED = NegativeSampling(0.5, seed=5)


@pytest.mark.parametrize("split", [BY_LOT, BY_WAFER, BY_TIME], ids=["lot", "wafer", "time"])
def test_other_lots_and_filters_change_no_row(spark: SparkSession, split: Any) -> None:
    """The lots L1 and L2 alone, among all, and asked for among all; and no group is on two sides."""
    rows = random_tests(random.Random(3))
    among_all = rows_of(spine_of(dies(spark, rows), SpineRequest("die_test", negatives=SAMPLED, split=split)))
    alone_rows = [row for row in rows if row["lot_id"] in ("L1", "L2")]
    alone = rows_of(spine_of(dies(spark, alone_rows), SpineRequest("die_test", negatives=SAMPLED, split=split)))
    filtered = SpineRequest("die_test", lots=("L1", "L2"), products=("P",), negatives=SAMPLED, split=split)
    of_product = sorted_rows(rows_of(spine_of(dies(spark, rows).repartition(5), filtered)))
    wanted = sorted_rows([row for row in among_all if row["lot_id"] in ("L1", "L2")])
    assert sorted_rows(alone) == wanted
    assert 0 < len(of_product) < len(wanted)
    assert set(of_product) <= set(wanted)
    keys = ("lot_id",) if split == BY_LOT else ("lot_id", "wafer_id")
    groups = {(*(row[key] for key in keys), row["split"]) for row in among_all}
    assert len({group[:-1] for group in groups}) == len(groups) > 2


def test_shares_and_weights_at_size(spark: SparkSession) -> None:
    """8,000 wafers of three dies, of which one fails: within four standard deviations of what was asked."""
    every = spark.range(24_000).select(
        F.col("id").cast("string").alias("run_id"), F.lit(0).alias("part_index"), F.lit("1").alias("insertion"),
        (F.floor(F.col("id") / 75)).cast("string").alias("lot_id"),
        (F.floor(F.col("id") / 3) % 25).cast("string").alias("wafer_id"),
        (F.col("id") % 3).cast("int").alias("die_x"), F.lit(1).alias("die_y"), (F.col("id") % 3 > 0).alias("passed"),
        *(F.timestamp_micros("id").alias(t) for t in ("run_start", "event_timestamp", "available_timestamp")),
        F.lit(True).alias("is_first"), F.lit(True).alias("is_final"),
    )  # fmt: skip
    request = SpineRequest("die_test", negatives=NegativeSampling(0.1, seed=3), split=GroupSplit("wafer", SHARES, 3))
    spine = rows_of(spine_of(every, request))
    fails = [row for row in spine if row["fails"]]
    passes = [row for row in spine if not row["fails"]]
    assert len(fails) == 8_000
    assert {row["weight"] for row in fails} == {1.0}
    assert {row["weight"] for row in passes} == {10.0}
    assert abs(len(passes) - 1_600) < 4 * (16_000 * 0.1 * 0.9) ** 0.5
    for side, share in SHARES.items():
        for of_class in (fails, passes):  # the draw of a side and the draw of a pass know nothing of each other
            count = sum(row["split"] == side for row in of_class)
            assert abs(count - share * len(of_class)) < 4 * (len(of_class) * share * (1 - share)) ** 0.5, side


def test_columns_and_their_order(spark: SparkSession) -> None:
    tests = dies(spark, [])
    request = SpineRequest("die_test", negatives=SAMPLED, split=BY_LOT)
    die = ["lot_id", "wafer_id", "die_x", "die_y", "event_timestamp"]
    assert spine_of(tests, SpineRequest("die_test")).columns == [*die, "fails"]
    assert spine_of(tests, request).columns == [*die, "fails", "weight", "split"]
    counts = ["die_count", "fail_count", "wafer_count"]
    assert spine_of(tests, SpineRequest("lot_final")).columns == ["lot_id", "event_timestamp", "final_yield", *counts]
    with pytest.raises(SchemaError, match="die_tests lacks is_first, product_id"):
        spine_of(tests.drop("is_first", "product_id"), SpineRequest("die_test", products=["P"]))


NEXT: dict[str, Any] = {"question": "next_insertion", "insertion": "2", "earlier_insertion": "1"}
MACHINES = f"{SCHEMA}, tester string, head int, site int"
KNOWN = ["product_id", "tester", "head", "site"]


def on_machines(rows: Rows) -> Rows:
    """The same tests with a tester and a head for each run, and a site for each part."""
    return [
        {**row, "tester": f"t{len(row['run_id']) % 3}", "head": len(row["run_id"]) % 2, "site": row["part_index"] % 4}
        for row in rows
    ]


def test_columns_that_are_known_before_a_test(spark: SparkSession) -> None:
    rows = on_machines(random_tests(random.Random(5)))
    tests = with_attempts(frame_of(spark, rows, MACHINES))
    request = SpineRequest("die_test", attempts="all", split=BY_LOT)
    plain = rows_of(spine_of(tests, request))
    found = rows_of(spine_of(tests, request, columns=KNOWN))
    assert list(found[0]) == [*plain[0], *KNOWN]
    assert sorted_rows([{k: row[k] for k in plain[0]} for row in found]) == sorted_rows(plain)
    held: dict[Any, set[Any]] = {}
    for row in rows:
        place = tuple(row[key] for key in ("lot_id", "wafer_id", "die_x", "die_y", "event_timestamp"))
        held.setdefault(place, set()).add(tuple(row[name] for name in KNOWN))
    for row in found:
        place = tuple(row[key] for key in ("lot_id", "wafer_id", "die_x", "die_y", "event_timestamp"))
        assert tuple(row[name] for name in KNOWN) in held[place]
    told = {"hour": "hour(event_timestamp, 'UTC')", "x": "die_x * 2", "where": "concat(tester, ':', lot_id)"}
    for row in rows_of(spine_of(tests, request, columns=told)):
        assert (row["hour"], row["x"]) == (row["event_timestamp"] // 3_600_000_000 % 24, row["die_x"] * 2)
        assert row["where"].endswith(f":{row['lot_id']}")


def test_before_an_insertion_the_columns_are_of_the_run_that_is_asked(spark: SparkSession) -> None:
    def part(run: str, index: int, x: int, event: int, tester: str) -> dict[str, Any]:
        start = 0 if run == "a" else 100
        return {"run_id": run, "part_index": index, "lot_id": "L", "wafer_id": "W", "insertion": "2", "die_x": x,
                "die_y": 0, "passed": True, "run_start": start, "event_timestamp": event, "available_timestamp": event,
                "tester": tester, "site": index}  # fmt: skip

    earlier = {**part("0", 0, 1, -9, "t0"), "insertion": "1", "run_start": -10}
    rows = [earlier, part("a", 0, 1, 10, "t1"), part("b", 0, 1, 110, "t2"), part("b", 1, 2, 120, "t2")]
    tests = with_attempts(frame_of(spark, rows, MACHINES))
    request = SpineRequest("next_insertion", insertion="2", earlier_insertion="1", attempts="first")
    columns = {"tester": "tester", "site": "site", "hour": "hour(event_timestamp, 'UTC')"}
    found = rows_of(spine_of(tests, request, columns=columns))
    told = sorted((row["die_x"], row["event_timestamp"], row["tester"], row["site"], row["hour"]) for row in found)
    # the second die is tested first in a later run, of which nothing is known when the first one begins
    assert told == [(1, 0, "t1", 0, 0), (2, 0, None, None, 0)]


@pytest.mark.parametrize(
    ("request_", "columns", "kind", "text"),
    [
        (SpineRequest("die_test"), ["passed"], LeakageError, "passed of an attempt .*\nHint: .*product_id.*tester"),
        (SpineRequest("die_test"), {"bad": "hard_bin + site"}, LeakageError, "column bad: hard_bin"),
        (SpineRequest("die_test"), ["testr"], RequestError, "testr"),
        (SpineRequest("die_test"), {"x": "site +"}, RequestError, "column x: "),
        (SpineRequest("die_test"), ["lot_id"], RequestError, "lot_id would be in the spine twice"),
        (SpineRequest("die_test"), {"fails": "site"}, RequestError, "fails would be in the spine twice"),
        (SpineRequest("lot_final"), ["product_id"], RequestError, "question='die_test'"),
        (SpineRequest(**NEXT), ["tester"], LeakageError, "attempts='first'"),
    ],
)
def test_columns_that_cannot_be_asked(
    spark: SparkSession, request_: SpineRequest, columns: Any, kind: type[Exception], text: str
) -> None:
    tests = with_attempts(frame_of(spark, [], MACHINES))
    with pytest.raises(kind, match=f"(?s){text}") as raised:
        spine_of(tests, request_, columns=columns)
    assert "Hint: " in str(raised.value)


def test_equal_requests_split_alike() -> None:
    backwards = GroupSplit("lot", dict(reversed(SHARES.items())), seed=3)
    assert backwards == BY_LOT
    assert backwards.bounds == BY_LOT.bounds
    assert hash(SpineRequest("die_test", split=backwards)) == hash(SpineRequest("die_test", split=BY_LOT))


@pytest.mark.parametrize(
    ("made", "asked", "text"),
    [
        (SpineRequest, {"question": "dietest"}, "did you mean 'die_test'"),
        (SpineRequest, {"question": "die_test", "label": "hardbin"}, "did you mean 'hard_bin'"),
        (SpineRequest, {"question": "die_test", "label": "final_yield"}, "there are fails, passed"),
        (SpineRequest, {"question": "lot_final", "label": "fails"}, "there are final_yield"),
        (SpineRequest, {"question": "die_test", "attempts": "last"}, "there are first, final, all"),
        (SpineRequest, {"question": "die_test", "insertion": 1}, "insertion is 1, no text"),
        (SpineRequest, {"question": "die_test", "earlier_insertion": "1"}, "at the die's own test"),
        (SpineRequest, {"question": "die_test", "lots": "L1"}, r"lots=\['...'\]"),
        (SpineRequest, {"question": "die_test", "products": []}, "leave products out"),
        (SpineRequest, {"question": "die_test", "split": "lot"}, r"GroupSplit\(...\)"),
        (SpineRequest, {"question": "die_test", "negatives": 0.1}, r"NegativeSampling\(fraction=0.1\)"),
        (SpineRequest, {"question": "next_insertion"}, "as earlier_insertion"),
        (SpineRequest, {**NEXT, "insertion": "1"}, "its own earlier one"),
        (SpineRequest, {**NEXT, "attempts": "all"}, "one time T"),
        (SpineRequest, {**NEXT, "unended": "leave"}, "there are left_out, told"),
        (SpineRequest, {"question": "lot_final", "attempts": "final"}, "label='first_pass_yield'"),
        (SpineRequest, {"question": "lot_final", "negatives": SAMPLED}, "leave negatives out"),
        (SpineRequest, {"question": "lot_final", "split": BY_WAFER}, "split by 'lot'"),
        (NegativeSampling, {"fraction": 0}, "above 0"),
        (NegativeSampling, {"fraction": float("nan")}, "above 0"),
        (NegativeSampling, {"fraction": 0.5, "seed": 0.5}, "whole number"),
        (SpineRequest, {"question": "die_test", "split": GroupSplit("waver", SHARES)}, "did you mean 'wafer'"),
        (SpineRequest, {"question": "die_test", "split": GroupSplit(["lot_id"], SHARES)}, "there are lot, wafer"),
        (GroupSplit, {"by": "time", "fractions": SHARES}, "give TimeSplit"),
        (GroupSplit, {"by": "lot", "fractions": {"train": 0.7, "test": 0.2}}, "sum to 0.9"),
        (GroupSplit, {"by": "lot", "fractions": {"train": 1.0, "test": 0.0}}, "leave the side out"),
        (GroupSplit, {"by": "lot", "fractions": {"train": 0.5, "embargo": 0.5}}, "another name"),
        (GroupSplit, {"by": "lot", "fractions": {}}, "a name of its own"),
        (GroupSplit, {"by": "lot", "fractions": [0.5, 0.5]}, "'train': 0.8"),
        (TimeSplit, {"cuts": (datetime(2025, 3, 1),)}, "tzinfo=timezone.utc"),
        (TimeSplit, {"cuts": ()}, "at least one time"),
        (TimeSplit, {"cuts": at(1)}, "at least one time"),
        (TimeSplit, {"cuts": (at(2), at(1))}, "earliest first"),
        (TimeSplit, {"cuts": (at(1),), "embargo": span(-1)}, "zero or more"),
        (TimeSplit, {"cuts": (at(1), at(2)), "embargo": span(1)}, "move the cuts apart"),
        (TimeSplit, {"cuts": (at(1), at(2), at(3))}, "3 cuts make 4 sides"),
        (TimeSplit, {"cuts": (at(1),), "sides": ("a", "a")}, "a name of its own"),
        (TimeSplit, {"cuts": (at(1),), "sides": "ab"}, "'train', 'test'"),
    ],
)
def test_what_cannot_be_asked(made: Any, asked: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text) as raised:
        made(**asked)
    assert "\nHint: " in str(raised.value)

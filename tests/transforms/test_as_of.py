"""The point-in-time join against the oracle, and the laws of a join: one row out per spine row, nothing else moved."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark.errors import LeakageError, RequestError, SchemaError
from fs_spark.transforms import AsOfView, as_of_join, as_of_row
from tests.frames import assert_frames_close
from tests.oracles.as_of import as_of
from tests.rows import Rows, arrow_of, explained, frame_of, plain, rows_of, settings

LOT, WAFER, DIE = ("lot_id",), ("lot_id", "wafer_id"), ("lot_id", "wafer_id", "die_x", "die_y")
KEYS = "lot_id string, wafer_id string, die_x int, die_y int"
TIMES = "event_timestamp timestamp, available_timestamp timestamp, sequence bigint"
STEP = 1_000_000
START = 1_738_000_000 * STEP


def key_schema(keys: tuple[str, ...]) -> str:
    return ", ".join(column for column in KEYS.split(", ") if column.split()[0] in keys)


@dataclass(frozen=True)
class Case:
    """A view for both sides: spans in steps of a second."""

    name: str
    keys: tuple[str, ...]
    boundary: Any
    rows: Rows
    ttl: int | None = None
    offset: int = 0

    def view(self, spark: SparkSession) -> AsOfView:
        return AsOfView(
            name=self.name,
            frame=frame_of(spark, self.rows, f"{key_schema(self.keys)}, {TIMES}, value double, count int"),
            keys=self.keys,
            columns={f"{self.name}__value": "value", f"{self.name}__count": "count"},
            boundary=self.boundary,
            ttl=None if self.ttl is None else timedelta(seconds=self.ttl),
            offset=timedelta(seconds=self.offset),
        )

    def expected(self, spine: Rows) -> Rows:
        chosen = as_of(
            spine,
            self.rows,
            keys=self.keys,
            boundary=self.boundary,
            ttl=None if self.ttl is None else self.ttl * STEP,
            offset=self.offset * STEP,
            features=("value", "count"),
        )
        return [{f"{self.name}__{c}": plain(row[c]) if row else None for c in ("value", "count")} for row in chosen]


def random_keys(rng: random.Random, keys: tuple[str, ...]) -> dict[str, Any]:
    drawn = {
        "lot_id": rng.choice(["L1", "L1", "L2", "L2", "L2", None]),
        "wafer_id": rng.choice(["W1", "W2", "W2", "W2", None]),
        "die_x": rng.choice([1, 11, 11, 11, 11, None]),
        "die_y": rng.choice([1, 1, 11, 11, 11, None]),
    }
    return {key: drawn[key] for key in keys}


def random_history(rng: random.Random, keys: tuple[str, ...], n: int, *, static: float = 0.0) -> Rows:
    """Rows with equal times, late and missing availability, null keys and null features, a share of them static."""
    rows: Rows = []
    for _ in range(n):
        is_static = rng.random() < static if 0 < static < 1 else bool(static)
        event = START + rng.randrange(12) * STEP
        late = rng.choice([0, 0, 0, 1, 4, -2]) * STEP
        rows.append(
            {
                **random_keys(rng, keys),
                "event_timestamp": None if is_static else event,
                "available_timestamp": None if is_static or rng.random() < 0.05 else event + late,
                "sequence": 0 if is_static else rng.randrange(3),
                "value": rng.choice([None, float("nan"), 0.5, 1.5, 2.5]),
                "count": rng.choice([None, 1, 2]),
            }
        )
    return rows


def random_spine(rng: random.Random, n: int) -> Rows:
    rows = [
        {
            **random_keys(rng, DIE),
            "event_timestamp": None if rng.random() < 0.05 else START + rng.randrange(-1, 16) * STEP,
            "label": rng.random(),
        }
        for _ in range(n)
    ]
    rows += [dict(row) for row in rng.sample(rows, n // 4)]
    return [{"row": number, **row} for number, row in enumerate(rows)]


SPINE = f"row int, label double, {KEYS}, event_timestamp timestamp"


def random_cases(rng: random.Random) -> list[Case]:
    return [
        Case("lot_ttl", LOT, "strictly_before", random_history(rng, LOT, 15), ttl=3),
        Case("lot_offset", LOT, "at_or_before", random_history(rng, LOT, 15), offset=4),
        Case("wafer_at", WAFER, "at_or_before", random_history(rng, WAFER, 30)),
        Case("wafer_both", WAFER, "strictly_before", random_history(rng, WAFER, 30), ttl=2, offset=3),
        Case("die_ttl", DIE, "at_or_before", random_history(rng, DIE, 150), ttl=2),
        Case("die_before", DIE, "strictly_before", random_history(rng, DIE, 150)),
        Case("die_static", DIE, "at_or_before", random_history(rng, DIE, 40, static=1)),
        Case("wafer_mixed", WAFER, "at_or_before", random_history(rng, WAFER, 30, static=0.3), ttl=2, offset=1),
        Case("die_mixed", DIE, "strictly_before", random_history(rng, DIE, 150, static=0.3), ttl=2),
        Case("die_mixed_ttl_0", DIE, "at_or_before", random_history(rng, DIE, 150, static=0.5), ttl=0),
        Case("die_empty", DIE, "strictly_before", []),
    ]


def joined_rows(spark: SparkSession, spine: Rows, cases: list[Case], *, partitions: int = 2) -> Rows:
    frame = frame_of(spark, spine, SPINE).repartition(partitions)
    return sorted(rows_of(as_of_join(frame, [case.view(spark) for case in cases])), key=lambda row: row["row"])


def expected_rows(spine: Rows, cases: list[Case]) -> Rows:
    order = [column.split()[0] for column in SPINE.split(", ")]
    expected = [{name: row[name] for name in order} for row in spine]
    for case in cases:
        for row, features in zip(expected, case.expected(spine), strict=True):
            row.update(features)
    return expected


@pytest.mark.parametrize(("partitions", "seed"), [(1, 1), (2, 2), (7, 1), (7, 3)])
def test_equals_the_oracle(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, partitions: int, seed: int) -> None:
    """Also where the views of a shape share a column, as many of them do."""
    monkeypatch.setattr(as_of_row, "FEW", 8 if seed == 1 else 1)
    rng = random.Random(seed)
    cases, spine = random_cases(rng), random_spine(rng, 80)
    expected = expected_rows(spine, cases)
    for case in cases:  # the history is dense enough to mean something
        hits = sum(row[f"{case.name}__count"] is not None for row in expected)
        assert hits > 5 if case.rows else hits == 0
    rng.shuffle(spine)
    shuffled = [replace(case, rows=rng.sample(case.rows, len(case.rows))) for case in cases]
    rng.shuffle(shuffled)
    changed = {"spark.sql.shuffle.partitions": str(partitions), "spark.sql.adaptive.enabled": "true"}
    with settings(spark, changed):
        actual = joined_rows(spark, spine, shuffled, partitions=partitions)
    order = list(expected[0])
    assert [{name: row[name] for name in order} for row in actual] == expected


def test_equals_the_oracle_without_adaptive_execution(spark: SparkSession) -> None:
    rng = random.Random(3)
    cases, spine = random_cases(rng), random_spine(rng, 60)
    with settings(spark, {"spark.sql.adaptive.enabled": "false"}):
        actual = joined_rows(spark, spine, cases)
    assert actual == expected_rows(spine, cases)


def test_two_chains_of_keys(spark: SparkSession) -> None:
    """Keys that are not nested: by lot and wafer, and by place on any wafer of any lot."""
    rng = random.Random(4)
    place = ("die_x", "die_y")
    cases = [
        Case("wafer", WAFER, "strictly_before", random_history(rng, WAFER, 30)),
        Case("place", place, "at_or_before", random_history(rng, place, 30), ttl=3),
    ]
    spine = random_spine(rng, 40)
    assert joined_rows(spark, spine, cases) == expected_rows(spine, cases)


def test_each_chain_of_keys_is_one_shuffle(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(4)
    views = []
    for number, keys in enumerate([WAFER, ("die_x", "die_y"), LOT, ("die_x",)]):
        rows = frame_of(spark, random_history(rng, keys, 3), f"{key_schema(keys)}, {TIMES}, value double")
        views.append(AsOfView(f"v{number}", rows, keys, {f"f{number}": "value"}))
    plan = explained(as_of_join(frame_of(spark, random_spine(rng, 4), SPINE), views), capsys)
    assert plan.count("Exchange hashpartitioning") == plan.count("Exchange") == 2


@pytest.mark.parametrize(("chosen", "counted"), [("7", ", 7), REPARTITION_BY_NUM"), ("200", "REPARTITION_BY_COL")])
def test_a_number_of_partitions_that_was_chosen_is_kept(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], chosen: str, counted: str
) -> None:
    rng = random.Random(4)
    rows = frame_of(spark, random_history(rng, LOT, 3), f"{key_schema(LOT)}, {TIMES}, value double")
    with settings(spark, {"spark.sql.shuffle.partitions": chosen}):
        joined = as_of_join(frame_of(spark, random_spine(rng, 4), SPINE), [AsOfView("v", rows, LOT, ["value"])])
        assert counted in explained(joined, capsys)


def test_columns_of_the_spine_keep_their_types_and_comments(spark: SparkSession) -> None:
    rng = random.Random(4)
    rows = frame_of(spark, random_history(rng, DIE, 3), f"{key_schema(DIE)}, {TIMES}, value double")
    spine = frame_of(spark, random_spine(rng, 4), SPINE)
    for name in spine.columns:
        spine = spine.withMetadata(name, {"comment": f"about {name}"})
    joined = as_of_join(spine, [AsOfView("v", rows, DIE, ["value"])])
    kept = [(f.name, f.dataType, f.metadata) for f in joined.schema.fields[: len(spine.columns)]]
    assert kept == [(f.name, f.dataType, f.metadata) for f in spine.schema.fields]


def test_an_empty_spine_gives_no_row_and_all_columns(spark: SparkSession) -> None:
    case = random_cases(random.Random(5))[4]
    joined = as_of_join(frame_of(spark, [], SPINE), [case.view(spark)])
    assert rows_of(joined) == []
    assert joined.columns == [*(c.split()[0] for c in SPINE.split(", ")), "die_ttl__value", "die_ttl__count"]


# By hand. Times are seconds after START.


def at(seconds: float) -> int:
    return START + round(seconds * STEP)


def die(x: int | None = 1, y: int | None = 1, *, lot: str | None = "L1", wafer: str | None = "W1") -> dict[str, Any]:
    return {"lot_id": lot, "wafer_id": wafer, "die_x": x, "die_y": y}


def row(event: float, value: float | None, *, late: float = 0, sequence: int = 0, **more: Any) -> dict[str, Any]:
    times = {"event_timestamp": at(event), "available_timestamp": at(event + late), "sequence": sequence}
    return {**die(), **times, "value": value, **more}


def view_of(spark: SparkSession, rows: Rows, **options: Any) -> AsOfView:
    frame = frame_of(spark, rows, f"{KEYS}, {TIMES}, value double, other double")
    return AsOfView(**{"name": "view", "frame": frame, "keys": DIE, "columns": {"value": "value"}, **options})


def spine_of(spark: SparkSession, times: list[float], **keys: Any) -> DataFrame:
    rows = [{"row": i, **die(), **keys, "event_timestamp": at(time)} for i, time in enumerate(times)]
    return frame_of(spark, rows, f"row int, {KEYS}, event_timestamp timestamp")


def values(joined: DataFrame, *columns: str) -> list[Any]:
    rows = sorted(rows_of(joined), key=lambda row: row["row"])
    return [row[columns[0]] if len(columns) == 1 else tuple(row[c] for c in columns) for row in rows]


def test_boundary_ttl_and_offset_to_the_microsecond(spark: SparkSession) -> None:
    micro = 1 / STEP
    history = [row(10, 1.0), row(20, 2.0)]
    times = [10 - micro, 10, 10 + micro, 13, 13 + micro, 20, 20 + micro]
    three = timedelta(seconds=3)
    views = [
        view_of(spark, history, name="before", columns={"before": "value"}),
        view_of(spark, history, name="at", columns={"at": "value"}, boundary="at_or_before"),
        view_of(spark, history, name="ttl", columns={"ttl": "value"}, boundary="at_or_before", ttl=three),
        view_of(spark, history, name="offset", columns={"offset": "value"}, boundary="at_or_before", offset=three),
        view_of(spark, history, name="offset_before", columns={"offset_before": "value"}, offset=three),
    ]
    joined = as_of_join(spine_of(spark, times), views)
    expected: list[dict[str, object]] = [
        {"row": 0, "before": None, "at": None, "ttl": None, "offset": None, "offset_before": None},
        {"row": 1, "before": None, "at": 1.0, "ttl": 1.0, "offset": None, "offset_before": None},
        {"row": 2, "before": 1.0, "at": 1.0, "ttl": 1.0, "offset": None, "offset_before": None},
        {"row": 3, "before": 1.0, "at": 1.0, "ttl": 1.0, "offset": 1.0, "offset_before": None},
        {"row": 4, "before": 1.0, "at": 1.0, "ttl": None, "offset": 1.0, "offset_before": 1.0},
        {"row": 5, "before": 1.0, "at": 2.0, "ttl": 2.0, "offset": 1.0, "offset_before": 1.0},
        {"row": 6, "before": 2.0, "at": 2.0, "ttl": 2.0, "offset": 1.0, "offset_before": 1.0},
    ]
    schema = "row int, before double, at double, ttl double, offset double, offset_before double"
    assert_frames_close(
        joined.select("row", "before", "at", "ttl", "offset", "offset_before"),
        frame_of(spark, expected, schema),
        keys=["row"],
    )


def test_late_rows_are_not_seen_early_and_do_not_replace_newer_ones(spark: SparkSession) -> None:
    history = [row(10, 1.0, late=20), row(12, 2.0)]
    joined = as_of_join(spine_of(spark, [11, 13, 31]), [view_of(spark, history)])
    assert values(joined, "value") == [None, 2.0, 2.0]


def test_a_row_that_is_never_available_is_never_seen(spark: SparkSession) -> None:
    history = [{**row(10, 1.0), "available_timestamp": None}]
    assert values(as_of_join(spine_of(spark, [11, 99]), [view_of(spark, history)]), "value") == [None, None]


def test_a_static_view_is_joined_by_key_alone(spark: SparkSession) -> None:
    """Whatever its boundary, and also where the spine has no time."""
    history = [{**row(0, 7.0), "event_timestamp": None, "available_timestamp": None}]
    options: dict[str, Any] = {"ttl": timedelta(1), "offset": timedelta(1)}
    spine = frame_of(
        spark,
        [{"row": 0, **die(), "event_timestamp": at(-(10**9))}, {"row": 1, **die(), "event_timestamp": None}],
        f"row int, {KEYS}, event_timestamp timestamp",
    )
    views = [
        view_of(spark, history, name="at", columns={"at": "value"}, boundary="at_or_before", **options),
        view_of(spark, history, name="before", columns={"before": "value"}, boundary="strictly_before", **options),
    ]
    assert values(as_of_join(spine, views), "at", "before") == [(7.0, 7.0), (7.0, 7.0)]


@pytest.mark.parametrize("boundary", ["at_or_before", "strictly_before"])
def test_a_static_row_stands_in_where_no_dated_row_is_usable(spark: SparkSession, boundary: Any) -> None:
    """Before the first dated row, past the time to live of the last, and where that was known too late."""
    always = {**row(0, 7.0), "event_timestamp": None, "available_timestamp": None}
    history = [row(10, 1.0), row(20, 2.0, late=4), always, {**always, "value": 5.0}]
    view = view_of(spark, history, boundary=boundary, ttl=timedelta(seconds=3), event_as="at", age_as="age_s")
    joined = as_of_join(spine_of(spark, [9, 11, 14, 22, 24.5]), [view])
    assert values(joined, "value", "age_s") == [(7.0, None), (1.0, 1.0), (7.0, None), (7.0, None), (7.0, None)]
    endless = as_of_join(spine_of(spark, [9, 14, 22, 25]), [view_of(spark, history, boundary=boundary)])
    assert values(endless, "value") == [7.0, 1.0, 1.0, 2.0]


def test_values_of_two_rows_never_mix(spark: SparkSession) -> None:
    history = [row(10, 1.0, other=5.0), row(11, None, other=6.0), row(12, 3.0, other=None)]
    view = view_of(spark, history, columns={"value": "value", "other": "other"})
    joined = as_of_join(spine_of(spark, [10.5, 11.5, 12.5]), [view])
    assert values(joined, "value", "other") == [(1.0, 5.0), (None, 6.0), (3.0, None)]


def test_composite_keys_never_collide(spark: SparkSession) -> None:
    history = [{**row(1, 111.0), **die(1, 11)}, {**row(2, 1111.0), **die(11, 1)}, {**row(3, 5.0), **die(111, None)}]
    keys = [die(1, 11), die(11, 1), die(1, 1), die(111, None), die(1, 11, lot="L11", wafer="W"), die(11, 11, lot="L")]
    spine = frame_of(
        spark,
        [{"row": i, **key, "event_timestamp": at(9)} for i, key in enumerate(keys)],
        f"row int, {KEYS}, event_timestamp timestamp",
    )
    assert values(as_of_join(spine, [view_of(spark, history)]), "value") == [111.0, 1111.0, None, None, None, None]


def test_one_row_out_per_spine_row_with_its_columns_untouched(spark: SparkSession) -> None:
    """Duplicates, ties in the view, odd names and nested columns."""
    history = [row(5, 1.0, sequence=s % 2) for s in range(6)]
    spine = (
        spine_of(spark, [9, 9, 9, 1])
        .unionByName(spine_of(spark, [9]))
        .withColumn("a.b", F.lit("dot"))
        .withColumn("with blank", F.array(F.lit(-0.0), F.lit(None), F.lit(float("nan"))))
        .withColumn("nested", F.struct(F.lit(1).alias("value"), F.lit("x").alias("event_timestamp")))
        .withColumn("__view_0", F.lit(3))
    )
    joined = as_of_join(spine, [view_of(spark, history)])
    assert joined.columns == [*spine.columns, "value"]
    assert joined.dtypes[:-1] == spine.dtypes
    before = sorted(map(repr, rows_of(spine)))
    assert sorted(map(repr, rows_of(joined.drop("value")))) == before
    assert len(before) == 5


@pytest.mark.parametrize(("ours", "theirs"), [("bigint", "int"), ("int", "bigint")])
def test_integer_keys_of_other_widths_match_without_loss(spark: SparkSession, ours: str, theirs: str) -> None:
    big = 2**32 + 1 if ours == "bigint" else 1  # as an int this would be 1
    spine = frame_of(
        spark,
        [{"row": 0, **die(), "event_timestamp": at(9)}, {"row": 1, **die(big), "event_timestamp": at(9)}],
        f"row int, lot_id string, wafer_id string, die_x {ours}, die_y {ours}, event_timestamp timestamp",
    )
    schema = f"lot_id string, wafer_id string, die_x {theirs}, die_y {theirs}, {TIMES}, value double"
    view = view_of(spark, [], frame=frame_of(spark, [row(1, 4.0)], schema))
    joined = as_of_join(spine, [view])
    assert values(joined, "value") == [4.0, None if ours == "bigint" else 4.0]
    assert joined.dtypes[:-1] == spine.dtypes


def test_the_session_zone_does_not_matter(spark: SparkSession) -> None:
    """Two days that span the change to summer time are 48 hours, not 47 hours of local time."""
    change = 1_743_296_400 * STEP  # 2025-03-30 01:00 UTC, 02:00 -> 03:00 in Berlin
    hour, day = 3600 * STEP, timedelta(days=2)
    history = [{**row(0, 1.0), "event_timestamp": change - hour, "available_timestamp": change - hour}]
    at_two_days = change + 47 * hour
    times = [at_two_days - 1, at_two_days, at_two_days + 1, at_two_days - hour, at_two_days + hour]
    spine_rows = [{"row": i, **die(), "event_timestamp": time} for i, time in enumerate(times)]
    found = []
    for zone in ("UTC", "Europe/Berlin"):
        with settings(spark, {"spark.sql.session.timeZone": zone}):
            spine = frame_of(spark, spine_rows, f"row int, {KEYS}, event_timestamp timestamp")
            views = [
                view_of(spark, history, name="ttl", columns={"ttl": "value"}, ttl=day),
                view_of(spark, history, name="ago", columns={"ago": "value"}, offset=day, boundary="at_or_before"),
            ]
            joined = as_of_join(spine, views)
            found.append(values(joined, "ttl", "ago", "event_timestamp"))
    assert [row[:2] for row in found[0]] == [(1.0, None), (1.0, 1.0), (None, 1.0), (1.0, None), (None, 1.0)]
    assert found[1] == found[0]


def test_the_same_view_twice_with_another_offset(spark: SparkSession) -> None:
    history = [row(10, 1.0), row(20, 2.0)]
    views = [
        view_of(spark, history),
        view_of(spark, history, columns={"before": "value"}, offset=timedelta(seconds=10)),
    ]
    assert values(as_of_join(spine_of(spark, [15, 25, 35]), views), "value", "before") == [
        (1.0, None),
        (2.0, 1.0),
        (2.0, 2.0),
    ]


# What is refused.


def refused(spine: DataFrame, view: AsOfView, **options: Any) -> str:
    with pytest.raises(SchemaError) as fault:
        as_of_join(spine, [view], **options)
    return str(fault.value)


def test_keys_of_another_type_are_refused(spark: SparkSession) -> None:
    spine = spine_of(spark, [1]).withColumn("die_x", F.col("die_x").cast("string"))
    assert "key 'die_x' is string in the spine and int in view view" in refused(spine, view_of(spark, []))


def test_times_without_a_zone_are_refused_with_a_hint(spark: SparkSession) -> None:
    naive = spine_of(spark, [1]).withColumn("event_timestamp", F.col("event_timestamp").cast("timestamp_ntz"))
    text = refused(naive, view_of(spark, []))
    assert "'event_timestamp' is a timestamp without a zone" in text
    assert "Hint:" in text
    dated = spine_of(spark, [1]).withColumn("event_timestamp", F.lit("2025-01-01"))
    assert "is string. Hint: cast it" in refused(dated, view_of(spark, []))
    view = view_of(spark, [])
    naive_view = view.frame.withColumn("available_timestamp", F.col("available_timestamp").cast("timestamp_ntz"))
    text = refused(spine_of(spark, [1]), replace(view, frame=naive_view))
    assert "view view: 'available_timestamp' is a timestamp without a zone" in text


def test_a_column_that_is_there_twice_is_refused_with_a_prefix(spark: SparkSession) -> None:
    spine = spine_of(spark, [1]).withColumn("value", F.lit(1))
    text = refused(spine, view_of(spark, []))
    assert "column 'value' of view view is also in the spine" in text
    assert "Hint: ask for it with a prefix, for example view__value" in text
    with pytest.raises(SchemaError, match="of view second is also in view first"):
        as_of_join(spine_of(spark, [1]), [view_of(spark, [], name="first"), view_of(spark, [], name="second")])
    upper = spine_of(spark, [1]).withColumn("VALUE", F.lit(1))  # one column to Spark and to Delta
    assert "column 'value' of view view is also in the spine" in refused(upper, view_of(spark, []))


def test_missing_columns_are_listed_together(spark: SparkSession) -> None:
    view = view_of(spark, [], columns={"value": "value", "vdd": "vdd"})
    text = refused(spine_of(spark, [1]).drop("lot_id", "die_y"), view, timestamp="labeled_at")
    for fault in ("lacks the key 'lot_id'", "lacks the key 'die_y'", "time column 'labeled_at'", "the column 'vdd'"):
        assert fault in text
    text = refused(spine_of(spark, [1]), replace(view_of(spark, []), frame=view.frame.drop("wafer_id", "sequence")))
    assert "view view lacks the key 'wafer_id'" in text
    assert "view view lacks the column 'sequence'" in text


def test_another_time_column(spark: SparkSession) -> None:
    spine = spine_of(spark, [15, 25]).withColumnRenamed("event_timestamp", "labeled at")
    joined = as_of_join(spine, [view_of(spark, [row(10, 1.0), row(20, 2.0)])], timestamp="labeled at")
    assert values(joined, "value") == [1.0, 2.0]


def test_an_offset_that_looks_ahead_is_a_leak(spark: SparkSession) -> None:
    with pytest.raises(LeakageError, match="Hint"):
        as_of_join(spine_of(spark, [1]), [view_of(spark, [], offset=timedelta(microseconds=-1))])


def test_no_view_is_refused(spark: SparkSession) -> None:
    with pytest.raises(RequestError, match="Hint"):
        as_of_join(spine_of(spark, [1]), [])


# The plan.


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_one_shuffle_of_all_rows_on_three_levels(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    rng = random.Random(1)
    few: dict[tuple[str, ...], DataFrame] = {
        keys: frame_of(spark, random_history(rng, keys, 3), f"{key_schema(keys)}, {TIMES}, value double")
        for keys in (LOT, WAFER, DIE)
    }
    levels = [DIE, LOT, WAFER, DIE, LOT, WAFER, DIE, DIE][:count]
    views = [AsOfView(f"v{k}", few[keys], keys, {f"f{k}": "value"}) for k, keys in enumerate(levels)]
    plan = explained(as_of_join(frame_of(spark, random_spine(rng, 4), SPINE), views), capsys)
    assert plan.count("Exchange hashpartitioning") == plan.count("Exchange") == 1
    assert plan.count("Window [") == len(set(levels))


def test_one_shuffle_and_no_column_that_is_not_asked_for(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views = []
    for name, keys in {"lot": LOT, "lot_too": LOT, "wafer": WAFER, "die": DIE, "die_too": DIE}.items():
        path = str(tmp_path / name)
        rows = arrow_of([], f"{key_schema(keys)}, {TIMES}, wanted double, unwanted double, unasked string")
        if name == "die":
            spark.createDataFrame(rows).write.format("delta").save(path)
        else:
            pq.write_table(rows, path)
        frame = spark.read.format("delta" if name == "die" else "parquet").load(path)
        views.append(AsOfView(name, frame, keys, {f"{name}_wanted": "wanted"}))
    pq.write_table(arrow_of([], SPINE), tmp_path / "spine")
    joined = as_of_join(spark.read.parquet(str(tmp_path / "spine")), views)
    plan = explained(joined, capsys)
    assert plan.count("Exchange hashpartitioning") == plan.count("Exchange") == 1
    plan = explained(joined, capsys, "formatted")
    assert plan.count("wanted:double") == len(views)
    assert "unwanted" not in plan
    assert "unasked" not in plan

"""Rules of the join that a caller chooses: availability, prefixes, ages, pruning, heavy keys; and any keys at all."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from fs_spark.errors import RequestError, SchemaError
from fs_spark.training.content import digest_and_seen
from fs_spark.training.statistics import heavy_keys, pruning_keys, pruning_of
from fs_spark.transforms import AsOfView, as_of_join, as_of_row
from fs_spark.transforms.as_of_view import HeavyKey, Pruning
from tests.oracles.as_of import as_of
from tests.rows import Rows, frame_of, rows_of, settings

STEP = 1_000_000
START = 1_738_000_000 * STEP
TIMES = "event_timestamp timestamp, available_timestamp timestamp, sequence bigint"
VIEW = f"customer bigint, merchant string, {TIMES}, value double"
SPINE = "row int, customer int, merchant string, event_timestamp timestamp"


def moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def purchase(
    event: int, value: float | None, *, late: int = 0, customer: Any = 1, merchant: Any = "m"
) -> dict[str, Any]:
    times = {"event_timestamp": START + event * STEP, "available_timestamp": START + (event + late) * STEP}
    return {"customer": customer, "merchant": merchant, **times, "sequence": 0, "value": value}


def asked(spark: SparkSession, *times: int, customer: Any = 1, merchant: Any = "m") -> DataFrame:
    rows = [
        {"row": i, "customer": customer, "merchant": merchant, "event_timestamp": START + time * STEP}
        for i, time in enumerate(times)
    ]
    return frame_of(spark, rows, SPINE)


def view_of(spark: SparkSession, rows: Rows, **options: Any) -> AsOfView:
    given = {"name": "v", "frame": frame_of(spark, rows, VIEW), "keys": ("customer", "merchant"), "columns": ["value"]}
    return AsOfView(**{**given, **options})


def column(joined: DataFrame, *names: str) -> list[Any]:
    rows = sorted(rows_of(joined), key=lambda row: row["row"])
    return [row[names[0]] if len(names) == 1 else tuple(row[n] for n in names) for row in rows]


def test_availability_is_switched_off_by_name(spark: SparkSession) -> None:
    rows = [purchase(10, 1.0, late=50)]
    respected, ignored = view_of(spark, rows), view_of(spark, rows, available_timestamp=None, prefix="early_")
    joined = as_of_join(asked(spark, 20, 70), [respected, ignored])
    assert column(joined, "value", "early_value") == [(None, 1.0), (1.0, 1.0)]


def test_rows_created_later_than_the_spine_time_are_not_seen(spark: SparkSession) -> None:
    """A correction that was written afterwards with an old event time: Feast's created column only breaks ties."""
    rows = [purchase(10, 1.0), purchase(11, 99.0, late=100)]
    assert column(as_of_join(asked(spark, 20), [view_of(spark, rows)]), "value") == [1.0]


def test_frames_without_a_sequence_or_with_other_time_columns(spark: SparkSession) -> None:
    frame = frame_of(spark, [purchase(10, 1.0), purchase(12, 2.0)], VIEW).drop("sequence", "available_timestamp")
    view = AsOfView(
        "v", frame.withColumnRenamed("event_timestamp", "bought_at"), ("customer", "merchant"), ["value"],
        event_timestamp="bought_at", available_timestamp=None, sequence=None,
    )  # fmt: skip
    assert column(as_of_join(asked(spark, 11, 13), [view]), "value") == [1.0, 2.0]


def test_event_time_and_age_of_the_chosen_row(spark: SparkSession) -> None:
    """The age counts from the spine's time, also with an offset."""
    view = view_of(spark, [purchase(10, None)], offset=timedelta(seconds=2), event_as="v_at", age_as="v_age_s")
    joined = as_of_join(asked(spark, 11, 15), [view])
    assert joined.columns == ["row", "customer", "merchant", "event_timestamp", "value", "v_at", "v_age_s"]
    assert column(joined, "v_at", "v_age_s") == [(None, None), (START + 10 * STEP, 5.0)]


def test_the_ttl_counts_from_the_time_after_the_offset(spark: SparkSession) -> None:
    view = view_of(spark, [purchase(10, 1.0)], offset=timedelta(seconds=5), ttl=timedelta(seconds=3))
    assert column(as_of_join(asked(spark, 16, 18, 19), [view]), "value") == [1.0, 1.0, None]


def test_a_prefix_resolves_a_collision(spark: SparkSession) -> None:
    views = [view_of(spark, [purchase(1, 1.0)]), view_of(spark, [purchase(1, 2.0)], name="w", offset=timedelta(0))]
    with pytest.raises(SchemaError, match=r"is also in view v\. Hint: ask for it with a prefix, for example w__value"):
        as_of_join(asked(spark, 5), views)
    prefixed = [views[0], view_of(spark, [purchase(1, 2.0)], name="w", prefix="w__")]
    assert column(as_of_join(asked(spark, 5), prefixed), "value", "w__value") == [(1.0, 2.0)]


@pytest.mark.parametrize("name", ["event_timestamp", "available_timestamp", "sequence", "Event_Timestamp"])
def test_an_output_may_be_called_like_a_time_of_its_view(spark: SparkSession, name: str) -> None:
    """Names of outputs have no part in the choice of the row: the later sequence wins, though its value is less."""
    spine = asked(spark, 9).withColumnRenamed("event_timestamp", "asked_at")
    frame = frame_of(spark, [{**purchase(3, 1.0), "sequence": 1}, purchase(3, 7.0)], VIEW)
    view = AsOfView("v", frame, ("customer", "merchant"), {name: "value"}, ttl=timedelta(seconds=20), age_as="age")
    assert column(as_of_join(spine, [view], timestamp="asked_at"), name, "age") == [(1.0, 6.0)]


@pytest.mark.parametrize("name", ["__at", "__view_0", "__hash", "__event", "__EVENT", "__View_0", "__Key_customer"])
def test_an_output_with_a_reserved_name_is_refused_in_any_case(spark: SparkSession, name: str) -> None:
    with pytest.raises(SchemaError, match=f"'{name}' is reserved. Hint: rename it"):
        as_of_join(asked(spark, 5), [view_of(spark, [], columns={name: "value"})])


def test_a_view_without_keys_or_columns_is_refused(spark: SparkSession) -> None:
    with pytest.raises(SchemaError, match=r"view v has no key[\s\S]*no column is asked for"):
        as_of_join(asked(spark, 5), [view_of(spark, [], keys=(), columns=[])])


def test_pruning_leaves_out_only_what_nobody_may_see(spark: SparkSession) -> None:
    rows = [purchase(t, float(t), late=t % 3, customer=c) for t in range(0, 40, 2) for c in (1, 2)]
    spine = asked(spark, 12, 20, 27)
    views = [
        view_of(spark, rows, ttl=timedelta(seconds=4), offset=timedelta(seconds=1)),
        view_of(spark, rows, name="w", prefix="w__", boundary="at_or_before"),
    ]
    known = Pruning({"customer": [1]}, moment(START + 12 * STEP), moment(START + 27 * STEP))
    assert rows_of(as_of_join(spine, views, pruning=known)) == rows_of(as_of_join(spine, views))
    wrong = Pruning({"customer": [2]})
    assert column(as_of_join(spine, views, pruning=wrong), "value") == [None] * 3


def test_pruning_reaches_the_files(spark: SparkSession, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    frame_of(spark, [purchase(1, 1.0)], VIEW).write.parquet(str(tmp_path / "v"))
    view = view_of(spark, [], frame=spark.read.parquet(str(tmp_path / "v")), ttl=timedelta(1))
    known = Pruning({"customer": [1, 2]}, moment(START), moment(START + STEP))
    capsys.readouterr()
    with settings(spark, {"spark.sql.maxMetadataStringLength": "1000"}):
        as_of_join(asked(spark, 5), [view], pruning=known).explain()
    pushed = capsys.readouterr().out.split("PushedFilters: ")[1]
    assert "In(customer, [1,2])" in pushed
    assert "LessThanOrEqual(event_timestamp" in pushed
    assert "GreaterThanOrEqual(event_timestamp" in pushed


def history(rng: random.Random, rows: int) -> tuple[Rows, Rows]:
    """One customer has most rows; times, availabilities and boundaries tie."""

    def customer() -> Any:
        return rng.choice([1, 1, 1, 1, 1, 2, None])

    view = [
        {
            **purchase(rng.randrange(30), rng.choice([None, 1.0, 2.0]), late=rng.choice([0, 0, 1, 9])),
            "customer": customer(),
            "merchant": rng.choice(["m", "n"]),
            "sequence": rng.randrange(2),
        }
        for _ in range(rows)
    ]
    for row in rng.sample(view, rows // 10):
        row |= {"event_timestamp": None, "available_timestamp": None}  # static
    spine = [
        {
            "row": i,
            "customer": customer(),
            "merchant": rng.choice(["m", "n", None]),
            "event_timestamp": START + t * STEP,
        }
        for i, t in enumerate(rng.choices(range(-1, 45), k=rows))
    ]
    return view, spine


@pytest.mark.parametrize("seed", [1, 2])
def test_a_heavy_key_cut_by_time_gives_the_plain_rows(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(as_of_row, "FEW", seed)  # two views share a column, or do not
    rng = random.Random(seed)
    rows, spine_rows = history(rng, 120)
    spine = frame_of(spark, spine_rows, SPINE)
    options: dict[str, Any] = {"ttl": timedelta(seconds=8), "offset": timedelta(seconds=2), "boundary": "at_or_before"}
    views = [
        view_of(spark, rows, keys=("customer",), prefix="c_"),
        view_of(spark, rows, keys=("merchant", "customer"), prefix="m_", event_as="m_at"),
        view_of(spark, rows, name="w", **options),
    ]
    cuts = tuple(moment(START + t * STEP) for t in (5, 11, 11 + 6, 29))
    plain = rows_of(as_of_join(spine, views))
    cut = rows_of(as_of_join(spine, views, heavy=[HeavyKey({"customer": 1}, cuts)]))
    assert sorted(map(str, cut)) == sorted(map(str, plain))
    assert sum(row["c_value"] is not None for row in plain) > 20


def test_heavy_keys_and_pruning_are_found_from_the_inputs(spark: SparkSession) -> None:
    """What the store fills in: the one customer with most rows is cut, and nothing of the result changes."""
    rows, spine_rows = history(random.Random(3), 150)
    spine = frame_of(spark, spine_rows, SPINE)
    views = [view_of(spark, rows, keys=("customer",)), view_of(spark, rows, prefix="m_", ttl=timedelta(seconds=9))]
    heavy = heavy_keys(spine, views, "event_timestamp", len(spine_rows), rows=60)
    assert [dict(one.values) for one in heavy] == [{"customer": 1}]
    assert len(heavy[0].cuts) > 1
    assert heavy_keys(spine, views, "event_timestamp", len(spine_rows)) == []
    keys = pruning_keys([view.keys for view in views])
    known = pruning_of(digest_and_seen(spine, time="event_timestamp", keys=keys)[2])
    times = [row["event_timestamp"] for row in spine_rows]
    assert known == Pruning({"customer": [1, 2]}, moment(min(times)), moment(max(times)))
    found = rows_of(as_of_join(spine, views, pruning=known, heavy=heavy))
    assert sorted(map(str, found)) == sorted(map(str, rows_of(as_of_join(spine, views))))


def test_a_heavy_key_of_no_view_is_refused(spark: SparkSession) -> None:
    with pytest.raises(RequestError, match="is of no view"):
        as_of_join(asked(spark, 1), [view_of(spark, [])], heavy=[HeavyKey({"customer": 1}, ())])


rows_of_views = st.lists(
    st.builds(
        lambda event, late, customer, merchant, sequence, value: {
            **purchase(event, value, late=late, customer=customer, merchant=merchant), "sequence": sequence
        },
        st.integers(0, 6), st.sampled_from([0, 0, 1, 3, -1]), st.sampled_from([1, 11, None]),
        st.sampled_from(["1", "11", None]), st.integers(0, 1), st.sampled_from([None, 1.0, float("nan")]),
    ),
    max_size=25,
)  # fmt: skip
spine_rows_of = st.lists(
    st.tuples(st.integers(-1, 9), st.sampled_from([1, 11, None]), st.sampled_from(["1", "11", None])), max_size=20
)


@hypothesis_settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=rows_of_views,
    asked_rows=spine_rows_of,
    boundary=st.sampled_from(["at_or_before", "strictly_before"]),
    ttl=st.sampled_from([None, 0, 2]),
    offset=st.sampled_from([0, 1]),
)
def test_equals_the_oracle_on_any_history(
    spark: SparkSession, rows: Rows, asked_rows: list[Any], boundary: Any, ttl: int | None, offset: int
) -> None:
    """Ties on every time, late and early availability, null keys and features, empty views and spines."""
    spine = [
        {"row": i, "customer": c, "merchant": m, "event_timestamp": START + t * STEP}
        for i, (t, c, m) in enumerate(asked_rows)
    ]
    keys = ("customer", "merchant")
    chosen = as_of(
        spine, rows, keys=keys, boundary=boundary, ttl=None if ttl is None else ttl * STEP, offset=offset * STEP,
        features=("value",),
    )  # fmt: skip
    view = view_of(
        spark, rows, boundary=boundary, ttl=None if ttl is None else timedelta(seconds=ttl),
        offset=timedelta(seconds=offset), event_as="at",
    )  # fmt: skip
    joined = as_of_join(frame_of(spark, spine, SPINE), [view])
    expected = [None if row is None else row["event_timestamp"] for row in chosen]
    assert column(joined, "at") == expected
    assert str(column(joined, "value")) == str(
        [
            None if row is None or row["value"] is None else "nan" if row["value"] != row["value"] else row["value"]
            for row in chosen
        ]
    )


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Los_Angeles"])
def test_the_night_when_clocks_change(spark: SparkSession, zone: str) -> None:
    """30 hours are 30 hours, also over 2025-03-30 in Berlin and in sessions of another zone."""
    night = round(datetime(2025, 3, 30, 0, 59, 59, tzinfo=UTC).timestamp())
    rows = [{**purchase(0, 1.0), "event_timestamp": night * STEP, "available_timestamp": night * STEP}]
    spine_rows = [
        {"row": i, "customer": 1, "merchant": "m", "event_timestamp": (night + 30 * 3600) * STEP + i} for i in (0, 1)
    ]
    with settings(spark, {"spark.sql.session.timeZone": zone}):
        view = view_of(spark, rows, ttl=timedelta(hours=30))
        assert column(as_of_join(frame_of(spark, spine_rows, SPINE), [view]), "value") == [1.0, None]


def test_hashes_of_keys_decide_nothing(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all keys have one hash, each spine row still gets its own key's value."""
    from fs_spark.transforms import as_of as module

    def same(_chain: Any, _level: int) -> str:
        return f"7L AS {module._HASH}"

    monkeypatch.setattr(module._Chain, "hash", same)
    places = [(customer, merchant) for customer in (1, 2, 3) for merchant in ("m", "n")]
    history = [
        purchase(event, customer + 10.0 * (merchant == "n"), customer=customer, merchant=merchant)
        for event in range(3)
        for customer, merchant in places
    ]
    views = [view_of(spark, history), view_of(spark, history, keys=("customer",), prefix="c_")]
    for customer, merchant in [*places, (4, "m")]:
        rows = as_of_join(asked(spark, 1, 5, customer=customer, merchant=merchant), views).collect()
        own, widest = (None, None) if customer == 4 else (customer + 10.0 * (merchant == "n"), customer + 10.0)
        assert [(row["value"], row["c_value"]) for row in rows] == [(own, widest)] * 2

"""Views of a user's own function: rows at the times of those that it was given, its code checked, its class tested."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore, leaks
from fs_spark.errors import ConfigError, ReproductionError, RequestError
from fs_spark.features.kinds.function import FunctionTransform
from fs_spark.functions import load_function
from tests.stores import rows, versions
from tests.views.histories import write_parquet
from tests.views.stores import ENTITIES, SOURCES, open_views, write_conf
from tests.views.test_store import delivered

MODULE = '''
from pyspark.sql import functions as F
from pyspark.sql.window import Window

KEYS = ("customer_id", "row_id", "event_timestamp", "available_timestamp", "sequence")
CALLS = []


def _ordered(frame):
    order = [c for c in frame.columns if c.startswith("_order_")]
    return [*KEYS, *order]


def earlier(inputs, *, scale):
    """How many rows of the customer came strictly earlier and were known by then, by an exact self join."""
    moves = inputs["m"]
    CALLS.append(sorted(row[0] for row in moves.select("customer_id").distinct().collect()))
    known = lambda t: F.greatest(f"{t}.event_timestamp", f"{t}.available_timestamp")
    a, b = moves.alias("a"), moves.alias("b")
    met = (F.col("a.customer_id") == F.col("b.customer_id")) & (known("b") < known("a"))
    joined = a.join(b, met, "left").groupBy(*(F.col(f"a.{c}") for c in _ordered(moves)))
    spent = F.sum(F.col("b.amount").cast("bigint")).cast("double")
    counted = joined.agg(F.count("b.row_id").alias("before"), spent.alias("spent"))
    return counted.withColumn("before", F.col("before") * scale)


def peeking(inputs):
    moves = inputs["m"]
    all_rows = F.count(F.lit(1)).over(Window.partitionBy("customer_id"))
    return moves.select(*_ordered(moves), all_rows.alias("before"), F.lit(0.0).alias("spent"))


def chance(inputs):
    moves = inputs["m"]
    CALLS.append(sorted(row[0] for row in moves.select("customer_id").distinct().collect()))
    return moves.select(*_ordered(moves), F.lit(1).cast("bigint").alias("before"), F.rand().alias("spent"))


def beside(inputs):
    """With what another input says of the customer, whenever it was."""
    moves, activity = inputs["m"], inputs["states"]
    last = activity.groupBy("customer_id").agg(F.count(F.lit(1)).alias("before"))
    return moves.join(last, "customer_id").select(*_ordered(moves), "before", F.lit(1.0).alias("spent"))


def _plain(inputs):
    moves = inputs["m"]
    return moves.select(*_ordered(moves), F.lit(1).cast("bigint").alias("before"), F.lit(1.0).alias("spent"))


def unknown(inputs):
    """NaN for what it does not know, once for each row that it was given."""
    return _plain(inputs).withColumn("spent", F.lit(float("nan")))


def raising(inputs):
    raise KeyError("no such thing")


def other_keys(inputs):
    return _plain(inputs).withColumn("row_id", F.col("row_id") + 1_000_000)


def other_times(inputs):
    return _plain(inputs).withColumn("event_timestamp", F.col("event_timestamp") + F.expr("INTERVAL 1 SECOND"))


def twice(inputs):
    return _plain(inputs).union(_plain(inputs))


def other_types(inputs):
    return _plain(inputs).withColumn("spent", F.lit("x")).withColumn("more", F.lit(1)).drop("before")


def no_frame(inputs):
    return [1, 2]


def in_a_task(inputs):
    return _plain(inputs).withColumn("spent", F.raise_error(F.lit("no weights for this")).cast("double"))
'''
ENTITIES_ = {**ENTITIES, "move": {"keys": {"customer_id": "string", "row_id": "bigint"}}}
SOURCES_ = {**SOURCES, "visits": {k: v for k, v in SOURCES["payments"].items() if k != "order"}}
MOVES: dict[str, Any] = {
    "entity": "move", "transform": {"kind": "columns", "source": "payments"}, "features": ["amount", "kind"],
}  # fmt: skip
ACTIVITY: dict[str, Any] = {
    "entity": "customer", "transform": {"kind": "rolling", "source": "payments"},
    "features": [{"statistics": "rows", "windows": "1 d"}],
}  # fmt: skip
FEATURES = [{"name": "before", "type": "bigint", "description": "rows before"}, {"name": "spent", "type": "double"}]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def text(name: str, **more: Any) -> dict[str, Any]:
    transform = {
        "kind": "function", "function": f"own_features_of_tests:{name}", "inputs": [{"view": "moves", "as": "m"}],
        "code": sha(MODULE), "files": {"weights.txt": sha("1 2 3")}, "unit": "customer", **more,
    }  # fmt: skip
    if name == "earlier":
        transform.setdefault("parameters", {"scale": 2})
    return {"entity": "move", "transform": transform, "features": FEATURES}


BESIDE = [{"view": "moves", "as": "m"}, {"view": "activity", "as": "states"}]
TWINS = [{"view": "twins", "as": "m"}]
VIEWS: dict[str, Any] = {
    "twins": {**MOVES, "transform": {"kind": "columns", "source": "visits"}}, "unknown": text("unknown", inputs=TWINS),
    "moves": MOVES, "activity": ACTIVITY, "earlier": text("earlier"), "peeking": text("peeking"),
    "chance": text("chance", repeatable=False), "beside": text("beside", inputs=BESIDE),
}  # fmt: skip
BAD = ("raising", "other_keys", "other_times", "twice", "other_types", "no_frame", "in_a_task")


@dataclass
class World:
    store: FeatureStore
    folder: Path
    calls: list[list[str]]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("code")
    (folder / "own_features_of_tests.py").write_text(MODULE)
    (folder / "weights.txt").write_text("1 2 3")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("own_features_of_tests", None)


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, code: Path) -> World:
    folder = tmp_path_factory.mktemp("functions")
    write_conf(folder, {**VIEWS, **{name: text(name) for name in BAD}}, entities=ENTITIES_, sources=SOURCES_)
    everything = [row for row in delivered(range(6)) if row["amount"] is None or abs(row["amount"]) < 1e10]
    write_parquet(folder / "in" / "payments", "a.parquet", everything[:150])
    store = open_views(folder, spark)
    store.apply()
    store.materialize(list(VIEWS))
    from own_features_of_tests import CALLS  # type: ignore[import-not-found]

    return World(store, folder, CALLS)


def test_rows_stand_at_the_keys_and_times_that_were_given(world: World) -> None:
    moves = world.store.table("moves").toArrow().to_pylist()
    found = world.store.table("earlier").toArrow().to_pylist()
    assert len(found) == len(moves) > 60
    keys = [c for c in moves[0] if c.endswith("_id") or c.endswith("_timestamp") or c.startswith(("seq", "_order"))]
    by_key = {tuple(row[c] for c in keys): row for row in found}
    for row in moves:
        at = max(row["event_timestamp"], row["available_timestamp"])
        earlier = [
            o for o in moves if o["customer_id"] == row["customer_id"]
            and max(o["event_timestamp"], o["available_timestamp"]) < at
        ]  # fmt: skip
        amounts = [int(o["amount"]) for o in earlier if o["amount"] is not None]
        told = by_key[tuple(row[c] for c in keys)]
        assert told["before"] == 2 * len(earlier)
        assert told["spent"] == (sum(amounts) if amounts else None)
    activity = world.store.table("activity").groupBy("customer_id").count().collect()
    counts = {row[0]: row[1] for row in activity}
    assert {(r["customer_id"], r["before"]) for r in world.store.table("beside").collect()} == set(counts.items())


def test_only_changed_units_are_computed_and_incremental_equals_full(world: World, spark: SparkSession) -> None:
    store, folder = world.store, world.folder
    before = {name: rows(store.table(name)) for name in ("earlier", "chance")}
    world.calls.clear()
    assert {view.units_changed for view in store.materialize(["moves", "earlier", "chance"]).views} == {0}
    assert world.calls == []
    customers = sorted({row["customer_id"] for row in store.table("moves").select("customer_id").collect()})
    chosen = customers[0]
    late = [row for row in delivered(range(30, 32)) if row["customer_id"] is not None][:3]
    late = [{**row, "customer_id": chosen, "amount": 1.0} for row in late]
    write_parquet(folder / "in" / "payments", "b.parquet", late)
    report = store.materialize(["moves", "earlier", "chance"])
    assert [call for call in world.calls if call] == [[chosen], [chosen]]
    assert {view.view: view.units_changed for view in report.views if view.view != "moves__v1.0"} == {
        "earlier__v1.0": 1, "chance__v1.0": 1
    }  # fmt: skip
    others = {r for r in before["chance"] if f'"{chosen}"' not in r}
    assert others <= set(rows(store.table("chance")))  # of other units nothing was drawn again
    world.calls.clear()
    versions_before = versions(folder)
    full = store.materialize(["earlier", "chance"], full=True)
    assert {view.units_changed for view in full.views} == {0}
    assert versions(folder) == versions_before
    assert len(world.calls) == 1  # `chance` is not called again


def test_reproduced_from_source_where_it_is_repeatable(world: World) -> None:
    store = world.store
    spine = store.table("moves").select("customer_id", "row_id", "event_timestamp").distinct().limit(40)
    spine = spine.withColumns({"event_timestamp": F.timestamp_micros(F.unix_micros("event_timestamp") + F.lit(10**12)),
                               "label": F.col("row_id") % 2 == 0})  # fmt: skip
    built = store.training_set(spine, ["earlier:before"], name="repeatable")
    assert store.reproduce("repeatable", from_source=True).digest == built.digest
    store.training_set(spine, ["chance:spent"], name="by_chance")
    assert store.reproduce("by_chance").rows == 40
    with pytest.raises(ReproductionError, match="its function is not repeatable"):
        store.reproduce("by_chance", from_source=True)
    both = store.training_set(spine, ["earlier:spent", "peeking:before", "chance:spent"], name="all_three",
                              prefix="view")  # fmt: skip
    report = leaks.check(both, label="label", store=store)
    assert {(leak.kind, leak.view, leak.feature) for leak in report.faults if leak.kind != "label"} == {
        ("future", "peeking__v1_0", "before")
    }  # fmt: skip
    assert [one.of for one in report.not_run if one.check == "prefix"] == ["chance__v1_0"]
    assert [one.view for one in report.ran if one.check == "prefix"] == ["earlier__v1_0", "peeking__v1_0"]


FAULTS = {
    "raising": r"own_features_of_tests:raising raised KeyError: 'no such thing'",
    "other_keys": r"other_keys gave keys or times that it was not given",
    "other_times": r"other_times gave keys or times that it was not given",
    "twice": r"twice gave two rows of one key and time",
    "other_types": r"it lacks before \(bigint\); spent is string, not double; it has more, which the text does not",
    "no_frame": r"no_frame gave a list. Hint: return a Spark DataFrame",
    "in_a_task": r"a job of own_features_of_tests:in_a_task failed: .*no weights for this",
}


@pytest.mark.parametrize("function", BAD)
def test_a_function_that_gives_what_it_may_not_writes_nothing(world: World, function: str) -> None:
    with pytest.raises(RequestError, match=FAULTS[function]):
        world.store.materialize([function])
    assert world.store._tables.is_empty(f"{function}__v1_0", world.store._tables.version(f"{function}__v1_0"))


def test_code_and_files_are_checked_when_planned_and_where_they_run(
    world: World, spark: SparkSession, code: Path, tmp_path: Path
) -> None:
    plain = {"moves": MOVES, "earlier": text("earlier")}
    cases = {
        "there is no module 'no_such_module_of_tests'": text("earlier", function="no_such_module_of_tests:f"),
        "has no function 'nobody'": text("earlier", function="own_features_of_tests:nobody"),
        "own_features_of_tests.py has the SHA-256": text("earlier", code="0" * 64),
        "weights.txt has the SHA-256": text("earlier", files={"weights.txt": "0" * 64}),
        "nothing.txt cannot be read": text("earlier", files={"nothing.txt": "0" * 64}),
        "package nobody-made-this is not installed": text("earlier", code="nobody-made-this==1.0"),
        "package numpy is": text("earlier", code="numpy==0.0.1"),
    }
    for k, (words, one) in enumerate(cases.items()):
        write_conf(tmp_path / str(k), {**plain, "earlier": one}, entities=ENTITIES_)
        with pytest.raises(ConfigError, match="functions of views cannot be called") as caught:
            open_views(tmp_path / str(k), spark).apply()
        assert words in str(caught.value)
        assert not versions(tmp_path / str(k))
    try:
        (code / "weights.txt").write_text("1 2 4")
        with pytest.raises(ConfigError, match=r"weights\.txt has the SHA-256"):
            world.store.materialize(["earlier"], full=True)
        built = world.store.training_sets()["repeatable"]
        report = leaks.check(built, label="label", store=world.store)
        (told,) = [one for one in report.not_run if one.check == "prefix"]
        assert "weights.txt has the SHA-256" in told.reason
    finally:
        (code / "weights.txt").write_text("1 2 3")


def test_nan_is_null_and_rows_that_nothing_tells_apart_are_given_once(world: World) -> None:
    twins = world.store.table("twins").select("row_id", "customer_id", "event_timestamp", "available_timestamp")
    assert twins.count() > twins.distinct().count()
    found = world.store.table("unknown")
    assert found.count() == twins.distinct().count()
    assert found.where("spent IS NOT NULL").count() == 0


def test_a_module_that_changed_since_it_was_imported_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "module_of_tests_that_changes.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    for number in (1, 22):
        content = f"def f(inputs):\n    return {number}\n"
        file.write_text(content)
        given = FunctionTransform(
            function="module_of_tests_that_changes:f", code=sha(content), group=("a",), names=("m",)
        )
        assert load_function(given)({}) == number


def test_a_text_is_read_without_its_code(tmp_path: Path, spark: SparkSession) -> None:
    write_conf(
        tmp_path, {"moves": MOVES, "earlier": text("earlier", function="not.installed.here:f")}, entities=ENTITIES_
    )
    (view,) = [v for v in open_views(tmp_path, spark).config.views if v.name == "earlier"]
    assert view.kind == "function"
    bad = {
        "is no import path": text("earlier", function="just_a_name"),
        "says no code": text("earlier", code="latest"),
        "is no SHA-256": text("earlier", files={"a": "b"}),
        "has a type alone": {**text("earlier"), "features": [{"name": "before"}]},
        "has keys that move has not": text("earlier", unit="merchants"),
    }
    entities = {**ENTITIES_, "merchants": {"keys": {"merchant": "string"}}}
    for k, (words, one) in enumerate(bad.items()):
        path = write_conf(tmp_path / str(k), {"moves": MOVES, "earlier": one}, entities=entities)
        with pytest.raises(ConfigError, match=words):
            FeatureStore.open(path, spark).plan()

"""Fitted views: values equal numpy's on the same rows, are fitted once, and manifests and leak checks tell of them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore, leaks
from fs_spark.cli import main
from fs_spark.errors import ReproductionError, RequestError, TableConflictError
from fs_spark.refit import write_refit
from fs_spark.registry import Registry
from fs_spark.transforms.kinds import fitted as applied
from tests.oracles import fits
from tests.oracles.histories import START
from tests.oracles.sources import DAY
from tests.stores import rows, versions
from tests.views.histories import at, same, us, write_parquet
from tests.views.stores import VIEWS, open_views, write_conf
from tests.views.test_store import delivered

BEGIN, END = at(START), at(START + 2 * DAY)
PAID: dict[str, Any] = {
    "entity": "payment", "transform": {"kind": "columns", "source": "payments"},
    "features": ["amount", "kind", "merchant", {"name": "customer", "column": "customer_id"}],
}  # fmt: skip
SCORES: dict[str, Any] = {
    "entity": "payment",
    "transform": {"kind": "fitted", "view": "paid", "fit": {"from": BEGIN.isoformat(), "to": END.isoformat()}},
    "features": [
        {"column": "amount", "fit": ["zscore", "robust_z", "bins", "pat"], "bins": 4, "sigmas": 1.5},
        {"column": "amount", "fit": ["zscore", "pat"], "by": "kind", "name": "by_kind", "sigmas": 0.5,
         "description": "among its kind", "unit": "sigma"},
        {"column": "amount", "fit": "bins", "by": ["kind", "merchant"], "bins": 3, "name": "fine"},
        {"column": "merchant", "fit": "code", "words": 2},
        {"column": "amount", "fit": "offset", "by": ["kind", "merchant"], "against": "kind"},
        {"column": "amount", "fit": "offset", "by": "merchant", "statistic": "mean", "name": "mean"},
    ],
}  # fmt: skip
OVER: dict[str, Any] = {
    "entity": "payment", "transform": {"kind": "expressions", "view": "scores"},
    "features": {"far": "abs(amount__zscore) > 2"},
}  # fmt: skip
NAMED: dict[str, Any] = {
    "entity": "payment",
    "transform": {"kind": "fitted", "view": "paid", "fit": {"rows": {"row_id": [1, 2, 3]}}},
    "features": [{"column": "amount", "fit": "zscore", "name": "of_three"}],
}  # fmt: skip
ALL = {"activity": VIEWS["activity"], "paid": PAID, "scores": SCORES, "over": OVER, "named": NAMED}


@dataclass
class World:
    store: FeatureStore
    folder: Path
    paid: list[dict[str, Any]]
    fitted: list[dict[str, Any]]
    first: Any
    report: Any


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("fitted")
    write_conf(folder, ALL)
    write_parquet(folder / "in" / "payments", "a.parquet", delivered(range(5)))
    store = open_views(folder, spark)
    store.apply()
    with pytest.raises(RequestError, match=r"paid v1\.0, from which scores is fitted, was never materialized"):
        store.fit("scores")
    first = store.materialize()
    report = store.fit("scores")
    store.fit("named")
    store.materialize()
    paid = store.table("paid").toArrow().to_pylist()
    identity = [c for c in paid[0] if c == "row_id" or c.startswith("_order_") or c in ("event_timestamp", "sequence")]
    chosen = [row for row in fits.newest(paid, identity) if BEGIN <= row["event_timestamp"] < END]
    return World(store, folder, paid, chosen, first, report)


def test_a_view_that_is_not_fitted_is_not_written_and_says_so(world: World) -> None:
    told = {view.view: view for view in world.first.views}
    assert world.first.exit_code == 0
    assert (
        told["scores__v1.0"].waiting
        == "it is not fitted yet. Hint: run `fs-spark fit scores`, when its input has the rows"
    )
    assert told["over__v1.0"].waiting == "its input scores__v1.0 was not written"
    assert told["paid__v1.0"].waiting is None
    assert told["paid__v1.0"].units_changed > 0


def test_what_is_fitted_is_numpys_on_the_same_rows(world: World) -> None:
    view = Registry(world.store._tables).state().view("scores")
    fit = view.fit  # type: ignore[attr-defined]
    assert world.report.rows == len(world.fitted) == fit.rows > 40
    assert fit.known_us == max(max(us(r["event_timestamp"]), us(r["available_timestamp"])) for r in world.fitted)  # type: ignore[type-var]
    assert fit.sources == {"paid__v1_0": world.store.history("paid")[0].version}
    values = fits.values_of(world.fitted, "amount", (), ())
    (((_, found),),) = [v for k, v in fit.values.items() if k.startswith('["median_iqr", "amount", []')]
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    assert found == [middle, high - low]
    (((_, (mean, std)),),) = [v for k, v in fit.values.items() if k.startswith('["mean_std", "amount", []')]
    assert np.isclose(mean, np.mean(values), rtol=1e-12)
    assert np.isclose(std, np.std(values, ddof=1), rtol=1e-12)


def test_each_row_beside_what_was_fitted_equals_the_oracle(world: World) -> None:
    stored = world.store.table("scores").toArrow().to_pylist()
    keys = [c for c in stored[0] if c == "row_id" or c.startswith("_order_") or c.endswith("_timestamp")]
    found = {tuple(row[c] for c in keys): row for row in stored}
    fitted, told = world.fitted, 0
    for row in world.paid:
        values = found.get(tuple(row[c] for c in keys))
        if values is None:  # a revision that changes none of its values
            continue
        both = ("kind", "merchant")
        low, high, outside = fits.limits(fitted, row, "amount", sigmas=1.5)
        wanted = {
            "amount__zscore": fits.score(fitted, row, "amount"),
            "amount__robust_z": fits.score(fitted, row, "amount", robust=True),
            "amount__bin4": fits.bin_of(fitted, row, "amount", 4),
            "amount__pat_low": low, "amount__pat_high": high, "amount__outside_pat": outside,
            "by_kind__zscore": fits.score(fitted, row, "amount", ("kind",)),
            "fine__bin3": fits.bin_of(fitted, row, "amount", 3, both),
            "merchant__code": fits.code_of(fitted, row, "merchant", 2),
            "amount__offset": fits.offset(fitted, row, "amount", both, ("kind",)),
            "mean__offset": fits.offset(fitted, row, "amount", ("merchant",), (), np.mean),
        }  # fmt: skip
        wanted |= dict(zip(("by_kind__pat_low", "by_kind__pat_high", "by_kind__outside_pat"),
                           fits.limits(fitted, row, "amount", ("kind",), 0.5), strict=True))  # fmt: skip
        for name, value in wanted.items():
            assert same(values[name], value), (name, row, values[name], value)
        assert set(wanted) == set(world.store._state().view("scores").columns)
        told += all(value is not None for value in wanted.values())
    assert told > 100
    assert len({row["merchant__code"] for row in stored}) == 3


def test_it_is_fitted_once(world: World) -> None:
    before = versions(world.folder)
    with pytest.raises(RequestError, match=r"scores__v1\.0 is fitted already, from \d+ rows"):
        world.store.fit("scores")
    with pytest.raises(RequestError, match=r"paid__v1\.0 is of kind columns: there is nothing to fit"):
        world.store.fit("paid")
    registry = Registry(world.store._tables)
    view = registry.state().view("scores")
    fit = view.fit  # type: ignore[attr-defined]
    registry.add_fit(view, fit.digest, fit.to_json())  # another job with the same values
    with pytest.raises(TableConflictError, match="another job has fitted scores__v1"):
        registry.add_fit(view, "another digest", "{}")
    assert versions(world.folder) == before


def test_new_rows_change_no_fit_and_incremental_equals_full(world: World, spark: SparkSession, tmp_path: Path) -> None:
    write_conf(tmp_path, ALL)
    payments = tmp_path / "in" / "payments"
    everything = delivered(range(5))
    random.Random(1).shuffle(everything)
    write_parquet(payments, "a.parquet", everything[:90])
    store = open_views(tmp_path, spark)
    store.apply()
    store.materialize(["paid"])
    digest = store.fit("scores").digest
    store.materialize(["scores", "over"])
    write_parquet(payments, "b.parquet", everything[90:])
    store.materialize(["paid", "scores", "over"])
    assert store._tables.standing("scores__v1_0")[1]["fit"] == digest != world.report.digest
    stored = rows(store.table("scores"))
    before = versions(tmp_path)
    again = store.materialize(["paid", "scores", "over"], full=True)
    assert {(view.units_changed, view.units_removed) for view in again.views} == {(0, 0)}
    assert versions(tmp_path) == before
    assert len(stored) == world.store.table("scores").count()


def spine(world: World, **columns: Any) -> Any:
    asked = world.store.table("paid").select("row_id", "event_timestamp").distinct()
    later = F.timestamp_micros(F.unix_micros("event_timestamp") + F.lit(1))
    return asked.withColumns({"event_timestamp": later, "label": F.col("row_id") % 2 == 0})


def test_manifests_and_leak_checks_know_the_fit(world: World) -> None:
    store = world.store
    built = store.training_set(spine(world), ["scores:amount__zscore", "over:far"], name="fitted")
    assert {v["view"]: v["fit"] for v in built.manifest["views"]} == {"scores": world.report.digest, "over": None}
    assert store.reproduce("fitted").digest == built.digest
    assert store.reproduce("fitted", from_source=True).digest == built.digest
    found = leaks.check(built, label="label", store=store).faults
    frame = built.df.toArrow().to_pylist()
    known = world.report.known_until
    early = sum(row["event_timestamp"] < known for row in frame)
    seen = {(row["row_id"], row["event_timestamp"]) for row in world.fitted}
    usable = [row for row in frame if (row["row_id"], row["event_timestamp"] - timedelta(microseconds=1)) in seen]
    assert {(leak.view, leak.rows) for leak in found if leak.kind == "fit"} == {
        ("scores__v1_0", early), ("over__v1_0", early)
    }  # fmt: skip
    told = {leak.view: leak.rows for leak in found if leak.kind == "fitted"}
    assert set(told) == {"scores__v1_0", "over__v1_0"}
    assert 0 < told["scores__v1_0"] <= len(usable)
    skipping = store.training_set(
        spine(world), [{"feature": "scores:amount__zscore", "nulls": "skip"}], name="skipping"
    )
    kinds = {leak.kind: leak.rows for leak in leaks.check(skipping, label="label", store=store).faults}
    assert kinds["fit"] == early
    assert kinds["fitted"] == told["scores__v1_0"]
    after = spine(world).where(F.col("event_timestamp") > F.lit(known))
    assert after.count() > 40
    clean = store.training_set(after, ["scores:amount__zscore"], name="after")
    report = leaks.check(clean, label="label", store=store)
    assert not [leak for leak in report.faults if leak.kind == "fit"], report.to_text()
    assert {leak.view: leak.rows for leak in report.faults if leak.kind == "fitted"}.keys() <= {"scores__v1_0"}
    assert any(ran.check == "fit of scores__v1.0" for ran in report.ran)
    named = store.training_set(after, ["named:of_three__zscore"], name="named")
    told_named = [leak for leak in leaks.check(named, label="label", store=store).faults if leak.kind == "fitted"]
    assert all(leak.row is not None and leak.row["row_id"] in (1, 2, 3) for leak in told_named)


def test_another_fit_in_the_registry_is_noticed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store = world.store
    store.training_set(spine(world).limit(20), ["scores:amount__zscore"], name="pinned_fit")
    state = store._state()
    view = state.view("scores")
    other = view.fit.model_copy(update={"rows": 1})  # type: ignore[attr-defined]
    state.versions["scores", "1.0"] = view.with_fit(other)  # type: ignore[attr-defined]
    monkeypatch.setattr(store, "_state", lambda: state)
    with pytest.raises(ReproductionError, match="what was fitted for it is not what its rows were made with"):
        store.reproduce("pinned_fit", from_source=True)


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ({"rows": {"merchant": ["m0", "nobody"]}}, "has no row of merchant nobody"),
        ({"from": "2020-01-01T00:00Z", "to": "2020-01-02T00:00Z"}, "has no row of what its text names"),
    ],
)
def test_a_fit_without_rows_is_refused_and_nothing_is_written(
    world: World, spark: SparkSession, fit: dict[str, Any], words: str
) -> None:
    text = {"name": "nothing", "version": "1.0", **SCORES, "transform": {**SCORES["transform"], "fit": fit}}
    name = f"nothing_{len(fit)}"
    store = FeatureStore.open(world.folder / "conf" / "store.yaml", spark, views=[{**text, "name": name}])
    store.apply()
    before = versions(world.folder)
    with pytest.raises(RequestError, match=words):
        store.fit(name)
    assert versions(world.folder) == before


def test_a_weekly_refit_writes_the_text_of_a_new_version(
    world: World, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = write_conf(tmp_path, {"paid": PAID})
    file = tmp_path / "conf" / "views" / "weekly.yaml"
    file.write_text(
        "name: weekly  # kept\nversion: '1.4'\nentity: payment\ntransform:\n  kind: fitted\n  view: paid\n  fit:\n"
        "    from: 2025-01-01T00:00:00Z\n    to: 2025-01-02T00:00:00Z\n  revisions: all\n\n"
        "features:  # and this\n  - {column: amount, fit: zscore}\n"
    )
    span = ["--from", "2025-01-08T00:00Z", "--to", "2025-01-15T00:00+00:00"]
    assert main(["fit", "weekly", *span, "--conf", str(conf), "--json"]) == 0
    assert '"version": "1.5"' in capsys.readouterr().out
    text = file.read_text()
    assert "# kept" in text
    assert "# and this" in text
    assert "  revisions: all\n\nfeatures" in text
    told = yaml.safe_load(text)
    assert told["version"] == "1.5"
    assert told["transform"]["fit"] == {"from": "2025-01-08T00:00:00+00:00", "to": "2025-01-15T00:00:00+00:00"}
    (view,) = [v for v in FeatureStore.open(conf, spark).config.views if v.name == "weekly"]
    assert view.transform.rows.begin_us == us(datetime(2025, 1, 8, tzinfo=UTC))  # type: ignore[attr-defined]
    for words, wrong in {
        "give both --from and --to": ["weekly", *span[:2]],
        "is not before": ["weekly", "--from", span[3], "--to", span[1]],
        "has no `fit` to change": ["paid", *span],
        "no text of view 'other'": ["other", *span],
        "needs a zone": ["weekly", "--from", "2025-01-08", "--to", "2025-01-15"],
    }.items():
        assert main(["fit", *wrong, "--conf", str(conf)]) == 2
        assert words in capsys.readouterr().err, words
    assert file.read_text() == text
    given = "name: rows\nversion: '1.0'\ntransform:\n  kind: fitted\n  fit: {rows: {merchant: [m0, m1]}}\n"
    other = tmp_path / "conf" / "views" / "rows.yaml"
    other.write_text(given)
    write_refit(tmp_path / "conf", "rows", ["1.3"], BEGIN, END)
    told = yaml.safe_load(other.read_text())
    assert told["version"] == "1.4"
    assert told["transform"]["fit"] == {
        "rows": {"merchant": ["m0", "m1"]}, "from": BEGIN.isoformat(), "to": END.isoformat()
    }  # fmt: skip
    other.write_text("name: [")
    with pytest.raises(RequestError, match=r"rows\.yaml is no YAML"):
        write_refit(tmp_path / "conf", "weekly", [], BEGIN, END)


def test_a_computation_by_one_row_at_a_time_gives_the_same(world: World) -> None:
    """Groups of a batch are coded by what the batch holds: another cut of the rows changes nothing."""
    import pyarrow as pa

    view = world.store._state().view("scores")
    transform = view.transform  # type: ignore[attr-defined]
    task = applied._Apply(("row_id",), transform.features, transform.fit)
    table = pa.table({c: [row[c] for row in world.paid] for c in ("row_id", "amount", "kind", "merchant")})
    whole = pa.Table.from_batches(list(task(iter(table.combine_chunks().to_batches()))))
    cut = pa.Table.from_batches(list(task(iter(table.to_batches(max_chunksize=1)))))
    assert whole.to_pylist() == cut.to_pylist()

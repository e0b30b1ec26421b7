"""The ingested tables as sources of views: attempts of dies, and runs of wafers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from fs_spark import names as n
from fs_spark.binding import check_units, tests_of, units_of_tests
from fs_spark.config import Configuration
from fs_spark.errors import RequestError, did_you_mean
from fs_spark.features.shipped import ATTEMPTS, SHIPPED_SOURCES
from fs_spark.features.table_view import SourceInput
from fs_spark.snapshot import Snapshot
from fs_spark.tables import Tables
from fs_spark.transforms.attempt_rows import END, START, attempt_rows, columns_of
from fs_spark.transforms.kept import only_runs
from fs_spark.transforms.spatial import ProductBinding

Bindings = Mapping[str, ProductBinding]
Versions = Mapping[str, int]


@dataclass(frozen=True)
class IngestedSource:
    """How a shipped source's rows are made, how far they reach, and which may have changed since other versions."""

    rows: Callable[[Tables, Versions, SourceInput, Bindings], DataFrame]
    watermark: Callable[[Tables, Versions, SourceInput, int | None], int | None]
    """How far the rows reach; with a time, how far they reached then."""
    changes: Callable[[Tables, Versions, Versions, SourceInput, Bindings], DataFrame | None]
    widest: Callable[[Sequence[SourceInput], Sequence[Bindings]], tuple[SourceInput, Bindings] | None] | None = None
    """What holds the rows of several readers; None where their parameters are other tests."""
    narrowed: Callable[[DataFrame, SourceInput], DataFrame] | None = None
    """One reader's rows of these."""


def _dies(snapshot: Snapshot, one: SourceInput, lots: list[str] | None) -> DataFrame:
    dies = snapshot.read(n.DIE_TESTS).where(F.col(n.INSERTION) == one.options["insertion"])
    return dies if lots is None else dies.where(F.col(n.LOT_ID).isin(lots))


def _attempts(
    tables: Tables, versions: Versions, one: SourceInput, bindings: Bindings,
    lots: list[str] | None = None,
) -> DataFrame:  # fmt: skip
    snapshot = Snapshot(tables, dict(versions))
    dies, parameters = _dies(snapshot, one, lots), tuple(one.options.get("parameters", ()))
    results = units = None
    if parameters:
        runs = snapshot.kept_runs().where(F.col(n.INSERTION) == one.options["insertion"])
        results = only_runs(tables.read(n.TEST_RESULTS, versions[n.TEST_RESULTS]), runs=runs)
        results = results if lots is None else results.where(F.col(n.LOT_ID).isin(lots))
        units = units_of_tests(snapshot, parameters, bindings)
    return attempt_rows(
        dies, results, parameters=parameters, columns=tuple(one.columns), counted=one.options["attempts"],
        step=ATTEMPTS.steps.get(one.options.get("step", ""), ()), others=one.options.get("others", False),
        bindings=bindings, units=units,
    )  # fmt: skip


def _widest_attempts(
    readers: Sequence[SourceInput], bindings: Sequence[Bindings]
) -> tuple[SourceInput, Bindings] | None:
    """Attempts with the columns and parameters of all readers, which name the same insertion, choice and step."""
    tests: dict[str, dict[str, Any]] = {}
    for product in dict.fromkeys(product for bound in bindings for product in bound):
        own: dict[str, Any] = {}
        for one, bound in zip(readers, bindings, strict=True):
            known = bound[product].parameters if product in bound else {}
            for name in one.options.get("parameters", ()):  # one that a reader was bound without stays null for it
                if own.setdefault(name, known.get(name)) != known.get(name):
                    return None
        tests[product] = {name: test for name, test in own.items() if test is not None}
    parameters = dict.fromkeys(name for one in readers for name in one.options.get("parameters", ()))
    columns = {column: kind for one in readers for column, kind in one.columns.items()}
    options = {**readers[0].options, "parameters": list(parameters)}
    if any(one.options.get("others") for one in readers):
        options["others"] = True
    whole = readers[0].model_copy(update={"columns": columns, "options": options})
    return whole, {product: ProductBinding(parameters=own) for product, own in tests.items()}


def _narrowed_attempts(rows: DataFrame, one: SourceInput) -> DataFrame:
    if not one.options.get("others"):
        rows = rows.where(F.col(START) < F.col(END))
    return rows.select(*(F.col(f"`{c}`") for c in columns_of(tuple(one.columns), one.options.get("parameters", ()))))


def _runs(
    tables: Tables, versions: Versions, one: SourceInput, bindings: Bindings,
    lots: list[str] | None = None,
) -> DataFrame:  # fmt: skip
    """One row per run: its end, when all of it could be known, and what its parts gave."""
    dies = _dies(Snapshot(tables, dict(versions)), one, lots)
    keys = [n.LOT_ID, n.WAFER_ID, n.INSERTION, n.RUN_ID, n.HEAD]
    judged = F.col(n.PASSED).isNotNull()
    return dies.groupBy(*keys).agg(
        F.min(n.PRODUCT_ID).alias(n.PRODUCT_ID),
        F.min(n.TEST_PROGRAM).alias(n.TEST_PROGRAM),
        F.min(n.TESTER).alias(n.TESTER),
        F.min(n.RUN_START).alias(n.RUN_START),
        F.max(n.EVENT_TIMESTAMP).alias(n.EVENT_TIMESTAMP),
        F.max(n.AVAILABLE_TIMESTAMP).alias(n.AVAILABLE_TIMESTAMP),
        F.count(F.lit(1)).alias("parts"),
        F.count(F.when(judged, 1)).alias("judged"),
        F.count(F.when(~F.col(n.PASSED), 1)).alias("fails"),
        F.count_distinct(n.TOUCHDOWN).alias("touchdowns"),
    )


def _lots(
    tables: Tables, versions: Versions, one: SourceInput, bindings: Bindings,
    lots: list[str] | None = None,
) -> DataFrame:  # fmt: skip
    """A row for each end of a run of a lot: what its runs that ended by then gave together, retests counted again."""
    runs = _runs(tables, versions, one, bindings, lots).where(F.col(n.EVENT_TIMESTAMP).isNotNull())
    lot = [n.LOT_ID, n.INSERTION]
    ends = runs.groupBy(*lot, n.EVENT_TIMESTAMP).agg(
        F.min(n.PRODUCT_ID).alias(n.PRODUCT_ID),
        F.min(n.TEST_PROGRAM).alias(n.TEST_PROGRAM),
        F.max(n.AVAILABLE_TIMESTAMP).alias(n.AVAILABLE_TIMESTAMP),
        F.min(n.RUN_START).alias("first_start"),
        F.collect_set(n.WAFER_ID).alias("wafers"),
        F.count(F.lit(1)).alias("runs"),
        *(F.sum(name).alias(name) for name in ("parts", "judged", "fails")),
    )
    so_far = Window.partitionBy(*lot).orderBy(n.EVENT_TIMESTAMP).rowsBetween(Window.unboundedPreceding, 0)
    return ends.withColumns(
        {
            "wafers": F.size(F.array_distinct(F.flatten(F.collect_list("wafers").over(so_far)))).cast("bigint"),
            "first_start": F.min("first_start").over(so_far),
            n.AVAILABLE_TIMESTAMP: F.max(n.AVAILABLE_TIMESTAMP).over(so_far),
            **{name: F.sum(name).over(so_far) for name in ("runs", "parts", "judged", "fails")},
        }
    )


def _watermark(tables: Tables, versions: Versions, one: SourceInput, as_of_us: int | None = None) -> int | None:
    dies = _dies(Snapshot(tables, dict(versions)), one, None)
    known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
    if as_of_us is not None:
        dies = dies.where(known <= F.lit(as_of_us))
    found: Any = dies.agg(F.max(known)).collect()[0][0]
    return found


def _of_changed_lots(rows: Any) -> Callable[..., DataFrame | None]:
    """All rows of the lots whose files came, went or were read anew, as they were and as they are."""

    def changes(
        tables: Tables, then: Versions, now: Versions, one: SourceInput, bindings: Bindings
    ) -> DataFrame | None:
        if n.FILES not in then:
            return None
        lots = Snapshot(tables, dict(now)).changed_lots(then[n.FILES], then.get(n.WAFER_RUNS))
        before = rows(tables, then, one, bindings, lots)
        after: DataFrame = rows(tables, now, one, bindings, lots)
        return after.unionByName(before)

    return changes


INGESTED_SOURCES: Final = {
    "attempts": IngestedSource(
        _attempts, _watermark, _of_changed_lots(_attempts), _widest_attempts, _narrowed_attempts
    ),
    "wafer_runs": IngestedSource(_runs, _watermark, _of_changed_lots(_runs)),
    "lots": IngestedSource(_lots, _watermark, _of_changed_lots(_lots)),
}


@dataclass(frozen=True)
class RowsNow:
    """A source's rows as they stand, and how far they reach: now, and at a time before."""

    frame: DataFrame
    newest_us: int
    reached: Callable[[int], int | None]


def ingested_rows(
    snapshot: Snapshot, config: Configuration, name: str, columns: Mapping[str, str], options: Mapping[str, Any]
) -> RowsNow:
    """The rows of an ingested source at a snapshot, its parameters by the tests that the configuration names now.

    Raises     RequestError where there are none, or for a parameter of no product
    """
    tables, made = snapshot.tables, INGESTED_SOURCES[name]
    one = SourceInput(
        name=name, keys=dict(SHIPPED_SOURCES[name].keys), columns=dict(columns), knowledge="at_event",  # type: ignore[arg-type]
        options=dict(options), by={},
    )  # fmt: skip
    newest = made.watermark(tables, snapshot.versions, one, None)
    if newest is None:
        known = snapshot.read(n.WAFER_RUNS).select(n.INSERTION).distinct().collect()
        hint = did_you_mean(options["insertion"], [row[0] for row in known])
        raise RequestError(f"source {name} holds no rows of insertion {options['insertion']!r}.\n{hint}")
    bindings = _bindings_now(config, options.get("parameters", ()))
    check_units(snapshot, {(p, name, test) for p, b in bindings.items() for name, test in b.parameters.items()}, config)
    rows = made.rows(tables, snapshot.versions, one, bindings)
    return RowsNow(rows, newest, lambda at_us: made.watermark(tables, snapshot.versions, one, at_us))


def _bindings_now(config: Configuration, parameters: Sequence[str]) -> Bindings:
    if not parameters:
        return {}
    config.require("products")
    known = {name for product in config.products for name in product.parameters}
    for name in parameters:
        if name not in known:
            raise RequestError(f"no product in products.yaml has a parameter {name!r}.\n{did_you_mean(name, known)}")
    return {one.product_id: ProductBinding(parameters=tests_of(one, parameters)) for one in config.products}

"""What a view of other kinds than spatial reads: frames at versions, how far they reach, which rows changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.changes import changed_rows
from fs_spark.errors import RequestError
from fs_spark.features.table_view import ORDER_OF, UNIT_KEYS, Input, SourceInput, ViewInput
from fs_spark.ingested_sources import INGESTED_SOURCES, IngestedSource
from fs_spark.sources import SourceState
from fs_spark.tables import Tables
from fs_spark.transforms.spatial import ProductBinding

Bindings = Mapping[str, ProductBinding]


@dataclass(frozen=True)
class InputState:
    """An input at one moment: the versions of the tables that it is made from, and how far its rows reach.

    `watermark_us` is the greatest availability of its rows; of a view what its commit says.
    """

    versions: Mapping[str, int]
    watermark_us: int | None


def ingested(one: Input) -> IngestedSource | None:
    return INGESTED_SOURCES.get(one.name) if isinstance(one, SourceInput) else None


def input_state(
    tables: Tables, one: Input, sources: Mapping[str, SourceState], versions: Callable[[], Mapping[str, int]]
) -> InputState:
    """How an input stands now; `versions` are those of the ingested tables, asked for where they are needed.

    Raises     RequestError for an input that has no rows yet
    """
    shipped = ingested(one)
    if shipped is not None:
        assert isinstance(one, SourceInput)
        at = versions()
        return InputState(dict(at), shipped.watermark(tables, at, one, None))
    if isinstance(one, SourceInput):
        state = sources[one.name]
        return InputState({state.table: state.version}, state.watermark_us)
    if not tables.exists(one.table):
        raise RequestError(
            f"its input {one.name} v{one.version} has no table: it was never materialized, or dropped. "
            "Hint: run `fs-spark materialize`"
        )
    version, made_from = tables.standing(one.table)
    if not set(one.order) <= set(tables.columns(one.table, version)):
        raise RequestError(
            f"its input {one.name} v{one.version} was made before rows of one event kept their order. "
            f"Hint: run `fs-spark materialize {one.name}__v{one.version}` first"
        )
    if "watermark" in made_from or one.knowledge == "static":
        return InputState({one.table: version}, made_from.get("watermark"))
    known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
    newest = tables.read(one.table, version).agg(F.max(known)).collect()[0][0]  # a spatial view's commit does not say
    return InputState({one.table: version}, newest)


def input_frame(tables: Tables, one: Input, versions: Mapping[str, int], bindings: Bindings) -> DataFrame:
    """The rows of an input at these versions."""
    shipped = ingested(one)
    if shipped is not None:
        assert isinstance(one, SourceInput)
        return shipped.rows(tables, versions, one, bindings)
    return as_defined(tables.read(one.table, versions[one.table]), one)


def as_defined(frame: DataFrame, one: Input) -> DataFrame:
    """Rows of an input without where they lie, and without what orders them that its definition does not know of."""
    known = one.order if isinstance(one, ViewInput) else ()
    return frame.drop(*(c for c in frame.columns if c in UNIT_KEYS or (c.startswith(ORDER_OF) and c not in known)))


def input_changes(
    tables: Tables,
    one: Input,
    then: Mapping[str, int],
    now: Mapping[str, int],
    bindings: Bindings,
) -> DataFrame | None:
    """Rows of an input that came, went or may have changed between two states of it; None where all may have."""
    shipped = ingested(one)
    if shipped is not None:
        assert isinstance(one, SourceInput)
        return shipped.changes(tables, then, now, one, bindings)
    if one.table not in then:
        return None
    units = _unit_keys(tables, one)
    frame = changed_rows(tables, one.table, then[one.table], now[one.table], units)
    return as_defined(frame, one)


def _unit_keys(tables: Tables, one: Input) -> tuple[str, ...]:
    there = tables.columns(one.table)
    if UNIT_KEYS[0] in there:
        return UNIT_KEYS
    assert isinstance(one, ViewInput)
    return tuple(one.keys)[:2]

"""The point-in-time join: one shuffle per view, one of the spine per chain of keys, one row out per spine row.

Spine and views meet in a union ordered by usable time u = greatest(event, available) + offset; a running maximum of
the whole row struct carries the newest usable row to each spine row. The struct begins with (event, available,
sequence), so the winner is decided by content alone, and late availability does no harm (`last` would: 2 % late rows
gave 2.0 % wrong rows). Views of nested keys go level by level over one partitioning by the shortest key.

A key with very many rows is cut by time: a maximum over all earlier rows is the maximum of the pieces' maxima, so each
piece needs only one row more, the newest of all pieces before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, IntegralType

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.transforms.as_of_view import AsOfView, HeavyKey, Pruning, check_join

__all__ = ["AsOfView", "HeavyKey", "Pruning", "as_of_join"]

_SPINE: Final = "__spine"
_AT: Final = "__at"
_KEY: Final = "__key_"
_CUT: Final = "__cut"
_SPINE_RANK: Final = 1
_VIEW_RANK: Final[dict[str, int]] = {"at_or_before": 0, "strictly_before": 2}
_BEGINNING: Final = -(2**59)
"""Usable time in microseconds of a static row, and of a spine row without a time, which sees static rows alone."""
_RANKS: Final = 4
"""`__at` is the usable time times four plus the rank, so that one long orders rows."""


def _micros(span: timedelta) -> int:
    """Times are added as microseconds: Spark adds the days of an interval in the session's zone (23 hours in March)."""
    return min(span // timedelta(microseconds=1), 2**58)


def _instant(moment: datetime) -> int:
    return (moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")) // timedelta(microseconds=1)


def _levels(views: Sequence[AsOfView]) -> list[list[tuple[str, ...]]]:
    """Key sets in chains, each key set a superset of the one before: (lot), (lot, wafer), (lot, wafer, x, y)."""
    chains: list[list[tuple[str, ...]]] = []
    for keys in sorted({tuple(v.keys) for v in views}, key=lambda k: (len(k), k)):
        for chain in chains:
            if set(chain[-1]) <= set(keys):
                chain.append(keys)
                break
        else:
            chains.append([keys])
    return chains


def _key_type(kind: DataType) -> str:
    return "bigint" if isinstance(kind, IntegralType) else kind.simpleString()


def _cut(heavy: Sequence[HeavyKey]) -> Column:
    """Which piece of its key a row lies in: how many of the key's cuts are at or before its usable time."""
    piece = F.lit(0)
    for one in heavy:
        passed = [(F.col(_AT) >= F.lit(_instant(cut) * _RANKS)).cast("int") for cut in sorted(one.cuts)]
        piece = F.when(_is_key(one), reduce(lambda a, b: a + b, passed)).otherwise(piece)
    return piece.alias(_CUT)


def _is_key(heavy: HeavyKey) -> Column:
    same = [F.col(_KEY + key) == F.lit(value) for key, value in sorted(heavy.values.items())]
    return reduce(lambda a, b: a & b, same)


def _kept(view: AsOfView, pruning: Pruning) -> Column:
    """Rows that some spine row may see, as far as the view's own columns tell."""
    event = F.col(view.event_timestamp)
    kept = F.lit(True)
    if view.available_timestamp is not None:  # `greatest` leaves nulls out: such a row would be usable at once
        kept = event.isNull() | F.col(view.available_timestamp).isNotNull()
    for key in view.keys:
        kept = kept & F.col(key).isNotNull()
        if key in pruning.keys:
            kept = kept & F.col(key).isin(list(pruning.keys[key]))
    if pruning.latest is not None:
        last = F.timestamp_micros(F.lit(_instant(pruning.latest) - _micros(view.offset)))
        kept = kept & (event.isNull() | (event <= last))
    if pruning.earliest is not None and view.ttl is not None:
        first = F.timestamp_micros(F.lit(_instant(pruning.earliest) - _micros(view.offset) - _micros(view.ttl)))
        kept = kept & (event.isNull() | (event >= first))
    return kept


def _prepared(view: AsOfView, name: str, pruning: Pruning) -> DataFrame:
    """A view's rows as (keys, order, one struct called `name`)."""
    event = F.col(view.event_timestamp)
    available = event if view.available_timestamp is None else F.col(view.available_timestamp)
    usable = F.unix_micros(event) if view.available_timestamp is None else F.unix_micros(F.greatest(event, available))
    if view.offset:
        usable = usable + F.lit(_micros(view.offset))
    content = [event.alias(n.EVENT_TIMESTAMP), available.alias(n.AVAILABLE_TIMESTAMP)]
    content += [F.col(view.sequence).alias(n.SEQUENCE)] if view.sequence is not None else []
    content += [F.col(source).alias(output) for output, source in view.outputs.items()]
    return view.frame.where(_kept(view, pruning)).select(
        *(F.col(key).cast(_key_type(view.frame.schema[key].dataType)).alias(_KEY + key) for key in view.keys),
        F.when(event.isNull(), F.lit(_BEGINNING * _RANKS))
        .otherwise(usable * _RANKS + F.lit(_VIEW_RANK[view.boundary]))
        .alias(_AT),
        F.struct(*content).alias(name),
    )


def _carried(rows: DataFrame, name: str, keys: Sequence[str], heavy: Sequence[HeavyKey]) -> DataFrame:
    """For each piece of a heavy key the newest rows of the pieces before it, which come first in it."""
    named = [_KEY + key for key in keys]
    pieces = F.lit(0)
    for one in heavy:
        pieces = F.when(_is_key(one), F.lit(len(one.cuts))).otherwise(pieces)
    newest = rows.where(pieces > 0).groupBy(*named, _CUT).agg(F.max(name).alias(name))
    later = newest.where(F.col(_CUT) < pieces).select(
        *named, F.explode(F.sequence(F.col(_CUT) + 1, pieces)).alias(_CUT), name
    )
    return later.select(*named, F.lit(_BEGINNING * _RANKS).alias(_AT), _CUT, name)


def _winner(name: str, view: AsOfView) -> Column:
    """The running maximum, where its event is not older than the view's time to live."""
    winner = F.col(name)
    if view.ttl is None:
        return winner
    event = winner[n.EVENT_TIMESTAMP]
    oldest = F.shiftright(_AT, 2) - F.lit(_micros(view.offset) + _micros(view.ttl))
    return F.when(event.isNull() | (F.unix_micros(event) >= oldest), winner)


def _outputs(name: str, view: AsOfView) -> list[Column]:
    winner = _winner(name, view)
    found = [winner[output].alias(output) for output in view.outputs]
    if view.event_as is not None:
        found.append(winner[n.EVENT_TIMESTAMP].alias(view.event_as))
    if view.age_as is not None:
        age = F.shiftright(_AT, 2) - F.unix_micros(winner[n.EVENT_TIMESTAMP])
        found.append((age / F.lit(1e6)).alias(view.age_as))
    return found


def _join_level(
    rows: DataFrame, views: Sequence[AsOfView], keys: Sequence[str], by: Sequence[str], pruning: Pruning,
    heavy: Sequence[HeavyKey],
) -> DataFrame:  # fmt: skip
    """One union and one window for all the views of one key set; `rows` lie partitioned by the columns `by`."""
    spine_columns = rows.columns
    named = {f"__view_{number}": view for number, view in enumerate(views)}
    united = rows
    for name, view in named.items():
        prepared = _prepared(view, name, pruning)
        if heavy:
            prepared = prepared.select("*", _cut(heavy))
            prepared = prepared.unionByName(_carried(prepared, name, keys, heavy))
        united = united.unionByName(prepared.repartition(*by), allowMissingColumns=True)
    entity = Window.partitionBy(*(_KEY + key for key in keys), *([_CUT] if heavy else []))
    order = entity.orderBy(_AT).rowsBetween(Window.unboundedPreceding, 0)
    newest = [F.max(name).over(order).alias(name) for name in named]
    joined = united.select(*spine_columns, *newest).where(F.col(_AT).bitwiseAND(_RANKS - 1) == _SPINE_RANK)
    return joined.select(*spine_columns, *(column for name, view in named.items() for column in _outputs(name, view)))


def _spine_rows(spine: DataFrame, keys: Sequence[str], timestamp: str) -> DataFrame:
    """The spine as (a struct of its columns but the keys, the keys, order)."""
    rest = [F.col(f"`{c}`") for c in spine.columns if c not in keys] or [F.lit(None).cast("int").alias("none")]
    time = F.coalesce(F.unix_micros(F.col(f"`{timestamp}`")), F.lit(_BEGINNING))
    return spine.select(
        F.struct(*rest).alias(_SPINE),
        *(F.col(f"`{key}`").cast(_key_type(spine.schema[key].dataType)).alias(_KEY + key) for key in keys),
        (time * _RANKS + F.lit(_SPINE_RANK)).alias(_AT),
    )


def as_of_join(
    spine: DataFrame,
    views: Sequence[AsOfView],
    *,
    timestamp: str = n.EVENT_TIMESTAMP,
    pruning: Pruning | None = None,
    heavy: Sequence[HeavyKey] = (),
) -> DataFrame:
    """Joins to each spine row the newest row of each view that was usable at the spine's time.

    Of a view's rows with the spine row's keys whose event and available time are at or before T (strictly before T by
    the view's boundary), and whose event time is not older than T - ttl, the greatest by (event_timestamp,
    available_timestamp, sequence). T is the spine's time less the view's offset.

    Nothing here knows wafers: any keys, any number of views, at any key levels. No Spark action is run. `pruning` says
    what is known of the spine, so that files of the views are skipped; `heavy` names keys with very many rows.

    Grain      one row per spine row, duplicates included; its columns and their order untouched, features after them
    Undefined  null where no row was usable; a null key matches nothing
    Raises     SchemaError lists every fault of keys, times and names; LeakageError for an offset that looks ahead;
               RequestError where no view is given, or a heavy key is of no view
    """
    if not views:
        raise RequestError("no view to join. Hint: give at least one feature reference")
    check_join(spine, views, timestamp, heavy)
    keys = sorted({key for view in views for key in view.keys})
    rows = _spine_rows(spine, keys, timestamp)
    for chain in _levels(views):
        of_chain = [one for one in heavy if set(one.values) == set(chain[0])]
        by = [_KEY + key for key in chain[0]]
        if of_chain:
            rows = rows.select("*", _cut(of_chain))
            by.append(_CUT)
        rows = rows.repartition(*by)
        for level in chain:
            of_level = [view for view in views if tuple(view.keys) == level]
            rows = _join_level(rows, of_level, level, by, pruning or Pruning(), of_chain)
        if of_chain:
            rows = rows.drop(_CUT)
    untouched = [
        F.col(_KEY + c).cast(spine.schema[c].dataType).alias(c) if c in keys else F.col(f"{_SPINE}.`{c}`")
        for c in spine.columns
    ]
    return rows.select(*untouched, *(F.col(output) for view in views for output in view.all_outputs))

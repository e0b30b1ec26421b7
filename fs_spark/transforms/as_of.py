"""The point-in-time join: one shuffle per view, one of the spine per chain of keys, one row out per spine row.

Spine and views meet in a union ordered by usable time u = greatest(event, available) + offset; a running maximum of
the whole row struct carries the newest usable row to each spine row. The struct begins with (event, available,
sequence), so the winner is decided by content alone, and late availability does no harm (`last` would: 2 % late rows
gave 2.0 % wrong rows). Views of nested keys go level by level over one partitioning by the shortest key.

Rows are grouped by two hashes of their keys, since sorting two longs takes 20 % less than a text and a long; the keys
travel in the row, and each winner's are compared with the spine's, column by column, so that a collision of hashes
ends the job and never gives another key's value.

A key with very many rows is cut by time: a maximum over all earlier rows is the maximum of the pieces' maxima, so each
piece needs only one row more, the newest of all pieces before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
_PIECES: Final = "__pieces"
_PART: Final = "__part"
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
    distinct = {frozenset(v.keys): tuple(v.keys) for v in reversed(views)}  # the same keys in any order are one level
    for keys in sorted(distinct.values(), key=lambda k: (len(k), k)):
        for chain in chains:
            if set(chain[-1]) <= set(keys):
                chain.append(keys)
                break
        else:
            chains.append([keys])
    return chains


def _key_type(kind: DataType) -> str:
    return "bigint" if isinstance(kind, IntegralType) else kind.simpleString()


def _is_key(heavy: HeavyKey) -> Column:
    same = [F.col(_KEY + key) == F.lit(value) for key, value in sorted(heavy.values.items())]
    return reduce(lambda a, b: a & b, same)


def _cut(heavy: Sequence[HeavyKey]) -> Column:
    """Which piece of its key a row lies in: how many of the key's cuts are at or before its usable time."""
    piece = F.lit(0)
    for one in heavy:
        passed = [(F.col(_AT) >= F.lit(_instant(cut) * _RANKS)).cast("int") for cut in sorted(one.cuts)]
        piece = F.when(_is_key(one), reduce(lambda a, b: a + b, passed)).otherwise(piece)
    return piece.alias(_CUT)


def _pieces(heavy: Sequence[HeavyKey]) -> Column:
    """The last piece of a row's key, 0 where it is not cut."""
    last = F.lit(0)
    for one in heavy:
        last = F.when(_is_key(one), F.lit(len(one.cuts))).otherwise(last)
    return last.alias(_PIECES)


def _grouped(keys: Sequence[str]) -> Column:
    """A hash of a level's keys, null where one of them is: a null key matches nothing."""
    there = reduce(lambda a, b: a & b, (F.col(_KEY + key).isNotNull() for key in keys))
    return F.when(there, F.xxhash64(*(_KEY + key for key in keys))).alias(_hash_of(keys))


def _hash_of(keys: Sequence[str]) -> str:
    return "__hash_" + "_".join(keys)


def _partition(shortest: Sequence[str]) -> Column:
    return F.hash(*(_KEY + key for key in shortest)).alias(_PART)


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


@dataclass(frozen=True)
class _Chain:
    """A chain of nested keys: rows lie partitioned by the shortest ones, and by piece where a key of it is cut."""

    levels: list[tuple[str, ...]]
    heavy: list[HeavyKey]

    @property
    def by(self) -> list[str]:
        return [_PART, *([_CUT] if self.heavy else [])]

    def laid_out(self, rows: DataFrame, hashes: Sequence[Column], kept: Sequence[str]) -> DataFrame:
        """Rows with their partition and hashes; their keys as columns of their own stay out of the shuffle."""
        cut = [_cut(self.heavy), _pieces(self.heavy)] if self.heavy else []
        return rows.select(_partition(self.levels[0]), *hashes, _AT, *kept, *cut)


def _prepared(view: AsOfView, name: str, level: Sequence[str], chain: _Chain, pruning: Pruning) -> DataFrame:
    """A view's rows as (partition, hash, order, one struct called `name`)."""
    event = F.col(view.event_timestamp)
    available = event if view.available_timestamp is None else F.col(view.available_timestamp)
    usable = F.unix_micros(event) if view.available_timestamp is None else F.unix_micros(F.greatest(event, available))
    if view.offset:
        usable = usable + F.lit(_micros(view.offset))
    keys = [F.col(key).cast(_key_type(view.frame.schema[key].dataType)).alias(_KEY + key) for key in level]
    content = [event.alias(n.EVENT_TIMESTAMP), available.alias(n.AVAILABLE_TIMESTAMP)]
    content += [F.col(view.sequence).alias(n.SEQUENCE)] if view.sequence is not None else []
    content += [*keys, *(F.col(source).alias(output) for output, source in view.outputs.items())]
    rows = view.frame.where(_kept(view, pruning)).select(
        *keys,
        F.when(event.isNull(), F.lit(_BEGINNING * _RANKS))
        .otherwise(usable * _RANKS + F.lit(_VIEW_RANK[view.boundary]))
        .alias(_AT),
        F.struct(*content).alias(name),
    )
    laid_out = chain.laid_out(rows, [_grouped(level)], [name])
    if not chain.heavy:
        return laid_out
    return laid_out.drop(_PIECES).unionByName(_carried(laid_out, name, level))


def _carried(rows: DataFrame, name: str, keys: Sequence[str]) -> DataFrame:
    """For each piece of a heavy key the newest rows of the pieces before it, which come first in it."""
    of_key = (_PART, _hash_of(keys))
    newest = (
        rows.where(F.col(_PIECES) > 0)
        .groupBy(*of_key, _CUT)
        .agg(F.max(_PIECES).alias(_PIECES), F.max(name).alias(name))
    )
    later = F.explode(F.sequence(F.col(_CUT) + 1, F.col(_PIECES))).alias(_CUT)
    return newest.where(F.col(_CUT) < F.col(_PIECES)).select(
        *of_key, F.lit(_BEGINNING * _RANKS).alias(_AT), name, later
    )


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


def _own(name: str, keys: Sequence[str], spine: DataFrame) -> Column:
    """Whether a winner is there for its own key, column by column."""
    same = [F.col(name)[_KEY + key] == F.col(_SPINE)[key].cast(_key_type(spine.schema[key].dataType)) for key in keys]
    return F.col(name).isNull() | reduce(lambda a, b: a & b, same)


def _join_level(
    rows: DataFrame, views: Sequence[AsOfView], keys: Sequence[str], chain: _Chain, spine: DataFrame, pruning: Pruning
) -> DataFrame:
    """One union and one window for all the views of one key set; `rows` lie partitioned by the chain."""
    spine_columns = rows.columns
    named = {f"__view_{number}": view for number, view in enumerate(views)}
    keyed = rows.select("*", *(_spine_key(spine, key) for key in keys))
    united = keyed.select(*spine_columns, _grouped(keys))
    for name, view in named.items():
        prepared = _prepared(view, name, keys, chain, pruning).repartition(*chain.by)
        united = united.unionByName(prepared, allowMissingColumns=True)
    order = Window.partitionBy(_hash_of(keys), *chain.by).orderBy(_AT).rowsBetween(Window.unboundedPreceding, 0)
    newest = [F.max(name).over(order).alias(name) for name in named]
    own = reduce(lambda a, b: a & b, (_own(name, keys, spine) for name in named))
    is_spine = F.col(_AT).bitwiseAND(_RANKS - 1) == _SPINE_RANK
    collision = F.raise_error(F.lit(f"two keys ({', '.join(keys)}) have one hash: join fewer keys at a time"))
    kept = F.when(~is_spine, False).when(own, True).otherwise(collision.cast("boolean"))
    joined = united.select(*spine_columns, *newest).where(kept)
    return joined.select(*spine_columns, *(column for name, view in named.items() for column in _outputs(name, view)))


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
    spine_names = [F.col(f"{_SPINE}.`{c}`") for c in spine.columns]
    time = F.coalesce(F.unix_micros(F.col(f"`{timestamp}`")), F.lit(_BEGINNING)) * _RANKS + F.lit(_SPINE_RANK)
    rows = spine.select(F.struct(*(F.col(f"`{c}`") for c in spine.columns)).alias(_SPINE), time.alias(_AT))
    joined: list[str] = []
    for levels in _levels(views):
        chain = _Chain(levels, [one for one in heavy if set(one.values) == set(levels[0])])
        keyed = rows.select("*", *(_spine_key(spine, key) for key in levels[0]))
        rows = chain.laid_out(keyed, [], [_SPINE, *joined]).drop(_PIECES).repartition(*chain.by)
        for keys in reversed(levels):  # the level of most rows first, while the rows are narrow
            of_level = [view for view in views if set(view.keys) == set(keys)]
            rows = _join_level(rows, of_level, keys, chain, spine, pruning or Pruning())
            joined += [output for view in of_level for output in view.all_outputs]
        rows = rows.select(_SPINE, _AT, *joined)
    return rows.select(*spine_names, *(F.col(output) for view in views for output in view.all_outputs))


def _spine_key(spine: DataFrame, key: str) -> Column:
    return F.col(_SPINE)[key].cast(_key_type(spine.schema[key].dataType)).alias(_KEY + key)

"""The point-in-time join: one shuffle of all rows per chain of keys, one row out per spine row.

Spine and views meet in a union ordered by usable time u = greatest(event, available) + offset; a running maximum of
the whole row struct carries the newest usable row to each spine row. The struct begins with (event, available,
sequence), so the winner is decided by content alone, and late availability does no harm (`last` would: 2 % late rows
gave 2.0 % wrong rows). Views of nested keys (lot, wafer, die) lie in one union, shuffled once by the shortest key, and
their levels follow each other with a sort and a window each; no level needs another shuffle.

A key with very many rows is cut by time: a maximum over all earlier rows is the maximum of the pieces' maxima, so each
piece needs only one row more, the newest of all pieces before it.

Columns are written as SQL text: a Column of PySpark costs some five calls into the JVM each, 1.3 s for eight views.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegralType, LongType

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.transforms.as_of_view import AsOfView, HeavyKey, Pruning, check_join

__all__ = ["AsOfView", "HeavyKey", "Pruning", "as_of_join"]

_SPINE: Final = "__spine"
_AT: Final = "__at"
_KEY: Final = "__key_"
_HASH: Final = "__hash"
_EVENT: Final = "__event"
_AVAILABLE: Final = "__available"
_SEQUENCE: Final = "__sequence"
_CUT: Final = "__cut"
_PIECES: Final = "__pieces"
_UNCHOSEN: Final = "200"
"""Spark's default of `spark.sql.shuffle.partitions`."""
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


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _all(conditions: Iterable[str]) -> str:
    return " AND ".join(f"({condition})" for condition in conditions)


def _key_columns(keys: Sequence[str]) -> list[str]:
    return [_quoted(_KEY + key) for key in keys]


def _key(frame: DataFrame, key: str, source: str) -> str:
    """A key as a column of its own; integers of all widths meet as bigint."""
    text = f"CAST({source} AS BIGINT)" if _widened(frame, key) else source
    return f"{text} AS {_quoted(_KEY + key)}"


def _widened(frame: DataFrame, key: str) -> bool:
    kind = frame.schema[key].dataType
    return isinstance(kind, IntegralType) and not isinstance(kind, LongType)


def _is_key(heavy: HeavyKey) -> Column:
    same = [F.col(_quoted(_KEY + key)) == F.lit(value) for key, value in sorted(heavy.values.items())]
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


def _kept(view: AsOfView, pruning: Pruning) -> DataFrame:
    """Rows that some spine row may see, as far as the view's own columns tell."""
    event = _quoted(view.event_timestamp)
    kept = [f"{_quoted(key)} IS NOT NULL" for key in view.keys]
    if view.available_timestamp is not None:  # `greatest` leaves nulls out: such a row would be usable at once
        kept.append(f"{event} IS NULL OR {_quoted(view.available_timestamp)} IS NOT NULL")
    if pruning.latest is not None:
        last = _instant(pruning.latest) - _micros(view.offset)
        kept.append(f"{event} IS NULL OR {event} <= timestamp_micros({last}L)")
    if pruning.earliest is not None and view.ttl is not None:
        first = _instant(pruning.earliest) - _micros(view.offset) - _micros(view.ttl)
        kept.append(f"{event} IS NULL OR {event} >= timestamp_micros({first}L)")
    rows = view.frame.where(_all(kept))
    for key in view.keys:
        if key in pruning.keys:
            rows = rows.where(F.col(_quoted(key)).isin(list(pruning.keys[key])))
    return rows


@dataclass(frozen=True)
class _Chain:
    """A chain of nested keys: rows lie partitioned by the shortest ones, and by piece where a key of it is cut.

    Rows of one entity share their keys (and the piece); a hash of the keys stands before them, since Spark sorts by
    the bits of the first column and looks into the rows only where these are equal. The hash of a longer key begins
    with the bits of the shorter ones, so that the rows sorted for one level lie nearly sorted for the next.
    """

    levels: list[tuple[str, ...]]
    heavy: list[HeavyKey]

    def by(self, level: int) -> list[str]:
        return [*_key_columns(self.levels[level]), *([_CUT] if self.heavy else [])]

    def _below(self, level: int) -> int:
        """How many bits of the hash lie below those of a level."""
        return 64 - 64 // len(self.levels) * (level + 1) if level + 1 < len(self.levels) else 0

    def hash(self, level: int) -> str:
        parts = []
        above = 64
        for i, keys in enumerate(self.levels[: level + 1]):
            added = [key for key in keys if i == 0 or key not in self.levels[i - 1]]
            bits = f"shiftrightunsigned(xxhash64({', '.join(_key_columns(added))}), {64 - above + self._below(i)})"
            parts.append(f"shiftleft({bits}, {self._below(i)})")
            above = self._below(i)
        return f"{' | '.join(parts)} AS {_HASH}"

    def shorter_hash(self, level: int) -> str:
        """The hash of a level out of that of the next longer one."""
        below = self._below(level)
        return f"shiftleft(shiftright({_HASH}, {below}), {below}) AS {_HASH}"


def _prepared(view: AsOfView, name: str, level: int, chain: _Chain, pruning: Pruning) -> DataFrame:
    """A view's rows as (keys, hash, order, one struct called `name`)."""
    keys = chain.levels[level]
    event = _quoted(view.event_timestamp)
    available = event if view.available_timestamp is None else _quoted(view.available_timestamp)
    usable = f"unix_micros(greatest({event}, {available}))" if available != event else f"unix_micros({event})"
    at = f"({usable} + {_micros(view.offset)}L) * {_RANKS} + {_VIEW_RANK[view.boundary]}"
    content = {_EVENT: event, _AVAILABLE: available}
    content |= {_SEQUENCE: _quoted(view.sequence)} if view.sequence is not None else {}
    content |= {output: _quoted(source) for output, source in view.outputs.items()}
    rows = _kept(view, pruning).selectExpr(
        *(_key(view.frame, key, _quoted(key)) for key in keys),
        f"IF({event} IS NULL, {_BEGINNING * _RANKS}L, {at}) AS {_AT}",
        f"struct({', '.join(f'{source} AS {_quoted(field)}' for field, source in content.items())}) AS {name}",
    )
    prepared = rows.selectExpr(*_key_columns(keys), chain.hash(level), _AT, name)
    if not chain.heavy:
        return prepared
    cut = prepared.select("*", _cut(chain.heavy), _pieces(chain.heavy))
    return cut.drop(_PIECES).unionByName(_carried(cut, name, keys))


def _carried(rows: DataFrame, name: str, keys: Sequence[str]) -> DataFrame:
    """For each piece of a heavy key the newest rows of the pieces before it, which come first in it."""
    of_key = [*_key_columns(keys), _HASH]
    newest = (
        rows.where(F.col(_PIECES) > 0)
        .groupBy(*of_key, _CUT)
        .agg(F.max(_PIECES).alias(_PIECES), F.max(name).alias(name))
    )
    later = f"explode(sequence({_CUT} + 1, {_PIECES})) AS {_CUT}"
    return newest.where(f"{_CUT} < {_PIECES}").selectExpr(*of_key, f"{_BEGINNING * _RANKS}L AS {_AT}", name, later)


def _winner(name: str, view: AsOfView) -> str:
    """The running maximum, where its event is not older than the view's time to live."""
    if view.ttl is None:
        return name
    event = f"{name}.{_EVENT}"
    oldest = f"shiftright({_AT}, 2) - {_micros(view.offset) + _micros(view.ttl)}L"
    return f"IF({event} IS NULL OR unix_micros({event}) >= {oldest}, {name}, NULL)"


def _outputs(name: str, view: AsOfView) -> list[str]:
    winner = _winner(name, view)
    found = [f"{winner}.{_quoted(output)} AS {_quoted(output)}" for output in view.outputs]
    if view.event_as is not None:
        found.append(f"{winner}.{_EVENT} AS {_quoted(view.event_as)}")
    if view.age_as is not None:
        age = f"shiftright({_AT}, 2) - unix_micros({winner}.{_EVENT})"
        found.append(f"({age}) / 1e6D AS {_quoted(view.age_as)}")
    return found


def _shuffled(rows: DataFrame, by: Sequence[str]) -> DataFrame:
    """In the session's number of partitions where somebody chose one, else in as many as Spark finds right.

    Spark would make about one per core of them: three uneven ones on two cores, and longer sorts.
    """
    number = rows.sparkSession.conf.get("spark.sql.shuffle.partitions", _UNCHOSEN) or _UNCHOSEN
    chosen = number.isdecimal() and number != _UNCHOSEN
    return rows.repartition(int(number), *by) if chosen else rows.repartition(*by)


def _of_level(rows: DataFrame, views: Mapping[str, AsOfView], level: int, chain: _Chain) -> DataFrame:
    """One window for all the views of one key set; the rows of these views end here."""
    entity = [_HASH, *chain.by(level)]
    window = f"PARTITION BY {', '.join(entity)} ORDER BY {_AT} ROWS UNBOUNDED PRECEDING"
    others = [_quoted(column) for column in rows.columns if column not in views]
    newest = [f"max({name}) OVER ({window}) AS {name}" for name in views]
    is_spine = f"{_AT} & {_RANKS - 1} = {_SPINE_RANK}"
    of_shorter = " OR ".join(f"{column} IS NULL" for column in _key_columns(chain.levels[level]))
    kept = rows.selectExpr(*others, *newest).where(f"{is_spine} OR {of_shorter}" if level else is_spine)
    carried = [chain.shorter_hash(level - 1) if column == _quoted(_HASH) and level else column for column in others]
    return kept.selectExpr(*carried, *(column for name, view in views.items() for column in _outputs(name, view)))


def _join_chain(spine: DataFrame, views: Mapping[str, AsOfView], chain: _Chain, pruning: Pruning) -> DataFrame:
    """One union and one shuffle for the spine and all the views of a chain; then a window per level."""
    longest = len(chain.levels) - 1
    rows = spine.selectExpr(chain.hash(longest), "*")
    if chain.heavy:
        rows = rows.select("*", _cut(chain.heavy))
    at_level = [{m: v for m, v in views.items() if set(v.keys) == set(keys)} for keys in chain.levels]
    for level, named in enumerate(at_level):
        for name, view in named.items():
            rows = rows.unionByName(_prepared(view, name, level, chain, pruning), allowMissingColumns=True)
    rows = _shuffled(rows, chain.by(0))
    for level in range(longest, -1, -1):  # the level of most rows first, while the rows are narrow
        rows = _of_level(rows, at_level[level], level, chain)
    joined = [output for named in at_level for view in named.values() for output in view.all_outputs]
    return rows.selectExpr(*map(_quoted, [*spine.columns, *joined]))


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
    what is known of the spine, so that files of the views are skipped; `heavy` names keys with very many rows. Rows are
    shuffled into `spark.sql.shuffle.partitions` pieces where that is not 200, its default, else as Spark finds right.

    Grain      one row per spine row, duplicates included; its columns and their order untouched, features after them
    Undefined  null where no row was usable; a null key matches nothing
    Raises     SchemaError lists every fault of keys, times and names; LeakageError for an offset that looks ahead;
               RequestError where no view is given, or a heavy key is of no view
    """
    if not views:
        raise RequestError("no view to join. Hint: give at least one feature reference")
    check_join(spine, views, timestamp, heavy)
    keys = sorted({key for view in views for key in view.keys})
    as_key = {key for key in keys if not _widened(spine, key)}
    time = f"coalesce(unix_micros({_quoted(timestamp)}), {_BEGINNING}L) * {_RANKS} + {_SPINE_RANK}"
    others = ", ".join(_quoted(column) for column in spine.columns if column not in as_key)
    rows = spine.selectExpr(
        *(_key(spine, key, _quoted(key)) for key in keys), f"{time} AS {_AT}", f"struct({others}) AS {_SPINE}"
    )
    named = {f"__view_{number}": view for number, view in enumerate(views)}
    for levels in _levels(views):
        chain = _Chain(levels, [one for one in heavy if set(one.values) == set(levels[0])])
        of_chain = {m: v for m, v in named.items() if any(set(v.keys) == set(keys) for keys in levels)}
        rows = _join_chain(rows, of_chain, chain, pruning or Pruning())
    source = {key: _quoted(_KEY + key) for key in as_key}
    return rows.selectExpr(
        *(f"{source.get(c, f'{_SPINE}.{_quoted(c)}')} AS {_quoted(c)}" for c in spine.columns),
        *(_quoted(output) for view in views for output in view.all_outputs),
    )

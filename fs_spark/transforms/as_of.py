"""The point-in-time join: one shuffle of all rows per chain of keys, one row out per spine row.

Spine and views meet in a union ordered by usable time u = greatest(event, available) + offset; a running maximum of
the whole row struct carries the newest usable row to each spine row. The struct begins with (event, available,
sequence), so the winner is decided by content alone, and late availability does no harm (`last` would: 2 % late rows
gave 2.0 % wrong rows). Views of nested keys (country, city, street) lie in one union, shuffled once by the shortest
key, and their levels follow each other with a sort and a window each; no level needs another shuffle.

A key with very many rows is cut by time: a maximum over all earlier rows is the maximum of the pieces' maxima, so each
piece needs only one row more, the newest of all pieces before it.

Columns are written as SQL text: a Column of PySpark costs some five calls into the JVM each, 1.3 s for eight views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegralType, LongType

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.transforms.as_of_row import AT, RANKS, WHICH, Numbered, micros, numbered, quoted
from fs_spark.transforms.as_of_view import AsOfView, HeavyKey, Pruning, check_join
from fs_spark.transforms.ordering import is_binary

__all__ = ["AsOfView", "HeavyKey", "Pruning", "as_of_join"]

_SPINE: Final = "__spine"
_KEY: Final = "__key_"
_HASH: Final = "__hash"
_CUT: Final = "__cut"
_PIECES: Final = "__pieces"
_STATIC: Final = "__static"
_UNCHOSEN: Final = "200"
"""Spark's default of `spark.sql.shuffle.partitions`."""
_SPINE_RANK: Final = 1
_VIEW_RANK: Final[dict[str, int]] = {"at_or_before": 0, "strictly_before": 2}
_BEGINNING: Final = -(2**59)
"""Usable time in microseconds of a static row, and of a spine row without a time, which sees static rows alone."""


def _instant(moment: datetime) -> int:
    return (moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")) // timedelta(microseconds=1)


def _levels(views: Sequence[AsOfView]) -> list[list[tuple[str, ...]]]:
    """Key sets in chains, each key set a superset of the one before: (country), (country, city)."""
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


def _all(conditions: Iterable[str]) -> str:
    return " AND ".join(f"({condition})" for condition in conditions)


def _key_columns(keys: Sequence[str]) -> list[str]:
    return [quoted(_KEY + key) for key in keys]


def _key(frame: DataFrame, key: str, source: str) -> str:
    """A key as a column of its own; integers of all widths meet as bigint."""
    text = f"CAST({source} AS BIGINT)" if _widened(frame, key) else source
    return f"{text} AS {quoted(_KEY + key)}"


def _widened(frame: DataFrame, key: str) -> bool:
    kind = frame.schema[key].dataType
    return isinstance(kind, IntegralType) and not isinstance(kind, LongType)


def _is_key(heavy: HeavyKey) -> Column:
    same = [F.col(quoted(_KEY + key)) == F.lit(value) for key, value in sorted(heavy.values.items())]
    return reduce(lambda a, b: a & b, same)


def _cut(heavy: Sequence[HeavyKey]) -> Column:
    """Which piece of its key a row lies in: how many of the key's cuts are at or before its usable time."""
    piece = F.lit(0)
    for one in heavy:
        passed = [(F.col(AT) >= F.lit(_instant(cut) * RANKS)).cast("int") for cut in sorted(one.cuts)]
        piece = F.when(_is_key(one), reduce(lambda a, b: a + b, passed)).otherwise(piece)
    return piece.alias(_CUT)


def _pieces(heavy: Sequence[HeavyKey]) -> Column:
    """The last piece of a row's key, 0 where it is not cut."""
    last = F.lit(0)
    for one in heavy:
        last = F.when(_is_key(one), F.lit(len(one.cuts))).otherwise(last)
    return last.alias(_PIECES)


def _visible(one: Numbered, keys: Sequence[str], pruning: Pruning) -> str:
    """Which rows of a view some spine row may see, as far as they tell it themselves."""
    view, event = one.view, one.row.event(one.column)
    kept = [f"{key} IS NOT NULL" for key in _key_columns(keys)]
    if view.available_timestamp is not None:  # `greatest` leaves nulls out: such a row would be usable at once
        kept.append(f"{event} IS NULL OR {one.row.available(one.column)} IS NOT NULL")
    if pruning.latest is not None:
        last = _instant(pruning.latest) - micros(view.offset)
        kept.append(f"{event} IS NULL OR {event} <= timestamp_micros({last}L)")
    if pruning.earliest is not None and view.ttl is not None:
        first = _instant(pruning.earliest) - micros(view.offset) - micros(view.ttl)
        kept.append(f"{event} IS NULL OR {event} >= timestamp_micros({first}L)")
    return _all(kept)


def _united(frames: Sequence[DataFrame]) -> DataFrame:
    """In pairs, and pairs of pairs: each union looks at all that lies below it."""
    left = list(frames)
    while len(left) > 1:
        left = [reduce(DataFrame.union, left[i : i + 2]) for i in range(0, len(left), 2)]
    return left[0]


@dataclass(frozen=True)
class _Chain:
    """A chain of nested keys: rows lie partitioned by the shortest ones, and by piece where a key of it is cut.

    Rows of one entity share their keys (and the piece); a hash of the keys stands before them, since Spark sorts by
    the bits of the first column and looks into the rows only where these are equal. The hash of a longer key begins
    with the bits of the shorter ones, so that the rows sorted for one level lie nearly sorted for the next.
    """

    levels: list[tuple[str, ...]]
    heavy: list[HeavyKey]
    collated: frozenset[str]

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
            hashed = [key for key in added if key not in self.collated]  # equal texts need not have equal bytes
            whole = f"xxhash64({', '.join(_key_columns(hashed))})" if hashed else "0L"
            bits = f"shiftrightunsigned({whole}, {64 - above + self._below(i)})"
            parts.append(f"shiftleft({bits}, {self._below(i)})")
            above = self._below(i)
        return f"{' | '.join(parts)} AS {_HASH}"

    def shorter_hash(self, level: int) -> str:
        """The hash of a level out of that of the next longer one."""
        below = self._below(level)
        return f"shiftleft(shiftright({_HASH}, {below}), {below}) AS {_HASH}"


def _group(views: Sequence[Numbered], level: int, chain: _Chain, pruning: Pruning) -> DataFrame:
    """The rows of views of one level and one layout as (keys, order, which view, one struct)."""
    keys = chain.levels[level]
    alike: dict[str, list[DataFrame]] = {}  # by what is kept, so that it is asked once
    for one in views:
        view = one.view
        event, usable = quoted(view.event_timestamp), f"unix_micros({quoted(view.event_timestamp)})"
        if view.available_timestamp is not None and view.available_timestamp != view.event_timestamp:
            usable = f"unix_micros(greatest({event}, {quoted(view.available_timestamp)}))"
        at = f"({usable} + {micros(view.offset)}L) * {RANKS} + {_VIEW_RANK[view.boundary]}"
        rows = view.frame.selectExpr(
            *(_key(view.frame, key, quoted(key)) for key in keys),
            f"IF({event} IS NULL, {_BEGINNING * RANKS}L, {at}) AS {AT}",
            *([] if one.is_alone else [f"'{one.number}' AS {WHICH}"]),
            f"{one.row.struct} AS {one.column}",
        )
        alike.setdefault(_visible(one, keys, pruning), []).append(rows)
    united = _united([_united(frames).where(condition) for condition, frames in alike.items()])
    for key in keys:
        if key in pruning.keys:
            united = united.where(F.col(quoted(_KEY + key)).isin(list(pruning.keys[key])))
    if not chain.heavy:
        return united
    cut = united.select("*", _cut(chain.heavy), _pieces(chain.heavy))
    return cut.drop(_PIECES).unionByName(_carried(cut, views[0], keys))


def _carried(rows: DataFrame, one: Numbered, keys: Sequence[str]) -> DataFrame:
    """For each piece of a heavy key the newest rows of the pieces before it, dated and static, which come first."""
    of_key = [*_key_columns(keys), *([] if one.is_alone else [WHICH])]
    is_static = F.expr(f"{one.row.event(one.column)} IS NULL").alias(_STATIC)
    newest = (
        rows.where(F.col(_PIECES) > 0)
        .groupBy(*of_key, _CUT, is_static)
        .agg(F.max(_PIECES).alias(_PIECES), F.expr(one.row.newest(one.column)).alias(one.column))
    )
    later = f"explode(sequence({_CUT} + 1, {_PIECES})) AS {_CUT}"
    at = f"{_BEGINNING * RANKS}L AS {AT}"
    return newest.where(f"{_CUT} < {_PIECES}").selectExpr(*of_key, at, one.column, later)


def _shuffled(rows: DataFrame, by: Sequence[str]) -> DataFrame:
    """In the session's number of partitions where somebody chose one, else in as many as Spark finds right.

    Spark would make about one per core of them: three uneven ones on two cores, and longer sorts.
    """
    number = rows.sparkSession.conf.get("spark.sql.shuffle.partitions", _UNCHOSEN) or _UNCHOSEN
    chosen = number.isdecimal() and number != _UNCHOSEN
    return rows.repartition(int(number), *by) if chosen else rows.repartition(*by)


def _of_level(rows: DataFrame, views: Sequence[Numbered], level: int, chain: _Chain) -> DataFrame:
    """One window for all the views of one key set; the rows of these views end here."""
    entity = [_HASH, *chain.by(level)]
    window = f"PARTITION BY {', '.join(entity)} ORDER BY {AT} ROWS UNBOUNDED PRECEDING"
    ending = {one.column for one in views}
    others = [quoted(column) for column in rows.columns if column not in ending]
    newest = [f"{best} OVER ({window}) AS {name}" for one in views for name, best in one.newest().items()]
    is_spine = f"{AT} & {RANKS - 1} = {_SPINE_RANK}"
    of_shorter = " OR ".join(f"{column} IS NULL" for column in _key_columns(chain.levels[level]))
    kept = rows.selectExpr(*others, *newest).where(f"{is_spine} OR {of_shorter}" if level else is_spine)
    if any(one.view.is_checked for one in views):
        kept = kept.selectExpr(*others, *(f"{one.winner()} AS {one.name}" for one in views))
    carried = [chain.shorter_hash(level - 1) if column == quoted(_HASH) and level else column for column in others]
    return kept.selectExpr(*carried, *(output for one in views for output in one.outputs()))


def _join_chain(rows: DataFrame, views: Sequence[Numbered], chain: _Chain, pruning: Pruning) -> DataFrame:
    """One union and one shuffle for the spine and all the views of a chain; then a window per level."""
    longest = len(chain.levels) - 1
    columns = list(rows.columns)
    if chain.heavy:
        rows = rows.select("*", _cut(chain.heavy))
    at_level = [[one for one in views if set(one.view.keys) == set(keys)] for keys in chain.levels]
    for level, of_level in enumerate(at_level):
        for column in dict.fromkeys(one.column for one in of_level):
            group = _group([one for one in of_level if one.column == column], level, chain, pruning)
            rows = rows.unionByName(group, allowMissingColumns=True)
    rows = _shuffled(rows, chain.by(0)).selectExpr(chain.hash(longest), "*")
    for level in range(longest, -1, -1):  # the level of most rows first, while the rows are narrow
        rows = _of_level(rows, at_level[level], level, chain)
    return rows.selectExpr(*map(quoted, columns), *(name for one in views for name in one.output_names))


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
    available_timestamp, sequence), of equal ones the greatest content. T is the spine's time less the view's offset.
    Where no dated row is usable, a static one (without an event time) of these keys stands in. A row of states is too
    old by its last event, and a row with an end is usable before it alone.

    Any keys, any number of views, at any key levels. No Spark action is run. `pruning` says
    what is known of the spine, so that files of the views are skipped; `heavy` names keys with very many rows. Rows are
    shuffled into `spark.sql.shuffle.partitions` pieces where that is not 200, its default, else as Spark finds right.

    Grain      one row per spine row, duplicates included; its columns and their order untouched, features after them
    Undefined  null where no row was usable; a null key matches nothing
    Raises     SchemaError lists every fault of keys, times, names, types; LeakageError for an offset that looks ahead;
               RequestError where no view is given, or a heavy key is of no view
    """
    if not views:
        raise RequestError("no view to join. Hint: give at least one feature reference")
    check_join(spine, views, timestamp, heavy)
    outputs = [output for view in views for output in view.all_outputs]
    views = [one for view in views for one in view.by_column()]
    keys = sorted({key for view in views for key in view.keys})
    as_key = {key for key in keys if not _widened(spine, key)}
    time = f"coalesce(unix_micros({quoted(timestamp)}), {_BEGINNING}L) * {RANKS} + {_SPINE_RANK}"
    others = ", ".join(quoted(column) for column in spine.columns if column not in as_key)
    rows = spine.selectExpr(
        *(_key(spine, key, quoted(key)) for key in keys), f"{time} AS {AT}", f"struct({others}) AS {_SPINE}"
    )
    collated = frozenset(key for key in keys if not is_binary(spine.schema[key].dataType))
    every = numbered(views)
    for levels in _levels(views):
        chain = _Chain(levels, [one for one in heavy if set(one.values) == set(levels[0])], collated)
        of_chain = [one for one in every if any(set(one.view.keys) == set(keys) for keys in levels)]
        rows = _join_chain(rows, of_chain, chain, pruning or Pruning())
    source = {key: quoted(_KEY + key) for key in as_key}
    found = {output: name for one in every for name, output in zip(one.output_names, one.view.all_outputs, strict=True)}
    return rows.selectExpr(
        *(f"{source.get(c, f'{_SPINE}.{quoted(c)}')} AS {quoted(c)}" for c in spine.columns),
        *(f"{found[output]} AS {quoted(output)}" for output in outputs),
    )

"""What a Spark task runs on whole groups: sorted rows of a source in, state rows out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark import names as n
from fs_spark.features.attempts import integers
from fs_spark.features.expressions import parse_condition
from fs_spark.features.kinds.aggregate import AggregateTransform, Close
from fs_spark.features.kinds.rolling import RollingTransform
from fs_spark.features.kinds.statistics import StatisticFeature
from fs_spark.features.table_view import TableView
from fs_spark.features.types import ARROW, NUMBERS
from fs_spark.kernels.sliding import NEVER, NONE, Feature, History, Window, state_rows
from fs_spark.transforms.kinds.closes import closing_instants
from fs_spark.transforms.unit_columns import SPAN_US, UNIT_BUCKET
from fs_spark.transforms.units import whole_units

Int64 = NDArray[np.int64]

KEY: Final = "__key_"
EVENT: Final = "__event"
START: Final = "__start"
END: Final = "__end"
ORDER: Final = "__order_"
IDENTITY: Final = "__identity_"
VALUE: Final = "__value_"
FROM: Final = "__from"
EARLIER: Final = "__earlier"
_ROWS_AT_ONCE: Final = 65_536
_CODED: Final = ("distinct", "first", "last", "share", "count")


def _features(view: TableView) -> tuple[StatisticFeature, ...]:
    assert isinstance(view.transform, (RollingTransform, AggregateTransform))
    return view.transform.features


def _close(view: TableView) -> Close | None:
    return view.transform.close if isinstance(view.transform, AggregateTransform) else None


def _conditions(view: TableView) -> list[str]:
    """Every `where`, once."""
    return list(dict.fromkeys(f.where for f in _features(view) if f.where is not None))


def statistics_of(view: TableView) -> list[str]:
    """The columns of the input that statistics, conditions and closes read."""
    known = view.inputs[0].columns
    names = {f.column for f in _features(view) if f.column is not None}
    close = _close(view)
    texts = [*_conditions(view), *([close.where] if close is not None and close.where is not None else [])]
    for text in texts:
        names |= parse_condition(text, columns=known).columns
    if close is not None and close.of is not None:
        names.add(close.of)
    return sorted(names)


@dataclass(frozen=True)
class StateKernel:
    """State rows of a view, group by group, up to its input's watermark."""

    view: TableView
    columns: tuple[str, ...]
    until_us: int
    schema: pa.Schema

    @classmethod
    def of(cls, view: TableView, until_us: int) -> StateKernel:
        fields = [
            ("unit_bucket", pa.int32()), ("unit_from", ARROW["timestamp"]),
            *((key, ARROW[kind]) for key, kind in view.key_types.items()),
            (n.EVENT_TIMESTAMP, ARROW["timestamp"]), (n.AVAILABLE_TIMESTAMP, ARROW["timestamp"]),
            (n.SEQUENCE, pa.int64()), ("last_event_timestamp", ARROW["timestamp"]),
            *((name, ARROW[kind]) for name, kind in view.columns.items()),
        ]  # fmt: skip
        return cls(view, tuple(statistics_of(view)), until_us, pa.schema(fields))

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keys = [f"{KEY}{key}" for key in self.view.keys]
        for table, edges in whole_units(batches, keys, rows=_ROWS_AT_ONCE):
            found = self._groups(table, np.asarray(edges, np.int64), keys)
            if found.num_rows:
                yield from found.combine_chunks().to_batches(max_chunksize=16_384)

    def _groups(self, table: pa.Table, edges: Int64, keys: Sequence[str]) -> pa.Table:
        heads = table.select([*keys, UNIT_BUCKET, FROM]).take(pa.array(edges[:-1]))
        group = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        marks = np.asarray(table[EARLIER].to_numpy(zero_copy_only=False), np.bool_)
        earlier = np.full(len(edges) - 1, NONE, np.int64)
        if marks.any():
            earlier[group[marks]] = integers(table[EVENT])[marks]
            table, group = table.filter(pa.array(~marks)), group[~marks]
        begin = integers(heads[FROM])
        history, coded = self._history(table, group, earlier)
        found = self._states(table, history, coded, int(begin.min()), begin)
        return self._out(heads, keys, table, *found)

    def _history(
        self, table: pa.Table, group: Int64, earlier: Int64
    ) -> tuple[History, dict[str, tuple[int, pa.Array]]]:
        event, rows = integers(table[EVENT]), table.num_rows
        named = [c for c in table.column_names if c.startswith((ORDER, IDENTITY))]
        new = np.ones(rows, np.bool_)
        if named and rows:
            new[1:] = (event[1:] != event[:-1]) | (group[1:] != group[:-1])
            for name in named:
                column = table[name].combine_chunks().dictionary_encode()
                codes = pc.fill_null(column.indices, -1).to_numpy(zero_copy_only=False)
                new[1:] |= codes[1:] != codes[:-1]
        row = np.cumsum(new) - 1 if rows else np.zeros(0, np.int64)
        first = np.flatnonzero(new)
        kinds = self.view.inputs[0].columns
        numbers = [c for c in self.columns if kinds[c] in NUMBERS]
        values = np.full((len(numbers), rows), np.nan)
        for at, name in enumerate(numbers):
            values[at] = np.asarray(table[f"{VALUE}{name}"].cast(pa.float64()).to_numpy(zero_copy_only=False))
        coded: dict[str, tuple[int, pa.Array]] = {}
        codes = np.full((len(self.columns), rows), -1, np.int64)
        for at, name in enumerate(self.columns):
            encoded = table[f"{VALUE}{name}"].combine_chunks().dictionary_encode()
            if pa.types.is_floating(encoded.dictionary.type):  # NaN is null
                odd = pc.is_nan(encoded.dictionary).to_numpy(zero_copy_only=False)
            else:
                odd = np.zeros(len(encoded.dictionary), np.bool_)
            told = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
            codes[at] = np.where((told >= 0) & ~odd[np.maximum(told, 0)], told, -1) if len(odd) else told
            coded[name] = at, encoded.dictionary
        keep = [np.ones(rows, np.bool_)]
        given = {name: table[f"{VALUE}{name}"].combine_chunks() for name in self.columns}
        for text in _conditions(self.view):
            passed = parse_condition(text, columns=kinds).evaluate(given, rows=rows)
            keep.append(pc.fill_null(passed, False).to_numpy(zero_copy_only=False))
        history = History(
            edges=np.searchsorted(group[first], np.arange(len(earlier) + 1)).astype(np.int64),
            event_us=event[first], row=row.astype(np.int64), start_us=integers(table[START]),
            end_us=integers(table[END]), values=values, codes=codes, keep=np.array(keep), earlier_event_us=earlier,
        )  # fmt: skip
        return history, coded

    def _asked(self, coded: dict[str, tuple[int, pa.Array]]) -> tuple[list[Window], list[Feature]]:
        kinds = self.view.inputs[0].columns
        numbers = [c for c in self.columns if kinds[c] in NUMBERS]
        conditions = [None, *_conditions(self.view)]
        age = self.view.transform.max_age_us if isinstance(self.view.transform, RollingTransform) else None
        windows: list[Window] = []
        features: list[Feature] = []
        for one in _features(self.view):
            where = conditions.index(one.where)
            if one.window.kind == "time":
                window = Window(where, span_us=one.window.size)
            elif one.window.kind == "rows":
                window = Window(where, span_us=age, last=one.window.size)
            else:
                window = Window(where)
            if window not in windows:
                windows.append(window)
            statistic, at = one.statistic, windows.index(window)
            if statistic.name == "rows":
                features.append(Feature(at, "rows"))
                continue
            assert one.column is not None
            is_coded = statistic.name in _CODED
            parameter: float | int | None = statistic.at if statistic.name == "quantile" else statistic.half_life_us
            if statistic.name == "share":
                words = coded[one.column][1].to_pylist()
                parameter = words.index(statistic.word) if statistic.word in words else len(words)
            column = coded[one.column][0] if is_coded else numbers.index(one.column)
            features.append(Feature(at, statistic.name, column, parameter, is_coded))
        return windows, features

    def _states(
        self, table: pa.Table, history: History, coded: dict[str, tuple[int, pa.Array]], least: int, begin: Int64
    ) -> tuple[Int64, Int64, Int64, list[Any]]:
        windows, features = self._asked(coded)
        close = _close(self.view)
        found = state_rows(
            history, windows=windows, features=features, from_us=least if close is None else NONE + 1,
            until_us=self.until_us,
        )  # fmt: skip
        group, instant, last, columns = found.group, found.instant_us, found.last_event_us, list(found.columns)
        if close is not None:
            told = {name: table[f"{VALUE}{name}"].combine_chunks() for name in self.columns}
            known = self.view.inputs[0].columns
            at, state = closing_instants(close, history, told, known, group, instant, self.until_us)
            group, instant, last = group[state], at, last[state]
            columns = [column[state] for column in columns]
            same = np.zeros(len(group), np.bool_)  # a close that changes no column gives no row
            same[1:] = (group[1:] == group[:-1]) & (last[1:] == last[:-1])
            for column in columns:
                bits = column.view(np.int64)
                same[1:] &= bits[1:] == bits[:-1]
            group, instant, last = group[~same], instant[~same], last[~same]
            columns = [column[~same] for column in columns]
        kept = instant >= begin[group]
        return group[kept], instant[kept], last[kept], [column[kept] for column in columns]

    def _out(
        self, heads: pa.Table, keys: Sequence[str], table: pa.Table, group: Int64, instant: Int64, last: Int64,
        columns: list[Any],
    ) -> pa.Table:  # fmt: skip
        of = pa.array(group)
        utc = ARROW["timestamp"]
        instants = pa.array(instant, pa.int64()).cast(utc)
        arrays: list[Any] = [
            heads[UNIT_BUCKET].take(of), pa.array(instant - instant % SPAN_US, pa.int64()).cast(utc),
            *(heads[key].take(of) for key in keys),
            instants, instants, pa.array(np.zeros(len(group), np.int64)),
            pa.array(last, pa.int64(), mask=last == NONE).cast(utc),
        ]  # fmt: skip
        for one, values, field in zip(_features(self.view), columns, list(self.schema)[len(arrays) :], strict=True):
            if one.statistic.name in ("first", "last"):
                taken = table[f"{VALUE}{one.column}"].combine_chunks().take(pa.array(values, mask=values < 0))
                arrays.append(taken.cast(field.type))
                continue
            missing = ~np.isfinite(values)
            plain = np.where(missing, 0, values)
            if pa.types.is_integer(field.type):
                arrays.append(pa.array(plain.astype(np.int64), field.type, mask=missing))
            else:
                arrays.append(pa.array(plain, field.type, mask=missing))
        return pa.Table.from_arrays([a if isinstance(a, pa.ChunkedArray) else pa.chunked_array([a]) for a in arrays],
                                    schema=self.schema)  # fmt: skip


__all__ = ["NEVER", "StateKernel", "statistics_of"]

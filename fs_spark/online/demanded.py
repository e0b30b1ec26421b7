"""Features on demand in the process that predicts: the same expressions, in Arrow, over what the views answered."""

from __future__ import annotations

import numbers
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from fs_spark.errors import RequestError
from fs_spark.names import EVENT_TIMESTAMP
from fs_spark.online.records import DemandRecord

if TYPE_CHECKING:
    from fs_spark.features.expressions import Expression

Brought = Mapping[str, object]
_WHOLE: Final = {"int": 2**31, "bigint": 2**63}


@dataclass(frozen=True)
class Demanded:
    """The features of one view on demand that are asked for, and what they are computed from."""

    view: str
    features: tuple[tuple[str, Expression], ...]
    reads: Mapping[str, str]
    brought: Mapping[str, str]
    types: Mapping[str, str]

    @property
    def wanted(self) -> list[str]:
        """The columns that a request or its keys must bring."""
        return [column for shown, column in self.brought.items() if shown != EVENT_TIMESTAMP]

    def fill(self, answers: Sequence[MutableMapping[str, object]], brought: Sequence[Brought], at: datetime) -> None:
        """Puts the features into the answers, of which those of the views are there."""
        import pyarrow as pa

        from fs_spark.features.types import ARROW

        columns = {}
        for shown, kind in self.types.items():
            if shown in self.reads:
                values: list[object] = [answer[self.reads[shown]] for answer in answers]
            elif shown == EVENT_TIMESTAMP:
                values = [at] * len(answers)
            else:
                name = self.brought[shown]
                values = [_typed(row[name], kind, f"request {k}, column {name!r}") for k, row in enumerate(brought)]
            columns[shown] = pa.array(values, ARROW[kind])
        for name, expression in self.features:
            for answer, value in zip(answers, expression.evaluate(columns, rows=len(answers)).to_pylist(), strict=True):
                answer[name] = _in_utc(value)


def demanded_of(record: DemandRecord, shown: Mapping[str, None]) -> Demanded | None:
    """The features of a record among those that are asked for; None where there are none."""
    wanted = [(name, text) for name, text in record.values if name in shown]
    if not wanted:
        return None
    from fs_spark.features.expressions import parse_expression

    types = dict(record.types)
    features = tuple((name, parse_expression(text, types)) for name, text in wanted)
    used = {column for _, expression in features for column in expression.columns}
    return Demanded(
        record.view,
        features,
        {column: name for column, name in record.reads if column in used},
        {column: name for column, name in record.brought if column in used},
        {column: kind for column, kind in record.types if column in used},
    )


def brought_rows(
    demanded: Sequence[Demanded],
    keys: Sequence[Mapping[str, object]],
    request: Brought | Sequence[Brought] | None,
    known: Collection[str],
) -> list[Brought]:
    """What each question brings: its key's columns and those of `request`, one mapping for all or one for each key.

    `known` are the columns that any feature of the service is keyed by or computed from.

    Raises     RequestError for a column that is missing, or that is not known
    """
    wanted = {column: one.view for one in demanded for column in one.wanted}
    if request is None or isinstance(request, Mapping):
        given: list[Brought] = [request or {}] * len(keys)
    else:
        given = list(request)
        if len(given) != len(keys) or not all(isinstance(one, Mapping) for one in given):
            raise RequestError(
                f"`request` has {len(given)} entries for {len(keys)} keys.\n"
                "Hint: give one dict for all keys, or a list with one dict for each."
            )
    found: list[Brought] = []
    for at, (key, one) in enumerate(zip(keys, given, strict=True)):
        unknown = [str(column) for column in one if column not in known]
        if unknown:
            hint = f"the service takes {', '.join(sorted(known))}"
            raise RequestError(f"request {at} has {', '.join(unknown)}, which nothing reads.\nHint: {hint}.")
        lacking = [column for column in wanted if column not in one and column not in key]
        if lacking:
            needed = f"which {wanted[lacking[0]]} computes with"
            raise RequestError(
                f"request {at} lacks {', '.join(lacking)}, {needed}.\n"
                f"Hint: get(..., request={{{lacking[0]!r}: ...}}), or name `features` without it."
            )
        found.append({**key, **one})
    return found


def _typed(value: object, kind: str, label: str) -> object:
    """A value as its type has it. Raises  RequestError"""
    if value is None:
        return None
    if kind == "date" and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    fits: dict[str, Any] = {
        "boolean": isinstance(value, bool),
        "double": isinstance(value, numbers.Real) and not isinstance(value, bool),
        "string": isinstance(value, str),
        "date": isinstance(value, date) and not isinstance(value, datetime),
        "timestamp": isinstance(value, datetime) and value.tzinfo is not None,
    }
    whole = None if isinstance(value, bool) or not isinstance(value, numbers.Integral) else int(value)
    if kind in _WHOLE and whole is not None:
        fits[kind] = -_WHOLE[kind] <= whole < _WHOLE[kind]
    if not fits.get(kind, False):
        zone = ", with a zone" if kind == "timestamp" else ""
        raise RequestError(f"{label} is {kind}{zone}, found {value!r}.\nHint: pass the type that the view's text says.")
    if kind in _WHOLE:
        return whole
    return float(value) if kind == "double" else value  # type: ignore[arg-type]


def _in_utc(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value

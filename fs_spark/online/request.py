"""What a request asks of a published service: a plan, checked keys, and stored rows put into answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, TypeAlias

from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean, zone_hint
from fs_spark.names import EVENT_TIMESTAMP, HIDDEN
from fs_spark.online.codec import KEY_TAGS, RowCodec, RowSchema, Value, join_key, key_part, row_codec
from fs_spark.online.demanded import Demanded, demanded_of
from fs_spark.online.records import LAST_EVENT, VALID_TO, Published, ViewRecord
from fs_spark.online.values import HEAD, order_of, pushed_row, schema_mark

Key: TypeAlias = Mapping[str, object]
Answer: TypeAlias = dict[str, object]
Status = Literal["present", "missing", "default", "stale", "beyond", "down"]
"""Of a view in an answer:

missing   no row is there: the key is unknown, or T is before its first row
default   the same, and a feature of the view has a default, which is answered
stale     the row is past its TTL or its end and is not answered; or it is, but at T the view's SLA has passed since the
          watermark (of states) or since the export
beyond    of states: T is so late that rows may have become due that are not held; what the last row says is given
down      the store could not be reached: defaults are answered
present   all else
"""
_Row: TypeAlias = tuple[Value, ...]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
STATUS: Final = "status"
AGE: Final = "age_s"


def moment_us(moment: datetime | None) -> int:
    """A moment in microseconds since 1970 in UTC; None is now. Raises  RequestError for one without a zone"""
    if moment is None:
        moment = datetime.now(UTC)
    if not isinstance(moment, datetime):
        raise RequestError(f"`at` is a datetime, found {moment!r}.\nHint: datetime(2025, 3, 3, 12, tzinfo=UTC)")
    if moment.tzinfo is None:
        raise RequestError(
            f"`at` is {moment}, without a zone.\n"
            + zone_hint("at.replace(tzinfo=UTC)", "at.replace(tzinfo=ZoneInfo(zone))")
        )
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)


def _time(value: Value) -> object:
    return None if value is None else _EPOCH + timedelta(microseconds=value)  # type: ignore[arg-type]


def _date(value: Value) -> object:
    return None if value is None else date.fromordinal(value + _FIRST_DAY)  # type: ignore[arg-type,operator]


_PYTHON: Final[dict[str, Callable[[Value], object]]] = {"timestamp": _time, "date": _date}
"""What a stored value of a type is in an answer, where it is not what the codec gives."""


@dataclass(frozen=True)
class ViewPlan:
    """What one view gives to the answers: names in the answer and places in its stored rows."""

    position: int
    record: ViewRecord
    decode_rows: Callable[[bytes, int], list[_Row]]
    head: int
    """How many bytes stand before the rows of a key."""
    plain: tuple[tuple[str, int], ...]
    converted: tuple[tuple[str, int, Callable[[Value], object]], ...]
    last: int | None
    """Where the last event of states stands."""
    ends: int | None
    """Where the end of validity stands."""
    since: str | None = None
    status: str | None = None
    """What the view's status is called, where it is asked for."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    schemas: Mapping[int, RowSchema] = field(default_factory=dict)
    """The schemas that pushed rows may have, by their marks."""

    def key_of(self, parts: Mapping[str, bytes | None]) -> bytes | None:
        return join_key([parts[column] for column in self.record.asked_by])

    def fill(self, answer: Answer, value: bytes | None, pushed: bytes | None, at_us: int) -> None:
        """Puts into the answer what the rows of a key say at a moment."""
        rows: Sequence[_Row] = ()
        if value is not None and len(value) != self.head:
            rows = self.decode_rows(value, self.head)
        if pushed is not None:
            rows = self._with_pushed(rows, value, pushed)
        row = self._newest(rows, at_us) if rows else None
        usable = row if row is None or self._holds(row, at_us) else None
        if self.status is not None:
            self._tell(answer, row, usable, at_us)
        if usable is None:
            if row is None:
                answer.update(self.defaults)
            return
        for name, place in self.plain:
            answer[name] = usable[place]
        for name, place, convert in self.converted:
            answer[name] = convert(usable[place])
        if self.since is not None:
            last = usable[self.last]  # type: ignore[index]
            answer[self.since] = None if last is None else (at_us - last) / 1e6  # type: ignore[operator]

    def fill_defaults(self, answer: Answer) -> None:
        """Puts into the answer what is said while the store is down."""
        answer.update(self.defaults)
        if self.status is not None:
            answer[self.status] = "down"

    def _with_pushed(self, rows: Sequence[_Row], value: bytes | None, pushed: bytes) -> Sequence[_Row]:
        """The exported rows and, where it is later than the last of them, the pushed one."""
        order, mark, row = pushed_row(pushed)
        if rows:
            event, available = rows[-1][0], rows[-1][1]
            if event is None or available is None:
                return rows
            _, sequence = HEAD.unpack_from(value or b"")
            if order <= order_of(event, available, sequence):  # type: ignore[arg-type]
                return rows
        schema = self.schemas.get(mark)
        return rows if schema is None else [*rows, _as_now(row_codec(schema), row, self.record.stored)]

    def _newest(self, rows: Sequence[_Row], at_us: int) -> _Row | None:
        """The newest row that T sees."""
        if self.record.boundary is None:
            return rows[-1]
        latest = at_us if self.record.boundary == "at_or_before" else at_us - 1
        for row in reversed(rows):
            event, available = row[0], row[1]
            if event is None:
                return row
            if available is not None and event <= latest and available <= latest:  # type: ignore[operator]
                return row
        return None

    def _holds(self, row: _Row, at_us: int) -> bool:
        """Whether it is neither too old nor past its end."""
        ttl_us = self.record.ttl_us
        if row[0] is None or self.record.boundary is None:
            return True
        if ttl_us is not None:
            stands = row[0 if self.last is None else self.last]
            if stands is None or stands < at_us - ttl_us:  # type: ignore[operator]
                return False
        ends = None if self.ends is None else row[self.ends]
        return ends is None or at_us < ends  # type: ignore[operator]

    def _tell(self, answer: Answer, row: _Row | None, usable: _Row | None, at_us: int) -> None:
        """The status, the event time of the row that is answered, and the age of the one that is there."""
        answer[self.status] = self._status(row, usable, at_us)  # type: ignore[index]
        answer[f"{self.record.prefix}{EVENT_TIMESTAMP}"] = None if usable is None else _time(usable[0])
        stands = None if row is None else row[0 if self.last is None else self.last]
        answer[f"{self.record.prefix}{AGE}"] = None if stands is None else (at_us - stands) / 1e6  # type: ignore[operator]

    def _status(self, row: _Row | None, usable: _Row | None, at_us: int) -> Status:
        record = self.record
        if record.until_us is not None and at_us > record.until_us:
            return "beyond"
        if row is None:
            return "default" if self.defaults else "missing"
        if usable is None:
            return "stale"
        if record.sla_us is not None and (record.fresh_us is None or at_us - record.fresh_us > record.sla_us):
            return "stale"
        return "present"


def _as_now(codec: RowCodec, row: bytes, schema: RowSchema) -> _Row:
    """A row of an earlier schema: columns that came since are null."""
    found = codec.decode(row)
    if codec.schema == schema:
        return found
    values = dict(zip(codec.schema.names, found, strict=True))
    return tuple(values.get(name) for name in schema.names)


@dataclass(frozen=True)
class Plan:
    """A checked request for some features of one publication, whatever the keys."""

    service: str
    columns: Mapping[str, None]
    """The answer's own columns in order, each None: an answer without any row."""
    key_types: Mapping[str, str]
    """Every key column of the service and its type; the type is empty where no stored row told it."""
    views: tuple[ViewPlan, ...]
    demanded: tuple[Demanded, ...] = ()
    shown: tuple[str, ...] = ()
    """The features that were asked for."""
    brought: frozenset[str] = frozenset()
    """What features on demand of the service may ask a request for."""

    @property
    def hidden(self) -> list[str]:
        """What views answer that nobody asked for but expressions."""
        return [name for one in self.demanded for name in one.reads.values() if name not in self.columns]


def plan_of(published: Published, features: Iterable[str] | None, *, with_times: bool, status: bool = False) -> Plan:
    """The plan for the asked features, or for all. Raises  FeatureNotFoundError, RequestError"""
    if isinstance(features, str):
        raise RequestError(f"`features` is a list of names, found {features!r}.\nHint: pass [{features!r}].")
    return _plan(published, None if features is None else tuple(features), with_times, status)


@functools.lru_cache(maxsize=256)
def _plan(published: Published, features: tuple[str, ...] | None, with_times: bool, status: bool) -> Plan:
    record = published.record
    known = dict.fromkeys(name for name in record.names if not name.startswith(HIDDEN))
    shown = known if features is None else dict.fromkeys(features)
    for name in shown:
        if name not in known:
            raise FeatureNotFoundError(
                f"service {record.service!r} has no feature {name!r}.\n{did_you_mean(name, known)}"
            )
    demanded = tuple(found for one in record.on_demand if (found := demanded_of(one, shown)) is not None)
    asked = shown | dict.fromkeys(name for one in demanded for name in one.reads.values())
    key_types: dict[str, str] = {}
    for view, types in zip(record.views, published.key_types, strict=True):
        columns = view.asked_by
        key_types |= zip(columns, types or [key_types.get(key, "") for key in columns], strict=True)
    touched = {view.called for view in record.views if any(name in asked for name in view.outputs)}
    timed = {view.called for view in record.views if any(name in shown for name in view.outputs)}
    plans, about = [], dict[str, None]()
    for position, view in enumerate(record.views):
        tells = view.known is None and view.called in touched  # times and status are of the newest row
        times = with_times and tells and view.called in timed
        plan = _view_plan(
            published,
            position,
            asked,
            with_times=times,
            status=f"{view.prefix}{STATUS}" if tells and status else None,
        )
        if plan.plain or plan.converted or plan.since or plan.status:
            plans.append(plan)
        about |= dict.fromkeys([f"{view.prefix}{EVENT_TIMESTAMP}"] if times else [])
        if plan.status is not None:
            about |= dict.fromkeys([plan.status, f"{view.prefix}{EVENT_TIMESTAMP}", f"{view.prefix}{AGE}"])
    brought = frozenset(column for one in record.on_demand for _, column in one.brought)
    return Plan(record.service, {**shown, **about}, key_types, tuple(plans), demanded, tuple(shown), brought)


def _view_plan(
    published: Published, position: int, asked: Mapping[str, None], *, with_times: bool, status: str | None
) -> ViewPlan:
    view = published.record.views[position]
    defaults = {name: value for name, value in published.record.defaults if name in view.outputs and name in asked}
    place = {
        column: (i, kind) for i, (column, kind) in enumerate(zip(view.stored.names, view.stored.types, strict=True))
    }
    pairs = [(name, *place[column]) for name, column in view.features if name in asked]
    if with_times:
        pairs.append((f"{view.prefix}{EVENT_TIMESTAMP}", *place[EVENT_TIMESTAMP]))
    return ViewPlan(
        position,
        view,
        row_codec(view.stored).decode_rows,
        HEAD.size if published.record.layout > 1 else 0,
        tuple((name, i) for name, i, kind in pairs if kind not in _PYTHON),
        tuple((name, i, _PYTHON[kind]) for name, i, kind in pairs if kind in _PYTHON),
        place[LAST_EVENT][0] if LAST_EVENT in view.times else None,
        place[VALID_TO][0] if VALID_TO in view.times else None,
        view.since if view.since in asked else None,
        status,
        defaults,
        {schema_mark(schema): schema for schema in (*published.schemas, view.stored)},
    )


def key_parts(plan: Plan, keys: Sequence[Key]) -> list[dict[str, bytes | None]]:
    """Each key's columns encoded, all that any view of the service is keyed by. Raises  RequestError"""
    require_list(keys)
    return [_parts(plan, f"key {i}", key) for i, key in enumerate(keys)]


def require_list(keys: Sequence[Key]) -> None:
    """Raises  RequestError for one key in place of a list"""
    if isinstance(keys, str | Mapping):
        raise RequestError(f"`keys` is a list of dicts, found {type(keys).__name__}.\nHint: pass [{keys!r}].")


def _parts(plan: Plan, label: str, key: Key) -> dict[str, bytes | None]:
    needed = plan.key_types
    if not isinstance(key, Mapping):
        raise RequestError(f"{label} is {key!r}.\nHint: a key is a dict of {', '.join(needed)}.")
    missing = [column for column in needed if column not in key]
    if missing:
        raise RequestError(
            f"{label} lacks {', '.join(missing)}; found {', '.join(map(str, key)) or 'nothing'}.\n"
            f"Hint: service {plan.service!r} needs {', '.join(needed)} in every key; None stands for unknown."
        )
    clash = [str(column) for column in key if column in plan.columns]
    if clash:
        raise RequestError(f"{label} has {', '.join(clash)}, as the answer has.\nHint: leave it out of the key.")
    parts: dict[str, bytes | None] = {}
    for column, kind in needed.items():
        value = key[column]
        try:
            part = parts[column] = None if value is None else key_part(_as_date(value) if kind == "date" else value)
        except RequestError as fault:
            raise RequestError(f"{label}, column {column!r}: {fault}") from None
        if part is not None and kind and not part.startswith(KEY_TAGS[kind]):
            raise RequestError(
                f"{label}, column {column!r} is {kind}, found {value!r} ({type(value).__name__}).\n"
                f"Hint: text never equals a number here; pass the type that the offline table has."
            )
    return parts


def _as_date(value: object) -> object:
    """A date, also where JSON could only write it as text."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value

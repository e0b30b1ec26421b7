"""What a request asks of a published service: a plan, checked keys, and stored rows put into answers."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal, TypeAlias

from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean, zone_hint
from fs_spark.names import EVENT_TIMESTAMP, HIDDEN
from fs_spark.online.codec import KEY_TAGS, RowCodec, RowSchema, Value, join_key, key_column, key_part, row_codec
from fs_spark.online.demanded import Demanded, demanded_of
from fs_spark.online.protocol import Found
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
_ANY_SEQUENCE: Final = 2**63 - 1
"""Stands for a sequence that is not known: an exported row of the same times is not earlier than a pushed one."""
STATUS: Final = "status"
AGE: Final = "age_s"


def moment_us(moment: datetime | None) -> int:
    """A moment in microseconds since 1970 in UTC; None is now. Raises  RequestError for one without a zone"""
    if moment is None:
        return time.time_ns() // 1000
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
    codec: RowCodec
    head: int
    """How many bytes stand before the rows of a key."""
    plain: tuple[tuple[str, int], ...]
    copy: Callable[[Answer, _Row], None]
    """Puts what is answered as it is stored, `plain`, into an answer."""
    converted: tuple[tuple[str, int, Callable[[Value], object]], ...]
    stands: int
    """Where the time stands that TTL and age count from: the last event of states, else the event."""
    ttl_us: int | None
    ends: int | None
    """Where the end of validity stands; None where rows have none."""
    since: str | None = None
    status: str | None = None
    """What the view's status is called, where it is asked for."""
    told_by: str | None = None
    """Of a view's known values: what the status of the view is called, where it is asked for."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    schemas: Mapping[int, RowSchema] = field(default_factory=dict)
    """The schemas that pushed rows may have, by their marks."""

    def keys_of(self, columns: Mapping[str, Sequence[bytes | None]]) -> Sequence[bytes | None]:
        """The bytes of many keys from those of their columns."""
        parts = [columns[column] for column in self.record.asked_by]
        return parts[0] if len(parts) == 1 else list(map(join_key, zip(*parts, strict=True)))

    def fill(self, answers: Sequence[Answer], keys: Sequence[bytes | None], found: Found, at_us: int) -> None:
        """Puts into each answer what the rows of its key say at a moment."""
        rows, pushed = found
        head, decode_one, copy = self.head, self.codec.decode_one, self.copy
        one_row = head + self.codec.size_of_one if self.codec.size_of_one and not pushed else -1
        is_timed, latest, oldest = self.record.boundary is not None, self._latest(at_us), self._oldest(at_us)
        stands, ends, is_plain = self.stands, self.ends, self._is_plain
        values = map(rows.get, keys)  # type: ignore[arg-type]
        for answer, key, value in zip(answers, keys, values, strict=True):
            row: _Row | None
            usable: _Row | None
            if value is not None and len(value) == one_row:  # nearly always so; no call, since each counts here
                row = usable = decode_one(value, head)
                event, available = row[0], row[1]
                if is_timed and event is not None:
                    if available is None or event > latest or available > latest:  # type: ignore[operator]
                        row = usable = None
                    elif ends is not None or (last := row[stands]) is None or last < oldest:  # type: ignore[operator]
                        usable = row if self._holds(row, at_us) else None
            else:
                row = self._newest(value, pushed.get(key), latest)  # type: ignore[arg-type]
                usable = row if row is None or self._holds(row, at_us) else None
            if is_plain and usable is not None:
                copy(answer, usable)
            else:
                self._put(answer, row, usable, at_us)

    def _put(self, answer: Answer, row: _Row | None, usable: _Row | None, at_us: int) -> None:
        """The row of a key that is there, and the same if it is answered."""
        if self.status is not None:
            self._tell(answer, row, usable, at_us)
        if usable is None:
            if row is None and self.defaults:
                answer.update(self.defaults)
                if self.told_by is not None:
                    answer[self.told_by] = "default"
            return
        self.copy(answer, usable)
        for name, place, convert in self.converted:
            answer[name] = convert(usable[place])
        if self.since is not None:
            last = usable[self.stands]
            answer[self.since] = None if last is None else (at_us - last) / 1e6  # type: ignore[operator]

    @property
    def _is_plain(self) -> bool:
        """Whether answers are told what is stored, and no more."""
        return self.status is None and self.since is None and not self.converted

    def fill_defaults(self, answer: Answer) -> None:
        """Puts into the answer what is said while the store is down."""
        answer.update(self.defaults)
        if self.status is not None:
            answer[self.status] = "down"

    def _pushed(self, pushed: bytes, latest: int, seen: _Row | None, sequence: int) -> _Row | None:
        """The pushed row where T sees it, and it is later than the exported row that T sees."""
        order, mark, encoded = pushed_row(pushed)
        schema = self.schemas.get(mark)
        if schema is None:
            return None
        if seen is not None:
            event, available = seen[0], seen[1]
            if event is None or available is None or order <= order_of(event, available, sequence):  # type: ignore[arg-type]
                return None
        row = _as_now(row_codec(schema), encoded, self.record.stored)
        return row if _is_seen(row, latest) else None

    def _latest(self, at_us: int) -> int:
        """The latest times of rows that T sees."""
        return at_us if self.record.boundary == "at_or_before" else at_us - 1

    def _oldest(self, at_us: int) -> int:
        """The earliest time that TTL lets a row stand from."""
        return -(2**63) if self.ttl_us is None else at_us - self.ttl_us

    def _newest(self, value: bytes | None, pushed: bytes | None, latest: int) -> _Row | None:
        """The newest row that is seen."""
        rows: Sequence[_Row] = ()
        if value is not None and len(value) != self.head:
            rows = self.codec.decode_rows(value, self.head)
        if self.record.boundary is None:
            return rows[-1] if rows else None
        seen = next((row for row in reversed(rows) if _is_seen(row, latest)), None)
        if pushed is None:
            return seen
        is_last = seen is not None and seen is rows[-1]  # the sequence of others is not stored
        sequence = HEAD.unpack_from(value or b"")[1] if is_last else _ANY_SEQUENCE
        newer = self._pushed(pushed, latest, seen, sequence)
        return seen if newer is None else newer

    def _holds(self, row: _Row, at_us: int) -> bool:
        """Whether it is neither too old nor past its end."""
        if row[0] is None:
            return True
        if self.ttl_us is not None:
            stands = row[self.stands]
            if stands is None or stands < self._oldest(at_us):  # type: ignore[operator]
                return False
        ends = None if self.ends is None else row[self.ends]
        return ends is None or at_us < ends  # type: ignore[operator]

    def _tell(self, answer: Answer, row: _Row | None, usable: _Row | None, at_us: int) -> None:
        """The status, the event time of the row that is answered, and the age of the one that is there."""
        answer[self.status] = self._status(row, usable, at_us)  # type: ignore[index]
        answer[f"{self.record.prefix}{EVENT_TIMESTAMP}"] = None if usable is None else _time(usable[0])
        stands = None if row is None else row[self.stands]
        answer[f"{self.record.prefix}{AGE}"] = None if stands is None else (at_us - stands) / 1e6  # type: ignore[operator]

    def _status(self, row: _Row | None, usable: _Row | None, at_us: int) -> Status:
        record = self.record
        if row is None and self.defaults:
            return "default"
        if record.until_us is not None and at_us > record.until_us:
            return "beyond"
        if row is None:
            return "missing"
        if usable is None:
            return "stale"
        if record.sla_us is not None and (record.fresh_us is None or at_us - record.fresh_us > record.sla_us):
            return "stale"
        return "present"


def _is_seen(row: _Row, latest: int) -> bool:
    """Whether a question may see it: event and availability are not later; one without an event is always seen."""
    event, available = row[0], row[1]
    if event is None:
        return True
    return available is not None and event <= latest and available <= latest  # type: ignore[operator]


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
    whole = {view.called for view in record.views if view.known is None}
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
            told_by=f"{view.prefix}{STATUS}" if status and view.known is not None and view.called in whole else None,
        )
        if plan.plain or plan.converted or plan.since or plan.status:
            plans.append(plan)
        about |= dict.fromkeys([f"{view.prefix}{EVENT_TIMESTAMP}"] if times else [])
        if plan.status is not None:
            about |= dict.fromkeys([plan.status, f"{view.prefix}{EVENT_TIMESTAMP}", f"{view.prefix}{AGE}"])
    brought = frozenset(column for one in record.on_demand for _, column in one.brought)
    return Plan(record.service, {**shown, **about}, key_types, tuple(plans), demanded, tuple(shown), brought)


def _view_plan(
    published: Published,
    position: int,
    asked: Mapping[str, None],
    *,
    with_times: bool,
    status: str | None,
    told_by: str | None,
) -> ViewPlan:
    view = published.record.views[position]
    defaults = {name: value for name, value in published.record.defaults if name in view.outputs and name in asked}
    place = {
        column: (i, kind) for i, (column, kind) in enumerate(zip(view.stored.names, view.stored.types, strict=True))
    }
    pairs = [(name, *place[column]) for name, column in view.features if name in asked]
    is_timed = view.boundary is not None
    if with_times:
        pairs.append((f"{view.prefix}{EVENT_TIMESTAMP}", *place[EVENT_TIMESTAMP]))
    plain = tuple((name, i) for name, i, kind in pairs if kind not in _PYTHON)
    return ViewPlan(
        position,
        view,
        row_codec(view.stored),
        HEAD.size if published.record.layout > 1 else 0,
        plain,
        _copier(plain),
        tuple((name, i, _PYTHON[kind]) for name, i, kind in pairs if kind in _PYTHON),
        place[LAST_EVENT if LAST_EVENT in view.times else EVENT_TIMESTAMP][0],
        view.ttl_us if is_timed else None,
        place[VALID_TO][0] if is_timed and VALID_TO in view.times else None,
        view.since if view.since in asked else None,
        status,
        told_by,
        defaults,
        {schema_mark(schema): schema for schema in (*published.schemas, view.stored)},
    )


def _copier(pairs: Sequence[tuple[str, int]]) -> Callable[[Answer, _Row], None]:
    """What puts the values at some places of a row into an answer under their names.

    Compiled, as `namedtuple` does it: for 20 names 0.4 microseconds, `answer.update(zip(...))` 0.7.
    """
    lines = [f" answer[{name!r}] = row[{place:d}]" for name, place in pairs]
    scope: dict[str, Callable[[Answer, _Row], None]] = {}
    exec("\n".join(["def copy(answer, row):", *lines, " return None"]), scope)
    return scope["copy"]


def encoded_keys(plan: Plan, keys: Sequence[Key]) -> list[Sequence[bytes | None]]:
    """For each view of the plan the keys' bytes; all columns that any view of the service is keyed by are looked at.

    Raises  RequestError
    """
    require_list(keys)
    columns = _plain_columns(plan, keys)
    if columns is None:
        parts = [_parts(plan, f"key {i}", key) for i, key in enumerate(keys)]
        columns = {column: [part[column] for part in parts] for column in plan.key_types}
    return [view.keys_of(columns) for view in plan.views]


def _plain_columns(plan: Plan, keys: Sequence[Key]) -> Mapping[str, Sequence[bytes | None]] | None:
    """Each column of the keys encoded; None where one may be wrong, or needs a closer look."""
    needed = plan.key_types
    if set(map(type, keys)) != {dict}:
        return None
    may_clash = set(map(len, keys)) != {len(needed)} or not needed.keys().isdisjoint(plan.columns)
    if may_clash and not all(map(plan.columns.keys().isdisjoint, keys)):
        return None
    columns: dict[str, Sequence[bytes]] = {}
    for column, kind in needed.items():
        try:
            values = [key[column] for key in keys]
        except KeyError:
            return None
        parts = key_column(kind, list(map(as_date, values)) if kind == "date" else values)
        if parts is None:
            return None
        columns[column] = parts
    return columns


def blank_answers(plan: Plan, keys: Sequence[Key]) -> list[Answer]:
    """The keys' own columns, then the plan's, which are None."""
    if len(set(map(tuple, keys))) == 1 and set(map(type, keys)) == {dict}:
        template: Answer = {**keys[0], **plan.columns}
        return [template | key for key in keys]  # type: ignore[operator]  # a third of what the following takes
    return [{**key, **plan.columns} for key in keys]


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
            part = parts[column] = None if value is None else key_part(as_date(value) if kind == "date" else value)
        except RequestError as fault:
            raise RequestError(f"{label}, column {column!r}: {fault}") from None
        if part is not None and kind and not part.startswith(KEY_TAGS[kind]):
            raise RequestError(
                f"{label}, column {column!r} is {kind}, found {value!r} ({type(value).__name__}).\n"
                f"Hint: text never equals a number here; pass the type that the offline table has."
            )
    return parts


def as_date(value: object) -> object:
    """A date, also where JSON could only write it as text."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value

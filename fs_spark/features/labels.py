"""What a spine of any entity asks: when, of which keys, and the label that is known later."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.features.asked import (
    require_elapsed,
    require_instant,
    require_kind,
    require_one_of,
    require_text,
    require_texts,
)
from fs_spark.features.entity import RESERVED_COLUMNS
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.spans import micros
from fs_spark.features.spine import GroupSplit, NegativeSampling, Split, TimeSplit

LABEL_AVAILABLE: Final = "label_available"
SPLIT: Final = "split"
WEIGHT: Final = "weight"
MOST_INSTANTS: Final = 1_000_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_ZERO: Final = timedelta(0)


@dataclass(frozen=True)
class Ingested:
    """One of the store's own tables as a source, with the options that a view may name of it."""

    source: str
    options: Mapping[str, Any] = field(hash=False)


Place = str | Mapping[str, Any] | Ingested
"""A source of a request: its name, or for one of the store's own tables its name and options, as a view writes them.

`{"source": "attempts", "insertion": "2", "attempts": "latest", "parameters": ["vdd"]}`; the name alone means insertion
1 and, of attempts, the first of each die. Parameters are the tests that products.yaml names for them now.
"""


def _place(what: str, given: Place) -> str | Ingested:
    """Raises RequestError for a table that is no source, and for options that it does not have."""
    if not isinstance(given, Mapping):
        if not isinstance(given, Ingested):
            require_text(what, given)
        return given
    options = {name: value for name, value in given.items() if name != "source"}
    if given.get("source") not in SHIPPED_SOURCES and len(given) == 1 and isinstance(given.get("source"), str):
        return str(given["source"])
    require_one_of(what, given.get("source"), list(SHIPPED_SOURCES))
    for name in options:
        require_one_of(f"option of {given['source']}", name, list(SHIPPED_SOURCES[given["source"]].options))
    for name in ("insertion", "attempts"):
        if name in options:
            require_text(name, options[name])
    if "parameters" in options and options["parameters"] != ():
        require_texts("parameters", options["parameters"])
        options["parameters"] = tuple(options["parameters"])
    chosen, wrong = SHIPPED_SOURCES[given["source"]].options_of(options)
    if wrong:
        text, _, hint = "; ".join(wrong).partition(" Hint: ")
        raise RequestError(f"{text.rstrip('.')}.\nHint: {hint or 'leave it out'}")
    return Ingested(given["source"], chosen)


@dataclass(frozen=True)
class Every:
    """A grid of times: T is `begin`, `begin` + `step` and so on, before `end`, both times with a zone.

    A key is asked from the instant on at which a row of it in the source `of` (absent: the label's own) first counted.

    Raises     RequestError for times without a zone, an end that is not after the begin, a step of zero
    >>> from datetime import UTC
    >>> Every("1 d", datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)).instants
    31
    """

    step: timedelta | str
    begin: datetime
    end: datetime
    of: Place | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", require_elapsed("the step", self.step))
        if not self.step:
            raise RequestError("a grid with a step of zero has no end.\nHint: give a step such as '1 d'")
        begin, end = require_instant("the begin of the grid", self.begin), require_instant("its end", self.end)
        if end <= begin:
            raise RequestError(
                f"the grid ends at {self.end}, not after its begin {self.begin}: it holds no time.\n"
                "Hint: give the earlier time first"
            )
        if self.instants > MOST_INSTANTS:
            raise RequestError(
                f"the grid has {self.instants} times for each key, and at most {MOST_INSTANTS} can be asked.\n"
                "Hint: take a longer step or a shorter time"
            )
        if self.of is not None:
            object.__setattr__(self, "of", _place("of", self.of))

    @property
    def begin_us(self) -> int:
        return require_instant("begin", self.begin)

    @property
    def step_us(self) -> int:
        return micros(require_elapsed("step", self.step))

    @property
    def instants(self) -> int:
        """How many times it has."""
        return -((self.begin_us - require_instant("end", self.end)) // self.step_us)


def _kept_spans(given: object, *named: str) -> None:
    for name in named:
        object.__setattr__(given, name, require_elapsed(name, getattr(given, name)))


def _us(span: timedelta | str) -> int:
    return micros(require_elapsed("span", span))


@dataclass(frozen=True)
class _OfWindow:
    """Rows of a source with T + after < event <= T + until that meet `where`.

    by   key of the request -> column of this source, or names that are alike; absent: as the request says. Fewer keys
         than the request has are allowed: the rows of a card, asked at each of its payments
    lag  how much later than T + until its rows may come: the label is known when the source reaches T + until + lag
    """

    source: Place
    until: timedelta | str = field(kw_only=True)
    after: timedelta | str = field(default=_ZERO, kw_only=True)
    lag: timedelta | str = field(default=_ZERO, kw_only=True)
    where: str | None = field(default=None, kw_only=True)
    by: Mapping[str, str] | Sequence[str] | None = field(default=None, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", _place("the source of the label", self.source))
        _kept_spans(self, "until", "after", "lag")
        if self.until_us <= self.after_us:
            raise RequestError(
                f"the label's window ends {self.until} after T and begins {self.after} after it: it holds no time.\n"
                "Hint: give an `until` that is longer than `after`"
            )
        if self.where is not None:
            require_text("where", self.where)
        if self.by is not None:
            object.__setattr__(self, "by", mapped_names("by", self.by))

    @property
    def after_us(self) -> int:
        return _us(self.after)

    @property
    def until_us(self) -> int:
        return _us(self.until)

    @property
    def lag_us(self) -> int:
        return _us(self.lag)


@dataclass(frozen=True)
class CountLabel(_OfWindow):
    """How many rows of a source come in a window behind T; 0 where the window is over and none came.

    `CountLabel("chargebacks", until="30 d")` of a payment, `CountLabel("logins", until="7 d", where="ok")` of a user.
    """


@dataclass(frozen=True)
class SumLabel(_OfWindow):
    """The sum of a source's column over its rows in a window behind T.

    `SumLabel("sales", "quantity", until="7 d")` of a store and an item. Correctly rounded, whatever the order of
    rows; null where the window is over and no row has a value; of integers an integer, null where that has not 64 bits.
    """

    column: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_text("the column of the sum", self.column)


@dataclass(frozen=True)
class ColumnLabel:
    """A column of the event's own row, as it was known at the request's `as_of`: whether an order was returned.

    lag  how much later than its event a row is final: the label is known when the source reaches T + lag
    """

    column: str
    lag: timedelta | str = _ZERO

    def __post_init__(self) -> None:
        require_text("the column of the label", self.column)
        _kept_spans(self, "lag")

    @property
    def lag_us(self) -> int:
        return _us(self.lag)


Label = CountLabel | SumLabel | ColumnLabel


@dataclass(frozen=True)
class LabelRequest:
    """A question to sources, at each event of one or on a grid of times, with a label that is known later.

    keys       key of the spine -> column of the sources, or the names of keys that are alike
    at         a source: T is the event of each of its rows; or `Every(...)`. The store's own tables are sources too:
               `attempts`, `wafer_runs`, `lots`; see `Place` for their options
    label      `ColumnLabel` of the event's row, `CountLabel` or `SumLabel` of rows behind T
    name       what the label is called
    as_of      what is not known then is not there, revisions too, and a row whose label is not known then is left out,
               never 0. A time with a zone; absent: the newest availability of the label's source
    negatives  a share of the rows without: `false` of a boolean column, 0 of a count; drawn by the keys
    split      `GroupSplit` by some of the keys, or `TimeSplit` of T and `label_available`
    columns    name -> row expression of `event_timestamp` (T), the keys and what the event's source names in
               `known_before`; or names of such columns

    Rows have the keys, `event_timestamp`, the label, `label_available`, `weight` and `split` where asked, and columns.

    Raises     RequestError for what cannot be asked; what only the sources tell is found by `FeatureStore.spine`
    """

    keys: Mapping[str, str] | Sequence[str] = field(hash=False)
    at: Place | Every
    label: Label
    name: str = "label"
    as_of: datetime | None = None
    negatives: NegativeSampling | None = None
    split: Split | None = None
    columns: Mapping[str, str] | Sequence[str] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        require_kind(
            "at", self.at, (str, Mapping, Ingested, Every), "the name of a source, or Every('1 d', begin, end)"
        )
        if not isinstance(self.at, Every):
            object.__setattr__(self, "at", _place("at", self.at))
        require_kind(
            "label", self.label, (_OfWindow, ColumnLabel), "CountLabel(...), SumLabel(...) or ColumnLabel(...)"
        )
        if isinstance(self.label, ColumnLabel) and isinstance(self.at, Every):
            raise RequestError(
                f"a grid has no row to take the column {self.label.column!r} from.\n"
                "Hint: ask at the events of a source, or for a CountLabel or SumLabel"
            )
        if self.as_of is not None:
            require_instant("as_of", self.as_of)
        object.__setattr__(self, "keys", mapped_names("keys", self.keys))
        object.__setattr__(self, "columns", column_texts(self.columns))
        self._check_names()
        self._check_rows()

    def _check_names(self) -> None:
        require_text("name", self.name)
        named = [*self.key_columns, self.name, *self.column_texts]
        odd = [name for name in named if not _NAME.fullmatch(name)]
        if odd:
            raise RequestError(
                f"{', '.join(map(repr, odd))} cannot name a column of the spine.\nHint: use [a-z0-9_], a letter first"
            )
        own = {n.EVENT_TIMESTAMP, LABEL_AVAILABLE, SPLIT, WEIGHT, *RESERVED_COLUMNS}
        taken = sorted({name for name in named if name in own or named.count(name) > 1})
        if taken:
            raise RequestError(
                f"{', '.join(taken)} would be in the spine twice.\nHint: the spine has its keys, event_timestamp, the "
                "label, label_available, weight and split, so give the others names of their own"
            )
        if isinstance(self.label, (CountLabel, SumLabel)):
            unknown = [key for key in self.label.by or () if key not in self.key_columns]
            if unknown:
                raise RequestError(
                    f"the label is by {', '.join(unknown)}, and the keys are {', '.join(self.key_columns)}.\n"
                    "Hint: write by={key of the request: column of the label's source}"
                )

    def _check_rows(self) -> None:
        if self.negatives is not None:
            require_kind("negatives", self.negatives, NegativeSampling, "NegativeSampling(fraction=0.1)")
            if isinstance(self.label, SumLabel):
                raise RequestError(
                    "a sum does not tell which rows are negatives.\n"
                    "Hint: leave negatives out; a count and a boolean column have some"
                )
        if self.split is None:
            return
        require_kind("split", self.split, (GroupSplit, TimeSplit), "GroupSplit(...) by keys, or TimeSplit(...)")
        if isinstance(self.split, GroupSplit):
            unknown = [key for key in self.split_keys if key not in self.key_columns]
            if unknown:
                raise RequestError(
                    f"a split by {', '.join(unknown)} is of no key; the keys are {', '.join(self.key_columns)}.\n"
                    "Hint: split by one or more of the keys, or by time"
                )

    @property
    def key_columns(self) -> dict[str, str]:
        """Key of the spine -> column of the sources."""
        return mapped_names("keys", self.keys)

    @property
    def column_texts(self) -> dict[str, str]:
        """Name of a further column -> its expression."""
        return column_texts(self.columns)

    @property
    def split_keys(self) -> tuple[str, ...]:
        """The keys that a draw decides by."""
        if not isinstance(self.split, GroupSplit):
            return ()
        return (self.split.by,) if isinstance(self.split.by, str) else tuple(self.split.by)

    @property
    def as_of_us(self) -> int | None:
        return None if self.as_of is None else require_instant("as_of", self.as_of)

    @property
    def asked_source(self) -> Place:
        """The source whose rows are the questions, or say from when on a grid asks a key."""
        if not isinstance(self.at, Every):
            return self.at
        assert not isinstance(self.label, ColumnLabel)
        return self.at.of or self.label.source

    @property
    def label_source(self) -> Place:
        return self.asked_source if isinstance(self.label, ColumnLabel) else self.label.source

    @property
    def label_keys(self) -> dict[str, str]:
        """Key of the request -> column of the label's source, of the keys by which its rows count."""
        by = None if isinstance(self.label, ColumnLabel) else self.label.by
        return self.key_columns if by is None else mapped_names("by", by)


def mapped_names(what: str, given: object) -> dict[str, str]:
    """Name -> name, of a mapping or of names that are alike."""
    if isinstance(given, Mapping):
        names = [*given, *given.values()]
        if not given or not all(isinstance(name, str) and name for name in names):
            raise RequestError(f"{what} is {given!r}.\nHint: write {what}={{'customer_id': 'payer_id'}}")
        return dict(given)
    require_kind(what, given, (tuple, list), f"{{'customer_id': 'payer_id'}}, or {what}=['customer_id']")
    require_texts(what, given)
    assert isinstance(given, (tuple, list))
    return {name: name for name in given}


def column_texts(given: object) -> dict[str, str]:
    """Name -> row expression, of a mapping or of the names of columns that are taken as they are."""
    if isinstance(given, Mapping):
        for name, text in given.items():
            require_text("the name of a column", name)
            require_text(f"column {name}", text)
        return dict(given)
    if given in ((), []):
        return {}
    require_kind("columns", given, (tuple, list), "['amount'], or {'weekday': \"day_of_week(event_timestamp, 'UTC')\"}")
    require_texts("columns", given)
    assert isinstance(given, (tuple, list))
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise RequestError(f"columns name {', '.join(twice)} twice.\nHint: name each once")
    return {name: "`" + name.replace("`", "``") + "`" for name in given}

"""Statistics over the rows of a group, as texts of `rolling` and `aggregate` views name them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fs_spark.errors import ExpressionError
from fs_spark.features.expressions import parse_condition
from fs_spark.features.one_or_more import OneOrMore
from fs_spark.features.spans import Window, micros, read_span
from fs_spark.features.types import NUMBERS

Name = Literal[
    "rows", "count", "sum", "mean", "std", "min", "max", "median", "quantile", "slope", "ewm", "distinct", "first",
    "last", "share",
]  # fmt: skip
_PLAIN: Final = ("rows", "count", "sum", "mean", "std", "min", "max", "median", "slope", "distinct", "first", "last")
_OF_NUMBERS: Final = frozenset({"sum", "mean", "std", "min", "max", "median", "quantile", "slope", "ewm"})
_QUANTILE: Final = re.compile(r"q(\d{1,2})(?:_(\d+))?")


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Statistic(Part):
    """One statistic: a word, `q95`, `{quantile: 0.95}`, `{ewm: 7 d}` (half-life) or `{share: word}`."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        span = {"type": "string"}
        return {
            "anyOf": [
                {"enum": list(_PLAIN)},
                {"type": "string", "pattern": "^q\\d{1,2}(_\\d+)?$"},
                {"type": "object", "properties": {"quantile": {"type": "number"}, "ewm": span, "share": {}},
                 "additionalProperties": False, "minProperties": 1, "maxProperties": 1},
            ]
        }  # fmt: skip

    name: Name
    at: float | None = None
    """Of a quantile, 0 to 1."""
    half_life_us: int | None = None
    word: str | int | bool | None = None
    """Of a share."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given in _PLAIN:
                return {"name": given}
            found = _QUANTILE.fullmatch(given)
            if found:
                return {"name": "quantile", "at": float(f"{found[1]}.{found[2] or 0}") / 100}
            known = ", ".join((*_PLAIN, "q95", "{ewm: 7 d}", "{share: word}"))
            raise ValueError(f"{given!r} is not a statistic. Hint: there are {known}")
        if isinstance(given, Mapping) and len(given) == 1:
            ((word, value),) = given.items()
            if word == "quantile":
                return {"name": "quantile", "at": value}
            if word == "ewm":
                span = read_span(value)
                if not isinstance(span, timedelta) or span <= timedelta(0):
                    raise ValueError(f"a half-life of {value!r} cannot be used. Hint: write {{ewm: 7 d}}")
                return {"name": "ewm", "half_life_us": micros(span)}
            if word == "share":
                return {"name": "share", "word": value}
        return given

    @model_validator(mode="after")
    def _fits(self) -> Statistic:
        if self.name == "quantile" and not (self.at is not None and 0 <= self.at <= 1):
            raise ValueError("a quantile is between 0 and 1. Hint: write q95 or {quantile: 0.95}")
        if self.name == "ewm" and not self.half_life_us:
            raise ValueError("ewm needs its half-life. Hint: write {ewm: 7 d}")
        if self.name == "share" and self.word is None:
            raise ValueError("share needs the word that is counted. Hint: write {share: food}")
        return self

    @property
    def text(self) -> str:
        """What names of columns call it: `mean`, `q95`, `ewm7d`, `share_food`."""
        if self.name == "quantile":
            assert self.at is not None
            return "q" + f"{100 * self.at:.10g}".replace(".", "_")
        if self.name == "ewm":
            return "ewm" + Window(kind="time", size=self.half_life_us or 0).text
        if self.name == "share":
            return "share_" + re.sub(r"[^a-z0-9]+", "_", str(self.word).lower()).strip("_")
        return self.name


class StatisticFeature(Part):
    """One column: a statistic of a column of the rows that pass `where`, in a window."""

    name: str
    statistic: Statistic
    column: str | None = None
    window: Window
    where: str | None = None
    """In canonical form."""


class StatisticsText(Part):
    """Several columns at once: each statistic in each window.

    `name` stands for the column in names; it is needed with `where`, whose columns would else be called like those
    without.
    """

    column: str | None = None
    statistics: Annotated[tuple[Statistic, ...], OneOrMore, Field(min_length=1)]
    windows: Annotated[tuple[Window, ...], OneOrMore] = ()
    where: str | None = None
    name: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    description: str = ""
    unit: str = ""


def expand(
    texts: Sequence[StatisticsText], columns: Mapping[str, str], *, prefix: str, windowed: bool
) -> tuple[list[StatisticFeature], list[str]]:
    """The columns that the texts stand for, and what is wrong with them.

    `windowed` views need a window for each; others must have none.
    """
    found: list[StatisticFeature] = []
    faults: list[str] = []
    for text in texts:
        where = None
        if text.where is not None:
            try:
                where = parse_condition(text.where, columns=columns).text
            except ExpressionError as fault:
                faults.append(f"where: {fault}")
            if text.name is None:
                faults.append(
                    f"where {text.where!r} needs a name. Hint: add name: food, for columns such as food__sum_7d"
                )
        if text.column is not None and text.column not in columns:
            faults.append(f"column {text.column!r} is not known. Hint: there are {', '.join(sorted(columns))}")
            continue
        if windowed and not text.windows:
            faults.append("windows are missing. Hint: write windows: [7 d, 100 r]; only an entity that closes has none")
        if not windowed and text.windows:
            faults.append("an aggregate has no windows. Hint: use kind: rolling, or leave windows out")
        for statistic in text.statistics:
            misfit = _misfit(statistic, text.column, columns)
            if misfit:
                faults.append(misfit)
                continue
            for window in text.windows if windowed else (Window(kind="all"),):
                stem = text.name or (text.column if statistic.name != "rows" else None)
                parts = "__".join(part for part in (prefix, stem) if part)
                end = f"{statistic.text}_{window.text}" if window.text else statistic.text
                name = f"{parts}__{end}" if parts else end
                column = None if statistic.name == "rows" else text.column
                found.append(
                    StatisticFeature(name=name, statistic=statistic, column=column, window=window, where=where)
                )
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        faults.append(f"columns given twice: {', '.join(twice)}. Hint: give one of them a `name`")
    return found, faults


def _misfit(statistic: Statistic, column: str | None, columns: Mapping[str, str]) -> str | None:
    if statistic.name == "rows":
        return None
    if column is None:
        return f"{statistic.text} of which column? Hint: add column: amount"
    if statistic.name in _OF_NUMBERS and columns[column] not in NUMBERS:
        return f"{statistic.text} of {column}, which is {columns[column]}. Hint: it is of numbers alone"
    return None


def type_of(feature: StatisticFeature, columns: Mapping[str, str]) -> str:
    """The type of its column."""
    if feature.statistic.name in ("rows", "count", "distinct"):
        return "bigint"
    if feature.statistic.name in ("first", "last"):
        assert feature.column is not None
        return columns[feature.column]
    return "double"

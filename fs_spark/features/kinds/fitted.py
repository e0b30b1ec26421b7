"""`fitted`: values beside what was fitted once, from rows that the text names: scores, bins, codes, limits, offsets."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from fs_spark.features.one_or_more import Names, OneOrMore

Method = Literal["zscore", "robust_z", "bins", "code", "pat", "offset"]
Result = Literal["zscore", "robust_z", "part", "code", "pat_low", "pat_high", "outside_pat", "offset"]
RESULTS: Final[dict[Method, tuple[Result, ...]]] = {
    "zscore": ("zscore",),
    "robust_z": ("robust_z",),
    "bins": ("part",),
    "code": ("code",),
    "pat": ("pat_low", "pat_high", "outside_pat"),
    "offset": ("offset",),
}
"""What a method gives, each a column."""
TYPES: Final[dict[Result, str]] = {
    "zscore": "double", "robust_z": "double", "part": "int", "code": "int", "pat_low": "double", "pat_high": "double",
    "outside_pat": "boolean", "offset": "double",
}  # fmt: skip
Statistic = Literal["mean", "median"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measure(Part):
    """What is fitted of a column in each group: `mean_std`, `median_iqr`, `edges` (of `size` bins of as many rows), or
    `words` (the `size` most frequent ones)."""

    column: str
    of: Literal["mean_std", "median_iqr", "edges", "words"]
    by: tuple[str, ...] = ()
    size: int = 0

    @property
    def key(self) -> str:
        return json.dumps([self.of, self.column, list(self.by), self.size])


class FittedFeature(Part):
    """One column: a result of a column of the rows, in the group of each row.

    `size` is the number of bins or words, `sigmas` how far limits lie from the median; an offset is the statistic of
    the group less that of the wider group `against`.
    """

    name: str
    column: str
    result: Result
    by: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    statistic: Statistic = "median"
    size: int = 0
    sigmas: float = 0.0

    @property
    def measures(self) -> tuple[Measure, ...]:
        if self.result == "part":
            return (Measure(column=self.column, of="edges", by=self.by, size=self.size),)
        if self.result == "code":
            return (Measure(column=self.column, of="words", by=self.by, size=self.size),)
        is_mean = self.result == "zscore" or (self.result == "offset" and self.statistic == "mean")
        own = Measure(column=self.column, of="mean_std" if is_mean else "median_iqr", by=self.by)
        return (own, own.model_copy(update={"by": self.against})) if self.result == "offset" else (own,)


class FitRows(Part):
    """The rows that are fitted: of events in [begin, end), in microseconds, and of these values of columns."""

    begin_us: int | None = None
    end_us: int | None = None
    among: dict[str, tuple[str | int, ...]] = {}


class Fit(Part):
    """What was fitted: by measure, for each group its values; from how many rows, of which versions of tables, and when
    the last of these rows was known."""

    sources: dict[str, int]
    rows: int
    known_us: int
    values: dict[str, list[tuple[list[Any], list[Any]]]]

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


class FittedTransform(Part):
    gives_states: ClassVar[bool] = False
    kind: Literal["fitted"] = "fitted"
    rows: FitRows
    features: tuple[FittedFeature, ...]
    revisions: Literal["all", "first"] = "all"
    fit: Fit | None = Field(default=None, exclude=True)
    """None before `fs-spark fit`; no part of the definition."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        found = {one.key: one for feature in self.features for one in feature.measures}
        return tuple(found.values())


class FitText(Part):
    """Which rows are fitted: `lots`, `rows` (column -> values), or `from` and `to`, which may stand beside `rows`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    lots: Names = ()
    rows: dict[str, Annotated[tuple[str | int, ...], OneOrMore]] = {}
    begin: AwareDatetime | None = Field(default=None, alias="from")
    end: AwareDatetime | None = Field(default=None, alias="to")

    @model_validator(mode="after")
    def _some(self) -> FitText:
        if not (self.lots or self.rows or self.begin or self.end):
            raise ValueError("`fit` names its rows. Hint: write fit: {lots: [L1, L2]} or fit: {from: ..., to: ...}")
        if (self.begin is None) != (self.end is None):
            raise ValueError("`from` and `to` come together: a fit that grows is another fit. Hint: give both")
        if self.begin is not None and self.end is not None and self.begin >= self.end:
            raise ValueError("`from` is not before `to`")
        if self.lots and "lot_id" in self.rows:
            raise ValueError("`lots` are rows of lot_id. Hint: give one of the two")
        return self

    def meaning(self) -> FitRows:
        among = {**({"lot_id": self.lots} if self.lots else {}), **self.rows}
        return FitRows(
            begin_us=_micros(self.begin), end_us=_micros(self.end),
            among={column: tuple(sorted(set(values), key=repr)) for column, values in sorted(among.items())},
        )  # fmt: skip


def _micros(moment: datetime | None) -> int | None:
    from datetime import UTC, timedelta

    return None if moment is None else (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class FittedText(Part):
    """Several columns at once, of one column of the rows: each method gives its own.

    zscore    (x - mean) / std
    robust_z  (x - median) / (IQR / 1.35)
    bins      number of the quantile bin, of `bins` with as many rows each; values beyond the fitted ones count to the
              outer bins
    code      place of a word among the `words` most frequent ones, from 0; -1 for another
    pat       static limits of part average testing: `pat_low`, `pat_high` (median -+ `sigmas` * IQR / 1.35), and
              `outside_pat`
    offset    the `statistic` in the group of `by` less that in the group of `against`

    `by` names the columns of the groups; a row of a group that was not fitted has null.
    """

    column: str
    fit: Annotated[tuple[Method, ...], OneOrMore, Field(min_length=1)]
    by: Names = ()
    against: Names = ()
    statistic: Statistic = "median"
    bins: int = Field(default=10, ge=2, le=1000)
    words: int = Field(default=100, ge=1, le=10_000)
    sigmas: float = Field(default=6.0, gt=0)
    name: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    """Stands for the column in names."""
    description: str = ""
    unit: str = ""

    @model_validator(mode="after")
    def _read(self) -> FittedText:
        needs = {"against": "offset", "statistic": "offset", "bins": "bins", "words": "code", "sigmas": "pat"}
        for word, method in needs.items():
            if word in self.model_fields_set and method not in self.fit:
                raise ValueError(f"`{word}` is of {method}. Hint: leave it out")
        if "offset" in self.fit and not (self.by and set(self.against) < set(self.by)):
            raise ValueError(
                "an offset is of a group against a wider one. Hint: write by: [tester, site], against: [tester]"
            )
        return self

    def features(self, prefix: str) -> list[FittedFeature]:
        found = []
        for method in self.fit:
            for result in RESULTS[method]:
                ending = f"bin{self.bins}" if result == "part" else result
                given: dict[str, Any] = {}
                if method == "offset":
                    given = {"against": self.against, "statistic": self.statistic}
                elif method in ("bins", "code"):
                    given = {"size": self.bins if method == "bins" else self.words}
                elif method == "pat":
                    given = {"sigmas": self.sigmas}
                name = "__".join(part for part in (prefix, self.name or self.column, ending) if part)
                found.append(FittedFeature(name=name, column=self.column, result=result, by=self.by, **given))
        return found

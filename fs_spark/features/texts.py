"""The text of a view of any kind but spatial, as `conf/views/*.yaml` holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fs_spark.features.definition import CLASS_OF, VIEW_NAME
from fs_spark.features.expectations import Expectation
from fs_spark.features.kinds.against import ComparisonsText
from fs_spark.features.kinds.fitted import FittedText, FitText
from fs_spark.features.kinds.statistics import StatisticsText
from fs_spark.features.one_or_more import Names
from fs_spark.features.spans import LONGEST, Span
from fs_spark.features.types import ColumnType


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class InputText(Part):
    """A source or a view that is read.

    The first input gives the rows. Further views are matched by keys, event and sequence; with `as_of` they are joined
    at the row's event, a static one by key. `by` names the column of the rows for a key of the input.
    """

    source: str | None = None
    view: str | None = None
    """`name`, or `name__v1.0`."""
    called: str = Field(default="", alias="as", pattern=r"^([a-z][a-z0-9_]*)?$")
    as_of: bool = False
    optional: bool = False
    by: dict[str, str] = {}
    insertion: str | None = None
    attempts: Literal["first", "latest", "all"] | None = None
    parameters: Names | None = None

    @model_validator(mode="after")
    def _one(self) -> InputText:
        if (self.source is None) == (self.view is None):
            raise ValueError("an input is either a source or a view. Hint: write {source: payments} or {view: name}")
        if self.source is not None and (self.as_of or self.optional):
            raise ValueError("a source gives the rows; as_of and optional are for views")
        return self

    @property
    def options(self) -> dict[str, Any]:
        given = {"insertion": self.insertion, "attempts": self.attempts, "parameters": self.parameters}
        return {name: value for name, value in given.items() if value is not None}


class _One(Part):
    """What reads one source or view."""

    source: str | None = None
    view: str | None = None
    by: dict[str, str] = {}
    insertion: str | None = None
    attempts: Literal["first", "latest", "all"] | None = None
    parameters: Names | None = None

    @model_validator(mode="after")
    def _input(self) -> _One:
        self.inputs  # noqa: B018  its own check
        return self

    @property
    def inputs(self) -> tuple[InputText, ...]:
        return (
            InputText(
                source=self.source, view=self.view, by=self.by, insertion=self.insertion, attempts=self.attempts,
                parameters=self.parameters,
            ),
        )  # fmt: skip


class ColumnsText(_One):
    kind: Literal["columns"]
    revisions: Literal["all", "first"] = "all"


class ExpressionsText(Part):
    """Reads `source`, `view`, or several `inputs`.

    With `on_demand` it has no rows: its features are computed where they are asked for, from those of its inputs, which
    are views, from T (`event_timestamp`), the keys and the columns of `request`, which the question brings.
    """

    kind: Literal["expressions"]
    source: str | None = None
    view: str | None = None
    inputs: tuple[InputText, ...] = ()
    by: dict[str, str] = {}
    insertion: str | None = None
    attempts: Literal["first", "latest", "all"] | None = None
    parameters: Names | None = None
    revisions: Literal["all", "first"] = "all"
    on_demand: bool = False
    request: dict[str, ColumnType] = {}

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, given: Any) -> Any:
        names = ("source", "view", "by", "insertion", "attempts", "parameters")
        if isinstance(given, Mapping) and not given.get("inputs") and ("source" in given or "view" in given):
            one = {name: given[name] for name in names if name in given}
            return {"inputs": [one], **{k: v for k, v in given.items() if k not in names}}
        return given

    @model_validator(mode="after")
    def _some(self) -> ExpressionsText:
        if self.source or self.view or not (self.inputs or self.on_demand):
            raise ValueError("expressions read a source, a view, or `inputs`: one of the three")
        if self.request and not self.on_demand:
            raise ValueError("`request` is what a question brings to a view on demand. Hint: add on_demand: true")
        names = [one.called for one in self.inputs if one.called]
        if len(set(names)) != len(names):
            raise ValueError(f"inputs of one name: {', '.join(sorted(names))}. Hint: give each its own `as`")
        return self


class RollingText(_One):
    kind: Literal["rolling"]
    max_age: Span = LONGEST

    @field_validator("max_age")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        if not 0 < value.total_seconds() <= LONGEST.total_seconds():
            raise ValueError("max_age is more than 0 and at most 365 d")
        return value


class CloseText(Part):
    """`count` rows (or different values of `of`), a row for which `where` holds, or `grace` after the last row."""

    count: int | None = Field(default=None, gt=0)
    of: str | None = None
    grace: Span | None = None
    where: str | None = None

    @model_validator(mode="after")
    def _one(self) -> CloseText:
        given = [self.count is not None, self.grace is not None, self.where is not None]
        if sum(given) != 1:
            raise ValueError("a close is one of count, grace, where")
        if self.of is not None and self.count is None:
            raise ValueError("`of` says what `count` counts. Hint: add count")
        return self


class AggregateText(_One):
    kind: Literal["aggregate"]
    mode: Literal["so_far", "complete"] = "so_far"
    close: CloseText | None = None
    step: str | None = None
    """A finer entity: rows count from its end on."""

    @model_validator(mode="after")
    def _closes(self) -> AggregateText:
        if self.step is not None and (self.mode == "complete" or self.source is None):
            raise ValueError("`step` is of what is so far of a source. Hint: leave it out")
        if (self.mode == "complete") != (self.close is not None):
            raise ValueError("`close` says when a group is complete. Hint: write mode: complete, close: {count: 25}")
        return self


class AgainstText(_One):
    """Reads `attempts`; `population` is an entity that closes."""

    kind: Literal["against"]
    population: str
    revisions: Literal["all", "first"] = "all"


class FittedViewText(Part):
    """Reads a view of events; `fit` names the rows that its values are fitted from, once."""

    kind: Literal["fitted"]
    view: str
    by: dict[str, str] = {}
    fit: FitText
    revisions: Literal["all", "first"] = "all"

    @property
    def inputs(self) -> tuple[InputText, ...]:
        return (InputText(view=self.view, by=self.by),)


class FunctionText(Part):
    """Calls a function of the user's own, `package.module:name`, with frames of its inputs, which are views.

    The first input gives the rows; further ones are given as far as their keys meet these (`by`), with all of their
    times. `code` is package==version or the SHA-256 of the module's file, `files` path -> SHA-256; `unit` is the entity
    whose rows are computed together.
    """

    kind: Literal["function"]
    function: str
    view: str | None = None
    by: dict[str, str] = {}
    inputs: tuple[InputText, ...] = ()
    parameters: dict[str, Any] = {}
    code: str
    files: dict[str, str] = {}
    repeatable: bool = True
    unit: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and not given.get("inputs") and "view" in given:
            one = {name: given[name] for name in ("view", "by") if name in given}
            return {"inputs": [one], **{k: v for k, v in given.items() if k not in ("view", "by")}}
        return given

    @model_validator(mode="after")
    def _some(self) -> FunctionText:
        if not self.inputs or self.view:
            raise ValueError("a function reads a view, or `inputs`: one of the two")
        return self


TransformText = Annotated[
    AgainstText | ColumnsText | ExpressionsText | FittedViewText | FunctionText | RollingText | AggregateText,
    Field(discriminator="kind"),
]


class FeatureText(Part):
    """A column of `columns` (`column`) or of `expressions` (`expression`)."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    column: str | None = None
    expression: str | None = None
    type: ColumnType | None = None
    description: str = ""
    unit: str = ""


class TermsText(Part):
    """Products of columns of a degree: squares and pairs, or cubes and triples."""

    degree: Literal[2, 3]
    of: Names = Field(min_length=1)


class BinsText(Part):
    of: str
    edges: tuple[float, ...] = Field(min_length=2)


_ENTRIES: Final[dict[Any, type[BaseModel]]] = {
    "rolling": StatisticsText, "aggregate": StatisticsText, "against": ComparisonsText, "fitted": FittedText,
}  # fmt: skip
"""What an entry of `features` is, by the kind of view; FeatureText for the others."""


def _listed(value: Any) -> Any:
    """`{power: vdd * idd}` and `[power, {name: ..., ...}]` as a list of entries."""
    if isinstance(value, Mapping):
        return [
            {"name": name, **(dict(body) if isinstance(body, Mapping) else {"expression": body})}
            for name, body in value.items()
        ]
    if isinstance(value, (list, tuple)):
        return [{"name": one} if isinstance(one, str) else one for one in value]
    return value


class ViewText(Part):
    """The text of a view: `transform` says how its columns are made, `features` which."""

    name: str
    version: str = Field(pattern=r"^\d+\.\d+$")
    entity: str
    transform: TransformText
    features: Any = ()
    prefix: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$")
    terms: TermsText | None = None
    bins: dict[str, BinsText] = {}
    one_hot: dict[str, Names] = {}
    knowledge: str | None = None
    """The class that is meant; an earlier one than that of the inputs is refused."""
    ttl: Span | None = None
    description: str = ""
    owner: str = ""
    tags: Names = ()
    sla: Span | None = None
    expectations: tuple[Expectation, ...] = ()

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not VIEW_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid view name. Hint: use [a-z0-9_]; `__` is reserved for versions")
        return name

    @field_validator("knowledge")
    @classmethod
    def _is_class(cls, value: str | None) -> str | None:
        if value is not None and value not in CLASS_OF:
            raise ValueError(f"{value!r} is not a knowledge class. Hint: static, before_event, at_event or after_group")
        return value

    @model_validator(mode="before")
    @classmethod
    def _entries(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("transform"), Mapping):
            return given
        kind = given["transform"].get("kind")
        entry = _ENTRIES.get(kind, FeatureText)
        features = given.get("features", ())
        listed = entry is not FeatureText and not isinstance(features, Mapping)
        features = list(features) if listed else _listed(features)
        if not isinstance(features, list):
            raise ValueError("`features` must be a list")
        return {**given, "features": tuple(entry.model_validate(one) for one in features)}

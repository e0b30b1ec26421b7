"""What a leak check found: faults, what was looked at, and what could not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from fs_spark.errors import LeakageError

Kind = Literal["oracle", "future", "source", "label", "times", "fit", "fitted"]

_MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Leak:
    """One fault of one feature; where it concerns rows, the first of them and how many of those looked at.

    oracle   the value is not the one that the naive loop over the view's rows finds
    future   the value changes with view rows or tests that lie after the row's time
    source   the view's stored row is not what its ingested rows give
    label    the feature, or where it is null, tells the label
    fit      the row's time is before what was fitted for its features was known
    fitted   the row that was chosen is one of those that were fitted
    times    a row was chosen whose event or availability is after the row's time
    """

    kind: Kind
    view: str | None
    feature: str | None
    row: Mapping[str, Any] | None
    detail: str
    rows: int = 1

    def to_text(self) -> str:
        where = " ".join(part for part in (self.view, self.feature) if part)
        of_row = f" at {', '.join(f'{k}={v}' for k, v in self.row.items())}" if self.row else ""
        count = f" ({self.rows} rows)" if self.rows > 1 else ""
        return f"{self.kind}: {where}{of_row}: {self.detail}{count}"


@dataclass(frozen=True)
class Ran:
    """A check that was made, of which view, and over how many rows."""

    check: str
    view: str | None
    rows: int


@dataclass(frozen=True)
class NotRun:
    """A check that could not be made, of which view or feature, and why."""

    check: str
    of: str | None
    reason: str


@dataclass(frozen=True)
class FeatureFigures:
    """A feature beside a binary label: AUC over the `rows` where both are given, and the AUC of being null.

    Undefined  `auc` where a class has too few rows or the feature is no number; `null_auc` where nothing is null
    """

    feature: str
    view: str | None
    rows: int
    auc: float | None
    null_share: float
    null_auc: float | None


@dataclass(frozen=True)
class LeakReport:
    """`ok` where no check that ran found a fault; `not_run` says which checks did not."""

    faults: tuple[Leak, ...]
    ran: tuple[Ran, ...]
    not_run: tuple[NotRun, ...]
    figures: tuple[FeatureFigures, ...] = ()

    def __repr__(self) -> str:
        found = "; ".join(fault.to_text() for fault in self.faults[:_MOST_NAMED]) or "no leak found"
        return f"LeakReport({found}; {len(self.ran)} checks ran, {len(self.not_run)} did not)"

    @property
    def ok(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        return {"ok": self.ok, **asdict(self)}

    def to_text(self) -> str:
        """Readable by a person: faults, then what was looked at, then what was not."""
        lines = [f"{len(self.faults)} faults" if self.faults else "no leak found"]
        lines += [f"- {fault.to_text()}" for fault in self.faults]
        lines += ["looked at:"]
        lines += [f"- {ran.check}{f' of {ran.view}' if ran.view else ''}: {ran.rows} rows" for ran in self.ran]
        if self.not_run:
            lines += ["not looked at:"]
            lines += [f"- {one.check}{f' of {one.of}' if one.of else ''}: {one.reason}" for one in self.not_run]
        return "\n".join(lines)

    def raise_for_faults(self) -> None:
        """Raises LeakageError that names the first faults, where there are any."""
        if self.faults:
            named = "\n".join(f"- {fault.to_text()}" for fault in self.faults[:_MOST_NAMED])
            more = f"\n- and {len(self.faults) - _MOST_NAMED} more" if len(self.faults) > _MOST_NAMED else ""
            raise LeakageError(
                f"the training set leaks, {len(self.faults)} faults:\n{named}{more}\n"
                "Hint: leave these features out or join them anew; `to_text()` of the report lists all"
            )


@dataclass
class Findings:
    """A report while it is made: faults of one kind, view and feature are one, which counts its rows."""

    ran: list[Ran] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)
    figures: list[FeatureFigures] = field(default_factory=list)
    _faults: dict[tuple[Kind, str | None, str | None], Leak] = field(default_factory=dict)

    def add(self, leak: Leak) -> None:
        key = (leak.kind, leak.view, leak.feature)
        first = self._faults.get(key)
        if first is None:
            self._faults[key] = leak
        else:
            self._faults[key] = Leak(*key, first.row, first.detail, first.rows + leak.rows)

    def report(self) -> LeakReport:
        return LeakReport(tuple(self._faults.values()), tuple(self.ran), tuple(self.not_run), tuple(self.figures))

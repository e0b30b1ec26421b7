"""What rows are expected to be: the share of nulls, ranges, values that occur once."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Expectation(BaseModel):
    """One expectation of a source or a view; `action: stop` leaves the old rows in force where it does not hold.

    column      the column, or with `unique` several
    null_share  at most this share of its values is null
    range       least and greatest value, either may be null; a null value is not looked at
    values      every value that is not null is one of them
    unique      no two rows agree in `column` (a column or a list)
    rows        at least so many rows
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str | tuple[str, ...] | None = None
    null_share: float | None = Field(default=None, ge=0, le=1)
    range: tuple[float | None, float | None] | None = None
    values: tuple[str | int | bool, ...] | None = None
    unique: bool = False
    rows: int | None = Field(default=None, ge=0)
    action: Literal["warn", "stop"] = "warn"

    @model_validator(mode="after")
    def _one_claim(self) -> Expectation:
        claims = [self.null_share is not None, self.range is not None, self.values is not None, self.unique,
                  self.rows is not None]  # fmt: skip
        if sum(claims) != 1:
            raise ValueError("an expectation says one thing. Hint: null_share, range, values, unique or rows")
        if self.rows is None and self.column is None:
            raise ValueError("an expectation names its column. Hint: write column: amount")
        if isinstance(self.column, tuple) and not self.unique:
            raise ValueError("several columns can only be `unique` together")
        low, high = self.range or (None, None)
        if low is not None and high is not None and low > high:
            raise ValueError(f"the range {low} to {high} is empty. Hint: write the least value first")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        if self.column is None:
            return ()
        return (self.column,) if isinstance(self.column, str) else self.column

    @property
    def text(self) -> str:
        """What is claimed, in a line."""
        named = ", ".join(self.columns)
        if self.null_share is not None:
            return f"{named}: at most {100 * self.null_share:g} % null"
        if self.range is not None:
            low, high = self.range
            return f"{named} from {'-' if low is None else f'{low:g}'} to {'-' if high is None else f'{high:g}'}"
        if self.values is not None:
            return f"{named} is one of {', '.join(map(str, self.values))}"
        return f"{named} unique" if self.unique else f"at least {self.rows} rows"

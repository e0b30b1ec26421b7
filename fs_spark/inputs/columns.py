"""Columns of a die table in the types of the store; what does not fit is collected and told together."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.inputs import run_clock

Int64 = NDArray[np.int64]

_LONG_AGO: Final = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Times:
    """UTC times (rows,) in microseconds, 0 where not known."""

    us: Int64
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class SourceColumns:
    """Reads columns of `table`; one that cannot be read goes to `faults`, and something of its type is given."""

    table: pa.Table
    faults: list[str] = field(default_factory=list)

    def _column(self, column: str, what: str) -> pa.Array | None:
        places = self.table.schema.get_all_field_indices(column)
        if len(places) == 1:
            found = self.table.column(places[0]).combine_chunks()
            return found.cast(found.type.value_type) if pa.types.is_dictionary(found.type) else found
        if places:
            self.faults.append(f"{what}: {len(places)} columns are named {column!r}")
            return None
        near = difflib.get_close_matches(column, self.table.column_names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.table.column_names)}"
        self.faults.append(f"{what}: there is no column {column!r}. Hint: {hint}")
        return None

    def _fault(self, what: str, column: str, kind: pa.DataType, wanted: str) -> None:
        self.faults.append(f"{what}: column {column!r} is {kind}, not {wanted}")

    def words(self, column: str, what: str) -> pa.Array:
        """Text; whole numbers as their digits, blank as null."""
        rows = self.table.num_rows
        found = self._column(column, what)
        if found is None or pa.types.is_null(found.type):
            return pa.nulls(rows, pa.string())
        if not (
            pa.types.is_string(found.type) or pa.types.is_large_string(found.type) or pa.types.is_integer(found.type)
        ):
            self._fault(what, column, found.type, "text or whole numbers")
            return pa.nulls(rows, pa.string())
        text = pc.utf8_trim_whitespace(found.cast(pa.string()))
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)

    def integers(self, column: str, what: str, kind: pa.DataType) -> pa.Array:
        """Whole numbers, also where they stand in floats, as they do for missing values in many tools."""
        rows = self.table.num_rows
        found = self._column(column, what)
        if found is None or pa.types.is_null(found.type):
            return pa.nulls(rows, kind)
        if pa.types.is_floating(found.type):
            found = pc.if_else(pc.is_nan(found), pa.scalar(None, found.type), found)
        elif not pa.types.is_integer(found.type):
            self._fault(what, column, found.type, "whole numbers")
            return pa.nulls(rows, kind)
        try:
            return found.cast(kind)
        except pa.ArrowInvalid as fault:
            self.faults.append(f"{what}: column {column!r} holds other than whole numbers of {kind}: {fault}")
            return pa.nulls(rows, kind)

    def reals(self, column: str, what: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values as float32, NaN where they are too large for it, and which are not null."""
        rows = self.table.num_rows
        nothing = np.full(rows, np.nan, np.float32), np.zeros(rows, bool)
        found = self._column(column, what)
        if found is None or pa.types.is_null(found.type):
            return nothing
        if not (pa.types.is_floating(found.type) or pa.types.is_integer(found.type) or pa.types.is_decimal(found.type)):
            self._fault(what, column, found.type, "numbers")
            return nothing
        wide = found.cast(pa.float64()).to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            values = wide.astype(np.float32)
        values[np.isinf(values) & np.isfinite(wide)] = np.nan
        return values, found.is_valid().to_numpy(zero_copy_only=False)

    def passes(self, column: str, what: str, pass_values: tuple[str | int, ...]) -> pa.Array:
        rows = self.table.num_rows
        found = self._column(column, what)
        if found is None or pa.types.is_null(found.type) or pa.types.is_boolean(found.type):
            return found.cast(pa.bool_()) if found is not None else pa.nulls(rows, pa.bool_())
        if not pass_values:
            self._fault(what, column, found.type, "boolean. Hint: say which of its values pass in `pass_values`")
            return pa.nulls(rows, pa.bool_())
        text = self.words(column, what)
        return pc.if_else(pc.is_null(text), pa.scalar(None, pa.bool_()),
                          pc.is_in(text, value_set=pa.array([str(v) for v in pass_values])))  # fmt: skip

    def moments(
        self, column: str, what: str, *, zone: str | None, form: str | None, not_before: Times | None = None
    ) -> Times:
        """Times with a zone as they are, others on the wall clock of `zone`, text by the `strptime` format `form`.

        Of two instants the earlier, but where it is known none before `not_before`.
        """
        rows = self.table.num_rows
        nothing = Times(np.zeros(rows, np.int64), np.zeros(rows, bool))
        found = self._column(column, what)
        if found is None or pa.types.is_null(found.type):
            return nothing
        if pa.types.is_string(found.type) or pa.types.is_large_string(found.type):
            found = self._parsed(found.cast(pa.string()), column, what, form)
            if found is None:
                return nothing
        if not pa.types.is_timestamp(found.type):
            self._fault(what, column, found.type, "a time")
            return nothing
        known = found.is_valid().to_numpy(zero_copy_only=False)
        us = found.cast(pa.timestamp("us", tz=found.type.tz), safe=False).cast(pa.int64()).fill_null(0)
        values = us.to_numpy(zero_copy_only=False)
        if found.type.tz is not None:
            return Times(values, known)
        if zone is None:
            self.faults.append(f"{what}: the times of column {column!r} have no zone. Hint: give the entry its `zone`")
            return nothing
        utc = np.zeros(rows, np.int64)
        try:
            least = np.where(not_before.known, not_before.us, _LONG_AGO) if not_before else np.full(rows, _LONG_AGO)
            utc[known] = run_clock.to_utc(values[known], zone, not_before_us=least[known])
        except StdfError as fault:
            self.faults.append(f"{what}: column {column!r}: {fault}")
        return Times(utc, known)

    def _parsed(self, text: pa.Array, column: str, what: str, form: str | None) -> pa.Array | None:
        if form is None:
            self.faults.append(f"{what}: column {column!r} is text. Hint: give the `time_format` of its times")
            return None
        aware = "%z" in form
        encoded = text.dictionary_encode()
        found: list[int | None] = []
        for value in encoded.dictionary.to_pylist():
            if not value.strip():
                found.append(None)
                continue
            try:
                read = datetime.strptime(value.strip(), form)  # noqa: DTZ007  the zone is the entry's
            except ValueError:
                self.faults.append(f"{what}: {value!r} in column {column!r} is no time of the format {form!r}")
                return None
            found.append(run_clock.microseconds(read.astimezone(UTC) if aware else read))
        kind = pa.timestamp("us", tz="UTC" if aware else None)
        return pa.array(found, pa.int64()).cast(kind).take(encoded.indices)

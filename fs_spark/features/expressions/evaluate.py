"""The tree of a row expression over the columns of a batch: Arrow arrays in, one out, no loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.errors import SchemaError
from fs_spark.features.expressions import clocks, numbers, texts
from fs_spark.features.expressions.tree import Call, Column, Constant, Node
from fs_spark.features.expressions.zones import DAY, SECOND

ARROW: Final[dict[str, Any]] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
"""The type of a column's array and of a result."""
_COMPARES: Final[dict[str, Callable[..., Any]]] = {
    "=": pc.equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_UNCHECKED: Final = frozenset(("+", "-", "*", "/", "%", "negative", "abs", "sqrt", "pow", "round"))
_BY_TEXT: Final[dict[str, Callable[..., Any]]] = {
    "starts_with": pc.starts_with,
    "ends_with": pc.ends_with,
    "contains": pc.match_substring,
    "LIKE": pc.match_like,
}


def widest(nodes: Sequence[Node]) -> str:
    """The type in which values of one kind are compared or chosen among."""
    dtypes = {node.dtype for node in nodes}
    return next((one for one in ("double", "bigint") if one in dtypes), nodes[0].dtype)


def literal(node: Node) -> Any:
    """The value of an argument that is written out."""
    assert isinstance(node, Constant), node
    return node.value


def _column(name: str, dtype: str, given: Any, rows: int) -> Any:
    array = given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given
    if not isinstance(array, pa.Array):
        raise SchemaError(f"column {name!r} is a {type(given).__name__}. Hint: an Arrow array")
    if len(array) != rows:
        raise SchemaError(f"column {name!r} has {len(array)} values where the batch has {rows} rows")
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    wanted, found = ARROW[dtype], array.type
    same_kind = {
        "boolean": pa.types.is_boolean,
        "int": pa.types.is_signed_integer,
        "bigint": pa.types.is_signed_integer,
        "double": pa.types.is_floating,
        "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
        "date": pa.types.is_date32,
        "timestamp": lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
    }[dtype](found)
    if not (same_kind or pa.types.is_null(found)):
        hint = " Hint: an instant has a zone, timestamp('us', 'UTC')" if pa.types.is_timestamp(found) else ""
        raise SchemaError(f"column {name!r} is declared as {dtype}, and its array has the type {found}.{hint}")
    try:
        return array if found == wanted else array.cast(wanted)
    except pa.ArrowInvalid as fault:
        raise SchemaError(f"column {name!r} is declared as {dtype}, and a value does not fit it: {fault}") from None


class _Batch:
    def __init__(self, columns: Mapping[str, Any], rows: int) -> None:
        self.given = columns
        self.rows = rows
        self.read: dict[tuple[str, bool], Any] = {}

    def array(self, values: Any) -> Any:
        return pa.repeat(values, self.rows) if isinstance(values, pa.Scalar) else values

    def column(self, node: Column, checked: bool) -> Any:
        key = (node.name, checked)
        if key not in self.read:
            if checked:
                values = self.column(node, False)
                if node.dtype == "double":
                    values = numbers.finite(values)
                elif node.dtype in ("date", "timestamp"):
                    values = clocks.usable(values)
            elif node.name not in self.given:
                raise SchemaError(
                    f"column {node.name!r} is missing. Given: {', '.join(sorted(self.given)) or 'nothing'}."
                )
            else:
                values = _column(node.name, node.dtype, self.given[node.name], self.rows)
            self.read[key] = values
        return self.read[key]

    def value(self, node: Node) -> Any:
        """An array or a scalar of the node's type; doubles are finite."""
        if isinstance(node, Constant):
            return pa.scalar(node.value, ARROW[node.dtype])
        if isinstance(node, Column):
            return self.column(node, True)
        if node.function in _UNCHECKED:
            return numbers.finite(self.unchecked(node))
        return self.call(node)

    def number(self, node: Node) -> Any:
        """A finite double."""
        return numbers.doubles(self.value(node))

    def unchecked(self, node: Node) -> Any:
        """A double that may be infinite or NaN, where it is not finite."""
        if isinstance(node, Column):
            return numbers.doubles(self.column(node, False))
        if not isinstance(node, Call) or node.function not in _UNCHECKED:
            return self.number(node)
        name, given = node.function, node.arguments
        first = self.unchecked(given[0])
        if name in ("+", "-", "*"):
            return {"+": pc.add, "-": pc.subtract, "*": pc.multiply}[name](first, self.unchecked(given[1]))
        if name == "/":
            return pc.divide(first, self.number(given[1]))
        if name == "%":
            return numbers.by_numpy(np.fmod, [first, self.number(given[1])], self.rows)
        if name == "pow":
            return numbers.power(first, literal(given[1]))
        if name == "round":
            return numbers.rounded(first, literal(given[1]) if len(given) > 1 else 0, self.rows)
        return {"negative": pc.negate, "abs": pc.abs, "sqrt": pc.sqrt}[name](first)

    def alike(self, nodes: Sequence[Node]) -> list[Any]:
        """Values in their one type."""
        dtype = widest(nodes)
        return [self.value(node).cast(ARROW[dtype], safe=False) for node in nodes]

    def call(self, node: Call) -> Any:
        name, given = node.function, node.arguments
        if name in _COMPARES:
            return _COMPARES[name](*self.alike(given))
        if name in ("AND", "OR"):
            return (pc.and_kleene if name == "AND" else pc.or_kleene)(*map(self.value, given))
        if name == "NOT":
            return pc.invert(self.value(given[0]))
        if name == "IS NULL":
            return pc.is_null(self.value(given[0]))
        if name == "IN":
            value, *members = self.alike(given)
            known = pc.is_in(value, pa.array([one.as_py() for one in members], value.type))
            return pc.if_else(pc.is_valid(value), known, None)
        if name == "BETWEEN":
            value, low, high = self.alike(given)
            return pc.and_kleene(pc.greater_equal(value, low), pc.less_equal(value, high))
        if name in ("CASE", "coalesce", "nullif", "least", "greatest"):
            return self.choice(node)
        if name == "CAST":
            return self.cast(given[0], node.dtype)
        if name in ("floor", "ceil"):
            return numbers.whole(
                self.number(given[0]), np.floor if name == "floor" else np.ceil, "bigint", self.rows, least=False
            )
        if name == "sign":
            return numbers.finite(pc.sign(self.number(given[0])))
        if name == "bin":
            return numbers.bins(self.number(given[0]), [float(literal(one)) for one in given[1:]], self.rows)
        if name in numbers.OWN:
            return numbers.finite(numbers.by_numpy(numbers.OWN[name], [self.number(one) for one in given], self.rows))
        return self.of_time(node) if given[0].dtype in ("date", "timestamp") else self.of_text(node)

    def choice(self, node: Call) -> Any:
        given = node.arguments
        if node.function == "CASE":
            *values, other = self.alike([*given[1::2], given[-1]])
            conditions = [self.array(self.value(one)) for one in given[:-1:2]]
            names = [str(place) for place in range(len(conditions))]
            return pc.case_when(pc.make_struct(*conditions, field_names=names), *values, other)
        values = self.alike(given)
        if node.function == "coalesce":
            return pc.coalesce(*values)
        if node.function == "nullif":
            return pc.if_else(pc.fill_null(pc.equal(*values), False), None, values[0])
        chosen = pc.min_element_wise if node.function == "least" else pc.max_element_wise
        if node.dtype == "timestamp":  # with a zone it is not known to these
            return chosen(*(one.cast(pa.int64()) for one in values), skip_nulls=True).cast(ARROW[node.dtype])
        return chosen(*values, skip_nulls=True)

    def cast(self, node: Node, dtype: str) -> Any:
        value = self.value(node)
        if node.dtype == dtype:
            return value
        if node.dtype == "string":
            array = self.array(value)
            if dtype in ("int", "bigint"):
                return texts.to_whole(array, dtype)
            if dtype == "double":
                return numbers.finite(texts.to_double(array))
            return {"boolean": texts.to_boolean, "date": texts.to_date, "timestamp": texts.to_timestamp}[dtype](array)
        if dtype == "boolean":
            return pc.not_equal(value, pa.scalar(0, value.type))
        if node.dtype == "double":
            return numbers.whole(value, np.trunc, dtype, self.rows)
        if dtype == "int" and node.dtype == "bigint":
            fits = pc.and_(pc.greater_equal(value, -(2**31)), pc.less(value, 2**31))
            return pc.if_else(fits, value.cast(pa.int32(), safe=False), None)
        return value.cast(ARROW[dtype], safe=False)

    def of_text(self, node: Call) -> Any:
        name, given = node.function, node.arguments
        value = self.value(given[0])
        if name in _BY_TEXT:
            return _BY_TEXT[name](value, literal(given[1]))
        if name == "concat":
            return pc.binary_join_element_wise(*map(self.value, given), "", null_handling="emit_null")
        if name == "substring":
            return texts.substring(value, literal(given[1]), literal(given[2]) if len(given) > 2 else None)
        if name == "trim":
            return pc.utf8_trim(value, " ")
        return {"upper": pc.ascii_upper, "lower": pc.ascii_lower, "length": pc.utf8_length}[name](value)

    def of_time(self, node: Call) -> Any:
        name, given = node.function, node.arguments
        if name in ("seconds_between", "days_between"):
            unit = SECOND if name == "seconds_between" else DAY if given[0].dtype == "timestamp" else 1
            return numbers.finite(clocks.between(self.value(given[0]), self.value(given[1]), unit))
        values = self.array(self.value(given[0]))
        if name in clocks.OF_CLOCK:
            return clocks.OF_CLOCK[name](values, literal(given[1]))
        if name in ("date_of", "start_of_day"):
            return {"date_of": clocks.date_of, "start_of_day": clocks.start_of_day}[name](values, literal(given[1]))
        dates = values if given[0].dtype == "date" else clocks.date_of(values, literal(given[1]))
        return clocks.OF_DATE[name](dates).cast(pa.int32())


def evaluated(tree: Node, dtype: str, columns: Mapping[str, Any], rows: int) -> Any:
    """The values of all rows, as an array of the type."""
    batch = _Batch(columns, rows)
    values = batch.array(batch.value(tree))
    return values if values.type == ARROW[dtype] else values.cast(ARROW[dtype], safe=False)

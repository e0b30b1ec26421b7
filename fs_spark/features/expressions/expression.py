"""A row expression: a text over columns, computed in Arrow and in Spark with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fs_spark.errors import ExpressionError
from fs_spark.features.expressions.functions import BY_NAME
from fs_spark.features.expressions.parse import parsed
from fs_spark.features.expressions.tree import Call, Column, Node, canonical, substituted, walk

if TYPE_CHECKING:
    import pyarrow as pa


_UNREADABLE: Final = frozenset({"array<double>"})


@dataclass(frozen=True, slots=True)
class Expression:
    """What `parse_expression` gives. Two expressions are equal where their trees are.

    tree         constants, columns and calls with their types
    text         the canonical text: blanks, the case of keywords and needless parentheses are gone
    columns      the full names of the columns that it reads
    dtype        boolean, int, bigint, double, string, date or timestamp
    needs_python whether it has a function that Spark SQL does not have to the bit
    """

    tree: Node
    text: str
    columns: frozenset[str]
    dtype: str
    needs_python: bool

    def evaluate(self, columns: Mapping[str, Any], *, rows: int) -> pa.Array:
        """The values of a batch of rows.

        Needs      an Arrow array of `rows` values by the full name of each column that is read; timestamps with a zone
        Raises     SchemaError where one is missing, of another length or type
        """
        from fs_spark.features.expressions.evaluate import evaluated

        return evaluated(self.tree, self.dtype, columns, rows)

    def with_values(self, values: Mapping[str, Expression]) -> Expression:
        """The same with expressions written in place of columns."""
        if not values:
            return self
        return _expression(substituted(self.tree, {name: one.tree for name, one in values.items()}))

    def spark_sql(self) -> str:
        """The same as a Spark SQL expression over columns of these names.

        `m.vdd` is written `m`.`vdd`: the column of a frame with the alias m, or a part of a struct. Timestamps have
        Spark's type TIMESTAMP, instants, and doubles may hold NaN and infinity.
        Raises     ExpressionError where `needs_python`
        """
        if self.needs_python:
            raise ExpressionError(
                f"{self.text!r} has no Spark SQL with the same bits: {', '.join(_in_python(self.tree))} of Java and of "
                "this package differ in the last digit. Hint: evaluate it in batches of Arrow arrays"
            )
        from fs_spark.features.expressions.spark import written

        return written(self.tree)


def _in_python(tree: Node) -> list[str]:
    called = {node.function for node in walk(tree) if isinstance(node, Call)}
    return sorted(name for name in called if BY_NAME[name].needs_python)


def parse_expression(text: str, columns: Mapping[str, str]) -> Expression:
    """The expression of a text.

    `columns` are the names that it may read, with their types; those of a type that expressions do not have, such as
    array<double>, are not visible. A name with dots, `m.vdd`, may be written in full, or as
    `vdd` where no other input has a column of that name.

    Raises     ExpressionError: what is wrong, where in the text, and what may be meant
    >>> product = parse_expression("(VDD*idd)", columns={"VDD": "double", "idd": "int"})
    >>> product.text, product.dtype, sorted(product.columns)
    ('VDD * idd', 'double', ['VDD', 'idd'])
    >>> import pyarrow as pa
    >>> product.evaluate({"VDD": pa.array([1.5, 1e308]), "idd": pa.array([2, 10], pa.int32())}, rows=2).to_pylist()
    [3.0, None]
    """
    return _expression(parsed(text, {name: dtype for name, dtype in columns.items() if dtype not in _UNREADABLE}))


def _expression(tree: Node) -> Expression:
    read = frozenset(node.name for node in walk(tree) if isinstance(node, Column))
    return Expression(tree, canonical(tree), read, tree.dtype, bool(_in_python(tree)))


def parse_condition(text: str, columns: Mapping[str, str]) -> Expression:
    """The same of a condition: its type is boolean. Whoever filters by it takes null as false."""
    condition = parse_expression(text, columns)
    if condition.dtype != "boolean":
        raise ExpressionError(
            f"{condition.text!r} is a {condition.dtype}, and a condition is true or false. Hint: compare it, such as "
            f"{condition.text} IS NOT NULL"
        )
    return condition

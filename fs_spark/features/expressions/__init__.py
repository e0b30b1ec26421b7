"""Row expressions: one text, computed with the same bits in Spark and without it."""

from fs_spark.features.expressions.expression import Expression, parse_condition, parse_expression
from fs_spark.features.expressions.functions import FUNCTIONS, Function
from fs_spark.features.expressions.terms import bins, one_hot, terms

__all__ = [
    "FUNCTIONS",
    "Expression",
    "Function",
    "bins",
    "one_hot",
    "parse_condition",
    "parse_expression",
    "terms",
]

"""Whether rows are what was expected of them: one aggregate over all claims."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fs_spark.features.expectations import Expectation


def _measure(claim: Expectation) -> Column:
    """How many rows break a claim; of `null_share` the rows that are null, of `rows` how many there are."""
    if claim.rows is not None:
        return F.count(F.lit(1))
    value = F.col(f"`{claim.columns[0]}`")
    if claim.null_share is not None:
        return F.count(F.when(value.isNull(), 1))
    if claim.range is not None:
        low, high = claim.range
        outside = F.lit(False)
        outside = outside if low is None else outside | (value < F.lit(low))
        outside = outside if high is None else outside | (value > F.lit(high))
        return F.count(F.when(outside, 1))
    if claim.values is not None:
        return F.count(F.when(value.isNotNull() & ~value.isin(list(claim.values)), 1))
    whole = F.lit(True)
    for name in claim.columns:
        whole = whole & F.col(f"`{name}`").isNotNull()
    several = F.struct(*(F.col(f"`{name}`") for name in claim.columns))
    return F.count(F.when(whole, 1)) - F.count_distinct(F.when(whole, several))


def claim_counts(rows: DataFrame, claims: Sequence[Expectation]) -> DataFrame:
    """One row: `rows`, and for each claim a count, `claim_0` and so on."""
    counted = [_measure(claim).alias(f"claim_{at}") for at, claim in enumerate(claims)]
    return rows.agg(F.count(F.lit(1)).alias("rows"), *counted)


def broken_claims(claims: Sequence[Expectation], counts: Sequence[int], rows: int) -> list[tuple[Expectation, str]]:
    """The claims that do not hold, each with what was found."""
    found = []
    for claim, count in zip(claims, counts, strict=True):
        if claim.rows is not None:
            if rows < claim.rows:
                found.append((claim, f"{claim.text}: there are {rows}"))
        elif claim.null_share is not None:
            if rows and count / rows > claim.null_share:
                found.append((claim, f"{claim.text}: {100 * count / rows:.3g} % of {rows} are"))
        elif count:
            what = "too many" if claim.unique else "are not"
            found.append((claim, f"{claim.text}: {count} of {rows} {what}"))
    return found

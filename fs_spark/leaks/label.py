"""Features that tell the label: equal to it, a one-to-one function of it, too good to be true, or null by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark.errors import RequestError
from fs_spark.leaks.auc import rank_auc
from fs_spark.leaks.report import FeatureFigures, Findings, Leak, NotRun, Ran
from fs_spark.leaks.rows import TrainingRows, plain
from fs_spark.leaks.rules import LeakLimits

_VALUES_HELD: Final = 20_000_000
_CLASSES: Final = 10
"""A label of more values is a number: a feature that follows its order then, not any one-to-one function, is told."""


@dataclass(frozen=True)
class Codes:
    """A column: which rows have a value, the distinct ones in order, and each row's place among them (-1 = none)."""

    given: NDArray[np.bool_]
    values: list[Any]
    code: NDArray[np.int64]
    numbers: NDArray[np.float64] | None

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Codes:
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        kind, numbers = column.type, None
        if pa.types.is_boolean(kind):
            column = column.cast(pa.int8())
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_decimal(kind):
            numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
            given = ~np.isnan(numbers)
            found, inverse = np.unique(numbers[given], return_inverse=True)
            values = [bool(v) for v in found] if pa.types.is_boolean(kind) else found.tolist()
        else:
            given = np.asarray(pc.is_valid(column))
            texts = np.array([str(value) for value in column.drop_null().to_pylist()], dtype=str)
            found, inverse = np.unique(texts, return_inverse=True)
            values = found.tolist()
        code = np.full(len(given), -1, np.int64)
        code[given] = inverse.reshape(-1)
        return cls(given, values, code, numbers)


def _is_decimal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind))


def _label_codes(table: pa.Table, label: str) -> Codes:
    found = Codes.of(table[label])
    if not found.values:
        raise RequestError(f"label {label!r} is null in all {len(table)} rows. Hint: name the column that has outcomes")
    if len(found.values) == 1:
        raise RequestError(
            f"label {label!r} is {found.values[0]!r} in all {int(found.given.sum())} rows that have one.\n"
            "Hint: give rows of both classes; a label of one class is told by every feature"
        )
    return found


def check_label(
    given: TrainingRows, label: str, features: Mapping[str, str | None], limits: LeakLimits, findings: Findings
) -> None:
    """Looks at each feature (name -> its view, where known) beside the label, over a bounded share of the rows.

    Raises     RequestError where the label is null throughout or has one value
    """
    rows = min(limits.label_rows, max(1, _VALUES_HELD // (len(features) + 1)))
    table = plain(given.share([label, *features], rows, limits.seed))
    labels = _label_codes(table, label)
    binary = len(labels.values) == 2
    findings.ran.append(Ran("label", None, int(labels.given.sum())))
    if unlabeled := int((~labels.given).sum()):
        findings.not_run.append(NotRun("label", label, f"null in {unlabeled} rows, which were left out"))
    if not binary:
        findings.not_run.append(NotRun("label auc", None, f"label {label!r} has {len(labels.values)} values, not two"))
    for feature, view in features.items():
        codes = Codes.of(table[feature])
        told = _told(labels, codes, limits)
        figures = _figures(feature, view, labels, codes, limits) if binary else None
        auc = figures.auc if figures is not None else None
        if told is None and figures is not None and auc is not None and max(auc, 1 - auc) >= limits.auc:
            told = f"its AUC with the label is {auc:.4f} over {figures.rows} rows, implausible from {limits.auc} on"
        if told is not None:
            findings.add(Leak("label", view, feature, None, told))
        if figures is None:
            continue
        findings.figures.append(figures)
        if figures.auc is None:
            reason = "no number" if codes.numbers is None else f"fewer than {limits.class_rows} rows of a class have it"
            findings.not_run.append(NotRun("label auc", feature, reason))
        if figures.null_auc is not None and max(figures.null_auc, 1 - figures.null_auc) >= limits.auc:
            detail = f"where it is null tells the label: AUC {figures.null_auc:.4f}, null in {figures.null_share:.1%}"
            findings.add(Leak("label", view, f"{feature} is null", None, detail))


def _figures(feature: str, view: str | None, labels: Codes, codes: Codes, limits: LeakLimits) -> FeatureFigures:
    positive = labels.code == 1
    both = labels.given & codes.given
    fewest = min(int((both & positive).sum()), int((both & ~positive).sum()))
    auc = None
    if codes.numbers is not None and fewest >= limits.class_rows:
        auc = rank_auc(codes.numbers[both], positive[both])
    missing = ~codes.given[labels.given]
    null_auc = None
    of_class = positive[labels.given]
    if missing.any() and min(int(of_class.sum()), int((~of_class).sum())) >= limits.class_rows:
        null_auc = rank_auc(missing.astype(np.float64), of_class)
    return FeatureFigures(feature, view, int(both.sum()), auc, float(missing.mean()), null_auc)


def _told(labels: Codes, codes: Codes, limits: LeakLimits) -> str | None:
    """How the feature is the label, where it is, over the rows that have both."""
    both = labels.given & codes.given
    of_label, of_feature = labels.code[both], codes.code[both]
    pairs = np.unique(np.stack([of_label, of_feature]), axis=1)
    mapped, distinct = len(np.unique(of_label)), len(np.unique(of_feature))
    if mapped < 2 or not pairs.shape[1] == mapped == distinct:
        return None
    within = f"in all {int(both.sum())} rows that have both"
    image = {labels.values[a]: codes.values[b] for a, b in pairs.T}
    few = len(labels.values) <= _CLASSES
    if few and min(np.bincount(of_label)[np.unique(of_label)]) < limits.class_rows:
        return None
    if not few and (int(both.sum()) < 2 * limits.class_rows or not _is_ordered(pairs[1])):
        return None
    if all(value == other for value, other in image.items()):
        return f"equals the label {within}"
    if mapped == 2 and set(image) == set(image.values()):
        return f"is the label's negation {within}"
    if few:
        told = ", ".join(f"{value!r} -> {other!r}" for value, other in image.items())
        return f"is a one-to-one function of the label {within}: {told}"
    return f"follows the label's order exactly {within}"


def _is_ordered(code: NDArray[np.int64]) -> bool:
    """Of the feature's values, in the order of the label's."""
    step = np.diff(code)
    return bool((step > 0).all() or (step < 0).all())

"""What a spine asks: the question and its label, which rows, how many passes, and the sides of a split.

A draw decides what is left to chance: the first 13 hexadecimal digits of the SHA-256 of a text, a number below 2^52.
The text is `negatives` or `split`, then the seed, then each key after its length in characters, all joined by `:`, as
in `split:7:2:L1:3:W01`. So it depends on the keys and the seed alone, and can be made again anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final, Literal

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.features.asked import require_kind, require_one_of, require_text, require_texts

Question = Literal["die_test", "next_insertion", "lot_final"]
Attempts = Literal["first", "final", "all"]

QUESTIONS: Final = ("die_test", "next_insertion", "lot_final")
DIE_LABELS: Final = ("fails", n.PASSED, n.HARD_BIN, n.SOFT_BIN)
LOT_LABELS: Final = ("final_yield", "first_pass_yield")
EMBARGO: Final = "embargo"
"""What stands in `split` for rows that are on no side."""
DRAWS: Final = 1 << 52
_USUAL_SIDES: Final[dict[int, tuple[str, ...]]] = {1: ("train", "test"), 2: ("train", "validation", "test")}


@dataclass(frozen=True)
class NegativeSampling:
    """All fails, and of the passes the dies whose draw falls below `fraction`.

    The rows get a `weight`: 1 for a fail, 1 / fraction for a pass, so that weighted counts have the classes' shares
    again. All attempts of a die are kept or left out together. A fraction, and not a number of passes per fail: that
    would change the rows of a lot whenever another lot arrives.

    Raises     RequestError for a fraction outside (0, 1]
    """

    fraction: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not _is_share(self.fraction):
            raise RequestError(
                f"a fraction of {self.fraction!r} of the passes cannot be kept.\n"
                "Hint: give a number above 0 and at most 1, or no negatives to keep all passes"
            )
        _require_seed(self.seed)


@dataclass(frozen=True)
class GroupSplit:
    """Sides by a draw of keys: all rows with the same ones lie on one side.

    by         of a SpineRequest `lot` or `wafer`; the latter lets two wafers of one lot be on two sides. Of a
               LabelRequest one or more of its keys, drawn in the order in which they are given
    fractions  side -> its share of the keys; their order does not matter

    Raises     RequestError for fractions that are not positive or do not sum to 1, or a side called `embargo`
    """

    by: str | Sequence[str]
    fractions: Mapping[str, float] = field(hash=False)
    seed: int = 0

    def __post_init__(self) -> None:
        if str(self.by) == "time":
            raise RequestError("a split by time has no fractions.\nHint: give TimeSplit(cuts=...)")
        if not isinstance(self.by, str):
            require_texts("by", self.by)
            object.__setattr__(self, "by", tuple(self.by))
        require_kind("fractions", self.fractions, Mapping, "{'train': 0.8, 'test': 0.2}")
        _require_sides(tuple(self.fractions))
        object.__setattr__(self, "fractions", dict(self.fractions))
        for side, fraction in self.fractions.items():
            if not _is_share(fraction):
                raise RequestError(
                    f"side {side!r} has the fraction {fraction!r}.\n"
                    "Hint: give a number above 0 and at most 1, or leave the side out"
                )
        total = math.fsum(self.fractions.values())
        if abs(total - 1) > 1e-9:
            raise RequestError(
                f"the fractions {self.fractions} sum to {total:g}.\n"
                "Hint: let them sum to 1, as in {'train': 0.7, 'validation': 0.15, 'test': 0.15}"
            )
        _require_seed(self.seed)

    @property
    def bounds(self) -> list[tuple[str, int]]:
        """The sides by name, each with the number below which its draws lie."""
        sides = sorted(self.fractions)
        sums = [math.fsum(self.fractions[side] for side in sides[: k + 1]) for k in range(len(sides))]
        return [(side, round(total * DRAWS)) for side, total in zip(sides, [*sums[:-1], 1.0], strict=True)]


@dataclass(frozen=True)
class TimeSplit:
    """Sides by time: the first before the first cut, the last after the last cut and its embargo.

    Of a LabelRequest each row is split, from its time T until its label was known. Of a SpineRequest it is the wafer,
    for a question on lots the lot, as a whole: from the earliest time T of its rows until their last label was known.
    Where that span holds a cut, or begins less than `embargo` after one, its rows are on no side: `embargo`. A time
    equal to a cut is behind it; one that is the whole embargo after it is free again.

    The sides are called train and test, with two cuts train, validation and test, unless `sides` names them.

    Raises     RequestError for cuts without a zone, out of order, or no further apart than the embargo
    """

    cuts: tuple[datetime, ...]
    embargo: timedelta = timedelta(0)
    sides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_instants(self.cuts)
        object.__setattr__(self, "cuts", tuple(self.cuts))
        _require_span(self.embargo)
        if any(later <= earlier for earlier, later in pairwise(self.cuts)):
            raise RequestError("the cuts are out of order, or one is given twice.\nHint: give them earliest first")
        if any(later - earlier <= self.embargo for earlier, later in pairwise(self.cuts)):
            raise RequestError(
                f"two cuts are no further apart than the embargo of {self.embargo}: nothing would lie between them.\n"
                "Hint: move the cuts apart or shorten the embargo"
            )
        require_kind("sides", self.sides, (tuple, list), "('train', 'test')")
        sides = tuple(self.sides) or _USUAL_SIDES.get(len(self.cuts), ())
        if len(sides) != len(self.cuts) + 1:
            raise RequestError(
                f"{len(self.cuts)} cuts make {len(self.cuts) + 1} sides, and {len(sides)} are named.\n"
                "Hint: name one side more than there are cuts, earliest first"
            )
        _require_sides(sides)
        object.__setattr__(self, "sides", sides)


Split = GroupSplit | TimeSplit


@dataclass(frozen=True)
class SpineRequest:
    """A usual question to the store's own tests; `fs_spark.transforms.spines.spine_of` gives its rows.

    question           what is predicted, and the time T at which                            rows
    `die_test`         a die's test, from what was known before its touchdown:               one per attempt
                       T is the attempt's own `event_timestamp`
    `next_insertion`   a die's test, before its wafer is tested at `insertion`, from the     one per die
                       whole of `earlier_insertion`: T is the start of the wafer's first
                       run at `insertion`
    `lot_final`        a lot's yield at `insertion`: T is the start of its first run there   one per lot

    label              of dies `fails` (default), `passed`, `hard_bin` or `soft_bin`, of lots `final_yield` (default)
                       or `first_pass_yield`
    attempts           of each die the `first` (default of `die_test`), the `final` (default of `next_insertion`), or,
                       in `die_test` alone, `all`; the label of a lot says it by itself. Which attempt is the final one
                       is known in hindsight only
    earlier_insertion  must have ended before T, with all that it gave known; a later retest of it counts as not ended.
                       `next_insertion` needs it; with `lot_final` it is of the whole lot
    unended            rows for which it has not are `left_out` (default), or `told`: all rows, and a column
                       `earlier_ended`
    lots, products     only these, by the row's own product; a filter leaves rows out and changes none, but for yield
                       and counts of a lot, which are of those products

    Raises     RequestError for what cannot be asked; it says what can
    """

    question: Question
    label: str | None = None
    insertion: str = "1"
    earlier_insertion: str | None = None
    unended: Literal["left_out", "told"] = "left_out"
    attempts: Attempts | None = None
    lots: Sequence[str] | None = None
    products: Sequence[str] | None = None
    negatives: NegativeSampling | None = None
    split: Split | None = None

    def __post_init__(self) -> None:
        require_one_of("question", self.question, QUESTIONS)
        require_one_of(f"for {self.question} the label", self.label_column, LOT_LABELS if self.of_lots else DIE_LABELS)
        for name in ("lots", "products"):
            given = getattr(self, name)
            if given is not None:
                require_texts(name, given)
                object.__setattr__(self, name, tuple(given))
        if self.negatives is not None:
            require_kind("negatives", self.negatives, NegativeSampling, "NegativeSampling(fraction=0.1)")
        if self.split is not None:
            require_kind(
                "split", self.split, (GroupSplit, TimeSplit), "GroupSplit(...) by lot or wafer, or TimeSplit(...)"
            )
            if isinstance(self.split, GroupSplit):
                require_one_of("a split by", self.split.by, ("lot", "wafer"))
        self._check_attempts()
        self._check_insertions()
        if self.of_lots and self.negatives is not None:
            raise RequestError("a lot is no pass and no fail: there are no negatives.\nHint: leave negatives out")
        if self.of_lots and isinstance(self.split, GroupSplit) and self.split.by == "wafer":
            raise RequestError("a question on lots cannot be split by wafer.\nHint: split by 'lot', or by time")

    @property
    def of_lots(self) -> bool:
        return self.question == "lot_final"

    @property
    def label_column(self) -> str:
        """What the label is called in the spine."""
        return self.label or ("final_yield" if self.of_lots else "fails")

    @property
    def label_attempts(self) -> Attempts:
        """Which attempts give the label."""
        if self.of_lots:
            return "first" if self.label == "first_pass_yield" else "final"
        return self.attempts or ("first" if self.question == "die_test" else "final")

    def _check_attempts(self) -> None:
        if self.attempts is None:
            return
        if self.of_lots:
            raise RequestError("the label of a lot says which attempts count.\nHint: label='first_pass_yield'")
        require_one_of("attempts", self.attempts, ("first", "final", "all"))
        if self.attempts == "all" and self.question == "next_insertion":
            raise RequestError(
                "before an insertion all attempts of a die have one time T, and would be rows with the same features.\n"
                "Hint: attempts='first' or 'final'"
            )

    def _check_insertions(self) -> None:
        require_text("insertion", self.insertion)
        require_one_of("unended", self.unended, ("left_out", "told"))
        if self.earlier_insertion is None:
            if self.question == "next_insertion":
                raise RequestError(
                    f"before insertion {self.insertion!r} which one has ended?\nHint: give it as earlier_insertion"
                )
            return
        require_text("earlier_insertion", self.earlier_insertion)
        if self.question == "die_test":
            raise RequestError(
                "die_test asks at the die's own test, whatever was before it.\n"
                "Hint: leave earlier_insertion out, or ask question='next_insertion'"
            )
        if self.earlier_insertion == self.insertion:
            raise RequestError(
                f"insertion {self.insertion!r} cannot be its own earlier one.\nHint: name the one that is tested before"
            )


def _require_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise RequestError(f"the seed is {seed!r}.\nHint: give a whole number")


def _is_share(given: object) -> bool:
    return isinstance(given, (int, float)) and not isinstance(given, bool) and 0 < given <= 1


def _require_sides(sides: tuple[object, ...]) -> None:
    if not sides or not all(isinstance(side, str) and side for side in sides) or len(set(sides)) != len(sides):
        raise RequestError(f"the sides are {list(sides)}.\nHint: give each a name of its own")
    if EMBARGO in sides:
        raise RequestError(f"{EMBARGO!r} names the rows that are on no side.\nHint: give the side another name")


def _require_instants(cuts: object) -> None:
    if isinstance(cuts, str) or not isinstance(cuts, Sequence) or not cuts:
        raise RequestError(f"the cuts are {cuts!r}.\nHint: give a tuple with at least one time, as in (datetime(...),)")
    for cut in cuts:
        if not isinstance(cut, datetime) or cut.utcoffset() is None:
            raise RequestError(
                f"the cut {cut!r} is no time with a zone.\n"
                "Hint: times of the store are UTC: write datetime(2025, 3, 1, tzinfo=timezone.utc)"
            )


def _require_span(embargo: object) -> None:
    if not isinstance(embargo, timedelta) or embargo < timedelta(0):
        raise RequestError(f"an embargo of {embargo!r} cannot be kept.\nHint: give a timedelta of zero or more")

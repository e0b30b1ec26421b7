"""End times of the touchdowns of a run, in whole microseconds (semantics, section 2.3)."""

SECOND = 1_000_000
MILLISECOND = 1_000


def touchdown_ends(start, finish, parts):
    """The end of each touchdown, in order of touchdowns, and how it was made.

    Shapes       parts: (touchdown, test_t_ms) per part, 0 or None = missing -> ([end in us per touchdown], quality)
    Units        start and finish in s since the epoch or None; ends in us since the epoch
    Undefined    without a start: None for every end and for the quality
    """
    touchdowns = sorted({touchdown for touchdown, _ in parts})
    count = len(touchdowns)
    if start is None:
        return [None] * count, None

    longest = []
    for touchdown in touchdowns:
        longest.append(max((test_t or 0) for of_touchdown, test_t in parts if of_touchdown == touchdown) * MILLISECOND)
    every_touchdown_timed = all(test_t > 0 for test_t in longest)
    start_us = start * SECOND
    span_us = None if finish is None or finish < start else (finish - start) * SECOND

    ends = []
    if span_us is not None and every_touchdown_timed and sum(longest) <= span_us:
        quality = "interpolated"
        remainder_us = span_us - sum(longest)
        for k in range(count):
            ends.append(start_us + sum(longest[: k + 1]) + ((k + 1) * remainder_us) // count)
    elif span_us is not None:
        quality = "equally_spaced"
        for k in range(count):
            ends.append(start_us + ((k + 1) * span_us) // count)
    elif every_touchdown_timed:
        quality = "cumulative"
        for k in range(count):
            ends.append(start_us + sum(longest[: k + 1]))
    else:
        quality = "run_start"
        for _ in range(count):
            ends.append(start_us)

    for k in range(1, count):
        ends[k] = max(ends[k - 1] + 1, ends[k])
    return ends, quality

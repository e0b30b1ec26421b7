"""Rows of the usual questions, by looking at every test for every row (semantics, sections 1 to 5). Times are integers.

A spine row's `time` here is T. What the oracle is asked is given as plain values, in a dict:

question, label, insertion, earlier (None), unended ("left_out"), attempts ("first", "final", "all"),
lots (None), products (None), negatives (None or (fraction, seed)),
split (None, ("lot" or "wafer", {side: fraction}, seed), or ("time", cuts, embargo, sides))
"""

import hashlib

DIE = ("lot_id", "wafer_id", "die_x", "die_y")
WAFER = ("lot_id", "wafer_id")
LOT = ("lot_id",)


def spine_rows(attempts, asked):
    """The spine as dicts.

    Needs        the attempts with attempt, is_first, is_final (numbered over all of them)
    Null keys    no row, no part of a yield; but such a part begins and ends the runs of its wafer and lot
    No judgment  no row
    """
    of_lots = asked["question"] == "lot_final"
    group_keys = LOT if of_lots else WAFER
    spine = []
    for candidate in candidates(attempts, asked):
        if asked["lots"] is not None and candidate["lot_id"] not in asked["lots"]:
            continue
        if not of_lots and asked["products"] is not None and candidate["product_id"] not in asked["products"]:
            continue
        group = [a for a in attempts if all(a[key] == candidate[key] for key in group_keys)]
        labeled = [a for a in group if gives_label(a, asked)]
        time = time_of(candidate, group, asked)
        row = {key: candidate[key] for key in (LOT if of_lots else DIE)}
        row["event_timestamp"] = time

        if of_lots:
            counted = [a for a in labeled if asked["products"] is None or a["product_id"] in asked["products"]]
            if not counted:
                continue
            row[asked["label"]] = sum(1 for a in counted if a["passed"]) / len(counted)
            row["die_count"] = len(counted)
            row["fail_count"] = sum(1 for a in counted if not a["passed"])
            row["wafer_count"] = len({a["wafer_id"] for a in counted})
        else:
            row[asked["label"]] = not candidate["passed"] if asked["label"] == "fails" else candidate[asked["label"]]
            if row[asked["label"]] is None:
                continue

        if asked["earlier"] is not None:
            earlier = [a for a in group if a["insertion"] == asked["earlier"]]
            ended = len(earlier) > 0 and all(is_known_before(a, time) for a in earlier)
            if asked["unended"] == "told":
                row["earlier_ended"] = ended
            elif not ended:
                continue

        if asked["negatives"] is not None:
            fraction, seed = asked["negatives"]
            if candidate["passed"] and not chance("negatives", seed, candidate, DIE) < fraction:
                continue
            row["weight"] = 1 / fraction if candidate["passed"] else 1.0

        if asked["split"] is not None:
            times = [time_of(a, group, asked) for a in labeled]
            row["split"] = side(asked["split"], candidate, times, labeled)
        spine.append(row)
    return spine


def candidates(attempts, asked):
    """One per row that may come out: an attempt that gives a label, or one attempt of each lot that has any."""
    labeled = [a for a in attempts if gives_label(a, asked)]
    if asked["question"] != "lot_final":
        return labeled
    return list({a["lot_id"]: a for a in labeled}.values())


def gives_label(attempt, asked):
    return (
        attempt["insertion"] == asked["insertion"]
        and all(attempt[key] is not None for key in DIE)
        and attempt["passed"] is not None
        and {"first": attempt["is_first"], "final": attempt["is_final"], "all": True}[asked["attempts"]]
    )


def time_of(candidate, group, asked):
    if asked["question"] == "die_test":
        return candidate["event_timestamp"]
    there = [a for a in group if a["insertion"] == asked["insertion"]]
    starts = [a["run_start"] for a in there if a["run_start"] is not None]
    return min(starts + [a["event_timestamp"] for a in there])


def is_known_before(attempt, time):
    if attempt["available_timestamp"] is None:
        return False
    return attempt["event_timestamp"] < time and attempt["available_timestamp"] < time


def side(split, candidate, times, labeled):
    """`times` and `labeled` are of the candidate's wafer, for a question on lots of its lot."""
    if split[0] == "time":
        _, cuts, embargo, sides = split
        for index, name in enumerate(sides):
            begun = index == 0 or min(times) >= cuts[index - 1] + embargo
            over = index == len(cuts) or all(is_known_before(a, cuts[index]) for a in labeled)
            if begun and over:
                return name
        return "embargo"
    by, fractions, seed = split
    drawn = chance("split", seed, candidate, LOT if by == "lot" else WAFER)
    below = 0.0
    names = sorted(fractions)
    for name in names[:-1]:
        below += fractions[name]
        if drawn < below:
            return name
    return names[-1]


def chance(purpose, seed, row, keys):
    """A number in [0, 1): the first 52 bits of SHA-256 over the purpose, the seed, and each key after its length."""
    words = [purpose, str(seed)]
    for key in keys:
        words += [str(len(str(row[key]))), str(row[key])]
    return int.from_bytes(hashlib.sha256(":".join(words).encode()).digest()[:7], "big") // 16 / 2**52

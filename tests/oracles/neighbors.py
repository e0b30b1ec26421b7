"""Neighborhood of a die from what was tested earlier on the same wafer (semantics, section 3)."""

from typing import Any

from .moments import is_usable, mean, sample_std

KEYS = ("lot_id", "wafer_id", "die_x", "die_y")


def neighborhood(attempts, *, pitch=(1, 1), wafer_map=None, parameters=()):
    """One row per attempt, as known at the moment of its own test.

    Grain        one dict per attempt of one wafer and insertion -> one dict per attempt that has a place, same order
    Needs        die_x, die_y, event_timestamp, available_timestamp, run_id, part_index, passed, each parameter
    Undefined    None where no neighbor can say anything (under two values for a std); counts are 0
    """
    return [
        row_known_at(
            attempt, attempts, attempt["event_timestamp"], pitch=pitch, wafer_map=wafer_map, parameters=parameters
        )
        for attempt in attempts
        if has_place_and_time(attempt)
    ]


def neighborhood_all(attempts, *, pitch=(1, 1), wafer_map=None, parameters=()):
    """The rows of `neighborhood`, each followed by one row per later time of knowledge at which a value changes."""
    options = {"pitch": pitch, "wafer_map": wafer_map, "parameters": parameters}
    rows = []
    for attempt in attempts:
        if not has_place_and_time(attempt):
            continue
        own_time = attempt["event_timestamp"]
        newest = row_known_at(attempt, attempts, own_time, **options)
        rows.append(newest)
        later = {other["available_timestamp"] for other in attempts if is_before(other, own_time)}
        for known_at in sorted(time for time in later if time > own_time):
            candidate = row_known_at(attempt, attempts, known_at, **options)
            if without_availability(candidate) != without_availability(newest):
                newest = candidate
                rows.append(newest)
    return rows


def row_known_at(attempt, attempts, known_at, *, pitch=(1, 1), wafer_map=None, parameters=()):
    """The row of `attempt` from the attempts that ended before its own time and were available by `known_at`."""
    positions = eight_neighbors(attempt["die_x"], attempt["die_y"], pitch)

    latest: dict[Any, Any] = {}
    for other in attempts:
        die = (other["die_x"], other["die_y"])
        if die not in positions:
            continue
        if not is_before(other, attempt["event_timestamp"]) or other["available_timestamp"] > known_at:
            continue
        if die not in latest or order(other) > order(latest[die]):
            latest[die] = other
    neighbors = list(latest.values())

    known = [n for n in neighbors if n["passed"] is not None]
    failed = [n for n in known if not n["passed"]]
    row = {key: attempt[key] for key in KEYS if key in attempt}
    row["run_id"] = attempt["run_id"]
    row["part_index"] = attempt["part_index"]
    row["event_timestamp"] = attempt["event_timestamp"]
    row["available_timestamp"] = known_at
    row["neighbor_possible"] = None if wafer_map is None else sum(1 for p in positions if p in wafer_map)
    row["neighbor_count"] = len(neighbors)
    row["fail__neighbor_count"] = len(failed)
    row["fail__neighbor_frac"] = len(failed) / len(known) if known else None
    for parameter in parameters:
        values = [n[parameter] for n in neighbors if is_usable(n[parameter])]
        row[f"{parameter}__neighbor_mean"] = mean(values)
        row[f"{parameter}__neighbor_std"] = sample_std(values)
    return row


def eight_neighbors(x, y, pitch):
    """The positions one king's move away, a step being one die pitch in coordinate units."""
    step_x, step_y = pitch
    positions = []
    for dx in (-step_x, 0, step_x):
        for dy in (-step_y, 0, step_y):
            if (dx, dy) != (0, 0):
                positions.append((x + dx, y + dy))
    return positions


def order(attempt):
    return attempt["event_timestamp"], attempt["run_id"], attempt["part_index"]


def has_place_and_time(attempt):
    """Rows with a null key never enter a feature table; a null time is neither before nor after another."""
    has_place = all(attempt[key] is not None for key in KEYS if key in attempt)
    return has_place and attempt["event_timestamp"] is not None


def is_before(other, time):
    """Whether `other` can ever count for an attempt at `time`. What is never available never counts."""
    return has_place_and_time(other) and other["available_timestamp"] is not None and other["event_timestamp"] < time


def without_availability(row):
    return {name: value for name, value in row.items() if name != "available_timestamp"}

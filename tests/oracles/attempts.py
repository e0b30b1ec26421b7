"""Numbers of the attempts of a die (semantics, section 2.5)."""

from typing import Any


def number_attempts(rows):
    """The rows, copied and in their order, with `attempt` (1..n), `is_first` and `is_final`.

    Needs        lot_id, wafer_id, insertion, die_x, die_y, event_timestamp, run_id, part_index
    Null keys    where lot, wafer, x or y is None each part is a die of its own
    """
    attempts_of_die: dict[Any, Any] = {}
    for index, row in enumerate(rows):
        attempts_of_die.setdefault(die_of(row, index), []).append(row)

    numbered = []
    for index, row in enumerate(rows):
        same_die = attempts_of_die[die_of(row, index)]
        earlier = sum(1 for other in same_die if order(other) < order(row))
        later = sum(1 for other in same_die if order(other) > order(row))
        numbered.append({**row, "attempt": earlier + 1, "is_first": earlier == 0, "is_final": later == 0})
    return numbered


def die_of(row, index):
    """What the attempts of one die share; a row with a null key shares its index with no other row."""
    keys = ("lot_id", "wafer_id", "die_x", "die_y")
    if any(row[key] is None for key in keys):
        return index
    return tuple(row[key] for key in (*keys, "insertion"))


def order(row):
    return row["event_timestamp"], row["run_id"], row["part_index"]

"""The lot so far, written at each wafer end (semantics, section 3, "Wafer and lot ends")."""

from typing import Any

from .moments import is_usable, mean, sample_std


def lot_so_far(attempts, *, parameters=()):
    """One row per distinct end of a wafer run and later time of knowledge that changes it.

    Grain        one dict per attempt of one lot and insertion -> one dict per (event_timestamp, available_timestamp)
    Needs        lot_id, wafer_id, run_id, die_x, die_y, part_index, event_timestamp, available_timestamp, passed,
                 each parameter
    Counts once  a wafer, whatever its number of runs; a die, by its latest attempt in the runs ended and known by then
    Null keys    no lot or wafer: the attempt is left out. No x or y: it is no die, but it ends and delays its run
    Undefined    None for a mean of nothing and for a std of fewer than two
    """
    runs = wafer_runs(attempts)
    rows = []
    for end in sorted({run["end"] for run in runs}):
        ended = [run for run in runs if run["end"] <= end]
        first_known = min(run["available"] for run in ended if run["end"] == end)
        newest = None
        for known_at in sorted({run["available"] for run in ended}):
            if known_at < first_known:
                continue
            values = state([run for run in ended if run["available"] <= known_at], parameters)
            if values != newest:
                newest = values
                keys = {"lot_id": runs[0]["lot_id"], "event_timestamp": end, "available_timestamp": known_at}
                rows.append({**keys, **values})
    return rows


def wafer_runs(attempts):
    """The runs with at least one die: end is the last touchdown, available when all their attempts are."""
    attempts_of_run: dict[Any, Any] = {}
    for attempt in attempts:
        if attempt["lot_id"] is not None and attempt["wafer_id"] is not None:
            attempts_of_run.setdefault(attempt["run_id"], []).append(attempt)

    runs = []
    for of_run in attempts_of_run.values():
        dies = [a for a in of_run if a["die_x"] is not None and a["die_y"] is not None]
        never_known = any(a["available_timestamp"] is None for a in of_run)
        if dies and not never_known:
            runs.append(
                {
                    "lot_id": of_run[0]["lot_id"],
                    "wafer_id": of_run[0]["wafer_id"],
                    "end": max(a["event_timestamp"] for a in of_run),
                    "available": max(a["available_timestamp"] for a in of_run),
                    "attempts": dies,
                }
            )
    return runs


def state(runs, parameters):
    """The values of a lot of which exactly `runs` are ended and known."""
    latest: dict[Any, Any] = {}
    for run in runs:
        of_wafer = latest.setdefault(run["wafer_id"], {})
        for attempt in run["attempts"]:
            die = (attempt["die_x"], attempt["die_y"])
            if die not in of_wafer or order(attempt) > order(of_wafer[die]):
                of_wafer[die] = attempt
    wafers = [list(of_wafer.values()) for of_wafer in latest.values()]

    yields = []
    for dies in wafers:
        known = [die for die in dies if die["passed"] is not None]
        if known:
            yields.append(sum(1 for die in known if die["passed"]) / len(known))
    row = {"wafers_done": len(wafers), "yield_mean": mean(yields), "yield_std": sample_std(yields)}

    for parameter in parameters:
        wafer_means = []
        pooled = []
        for dies in wafers:
            values = [die[parameter] for die in dies if is_usable(die[parameter])]
            pooled.extend(values)
            if mean(values) is not None:
                wafer_means.append(mean(values))
        row[f"{parameter}__lot_mean"] = mean(wafer_means)
        row[f"{parameter}__lot_std"] = sample_std(wafer_means)
        row[f"{parameter}__lot_die_mean"] = mean(pooled)
        row[f"{parameter}__lot_die_std"] = sample_std(pooled)
    return row


def order(attempt):
    return attempt["event_timestamp"], attempt["run_id"], attempt["part_index"]

"""Every before_test and at_test feature of a die, by loops over what was known (semantics, section 3)."""

import math
import statistics
from fractions import Fraction
from typing import Any

import numpy as np

from .neighbors import eight_neighbors, is_before, order

ILL_POSED = "places from which a least-squares bowl is not told in doubles"


def known_dies(attempts, time, known_at):
    """(x, y) -> the latest attempt that ended before `time` and was available by `known_at`."""
    latest: dict[Any, Any] = {}
    for other in attempts:
        if is_before(other, time) and other["available_timestamp"] <= known_at:
            die = (other["die_x"], other["die_y"])
            if die not in latest or order(other) > order(latest[die]):
                latest[die] = other
    return latest


def around(place, pitch):
    return eight_neighbors(place[0], place[1], pitch)


def usable(value):
    """A value of 1e150 and more has no square in a double and counts as missing."""
    return value is not None and abs(value) < 1e150


def alike(values):
    """No spread: all are equal, whatever arithmetic makes of them."""
    return all(value == values[0] for value in values)


def judged(dies):
    return [a for a in dies if a["passed"] is not None]


def fails_of(dies):
    return [a for a in dies if a["passed"] is False]


def share(part, whole):
    return len(part) / len(whole) if whole else None


def outcome_row(attempt, latest, *, pitch, size, side_weight, corner_weight, box_mm, sigma_mm):
    """What the outcomes around a die are. `size`: mm from die to die on x and y, or None."""
    x, y = attempt["die_x"], attempt["die_y"]
    row: dict[str, Any] = {}
    places = eight_neighbors(x, y, pitch)
    near = [latest[p] for p in places if p in latest]
    row["neighbor_count"] = len(near)
    row["fail__neighbor_count"] = len(fails_of(near))
    row["fail__neighbor_frac"] = share(fails_of(near), judged(near))
    mass = failed = Fraction(0)
    for a in judged(near):
        is_side = a["die_x"] == x or a["die_y"] == y
        weight = Fraction(side_weight if is_side else corner_weight)
        mass += weight
        failed += weight if a["passed"] is False else 0
    row["fail__neighbor_score"] = float(failed / mass) if mass else None
    bins = [a["hard_bin"] for a in fails_of(near) if a["hard_bin"] is not None]
    row["fail__neighbor_same_bin"] = max((bins.count(b) for b in bins), default=0)
    own_bin = attempt["hard_bin"]
    same = [a for a in near if a["hard_bin"] == own_bin]
    row["neighbor_same_bin"] = None if own_bin is None else len(same)

    outer = []
    for i in range(-2, 3):
        for j in range(-2, 3):
            place = (x + i * pitch[0], y + j * pitch[1])
            if max(abs(i), abs(j)) == 2 and place in latest:
                outer.append(latest[place])
    row["ring5_count"] = len(outer)
    row["fail__ring5_count"] = len(fails_of(outer))
    row["fail__ring5_frac"] = share(fails_of(outer), judged(outer))

    row["fail__density_box"] = row["fail__density_gauss"] = row["fail__nearest_mm"] = None
    others = [a for p, a in latest.items() if p != (x, y)]
    if size is not None:

        def far(a):
            return (a["die_x"] - x) / pitch[0] * size[0], (a["die_y"] - y) / pitch[1] * size[1]

        box = [a for a in others if abs(far(a)[0]) <= box_mm and abs(far(a)[1]) <= box_mm]
        row["fail__density_box"] = share(fails_of(box), judged(box))
        weights = [0.0, 0.0]
        for a in judged(others):
            distance = math.hypot(*far(a))
            if distance <= 3 * sigma_mm:
                gauss = math.exp(-(distance**2) / (2 * sigma_mm**2))
                weights[0] += gauss
                weights[1] += gauss if a["passed"] is False else 0.0
        row["fail__density_gauss"] = weights[1] / weights[0] if weights[0] else None
        row["fail__nearest_mm"] = min((math.hypot(*far(a)) for a in fails_of(others)), default=None)
    row["fail__nearest_dies"] = min(
        (max(abs(a["die_x"] - x) / pitch[0], abs(a["die_y"] - y) / pitch[1]) for a in fails_of(others)),
        default=None,
    )
    row["fail__cluster_size"] = largest_cluster(latest, places, pitch)
    return row


def largest_cluster(latest, places, pitch):
    """Of failing dies, that holds one of the places."""
    failing = {p for p, a in latest.items() if a["passed"] is False}
    largest = 0
    for start in places:
        if start in failing:
            cluster, waiting = {start}, [start]
            while waiting:
                for p in around(waiting.pop(), pitch):
                    if p in failing and p not in cluster:
                        cluster.add(p)
                        waiting.append(p)
            largest = max(largest, len(cluster))
    return largest


def wafer_row(attempt, latest, *, pitch, zones, bins):
    """The wafer so far. `zones`: name -> {(x, y): zone}."""
    everything = list(latest.values())
    own = (attempt["die_x"], attempt["die_y"])

    def passing(dies):
        known = judged(dies)
        return share([a for a in known if a["passed"]], known)

    row: dict[str, Any] = {"tested_count": len(everything), "yield": passing(everything)}
    for name, zone_of in zones.items():
        mine = zone_of.get(own)
        alike = [a for p, a in latest.items() if zone_of.get(p) == mine]
        row[f"{name}_yield"] = None if mine is None else passing(alike)
    site = None if attempt["site"] is None else (attempt["head"], attempt["site"])
    alike = [a for a in everything if (a["head"], a["site"]) == site]
    row["site_yield"] = None if site is None else passing(alike)
    for b in bins:
        row[f"bin{b}__rate"] = share([a for a in everything if a["hard_bin"] == b], everything)

    joins = {"bb": 0, "bw": 0, "ww": 0}
    for p, a in latest.items():
        for q in around(p, pitch):
            if q > p and q in latest and a["passed"] is not None and latest[q]["passed"] is not None:
                failing = [a["passed"], latest[q]["passed"]].count(False)
                joins[("ww", "bw", "bb")[failing]] += 1
    n, f = len(judged(everything)), len(fails_of(everything))
    total = sum(joins.values())
    row |= {f"fail__join_{name}": count for name, count in joins.items()}
    pairs = n * (n - 1)
    row["fail__join_bb_expected"] = total * f * (f - 1) / pairs if pairs else None
    row["fail__join_bw_expected"] = total * 2 * f * (n - f) / pairs if pairs else None
    row["fail__join_ww_expected"] = total * (n - f) * (n - f - 1) / pairs if pairs else None
    indicator = {p: 1.0 if a["passed"] is False else 0.0 for p, a in latest.items() if a["passed"] is not None}
    row["fail__moran_i"] = moran(indicator, pitch)
    row["fail__run_length"] = 0
    for a in sorted(judged(everything), key=order, reverse=True):
        if a["passed"]:
            break
        row["fail__run_length"] += 1
    return row


def moran(values, pitch):
    """Moran's I with binary weights of king moves; (x, y) -> value."""
    if not values:
        return None
    mean = Fraction(0)
    for value in values.values():
        mean += Fraction(value)
    mean /= len(values)
    rest = {p: Fraction(value) - mean for p, value in values.items()}
    weights = cross = Fraction(0)
    for p in values:
        for q in around(p, pitch):
            if q in values:
                weights += 1
                cross += rest[p] * rest[q]
    squares = sum(r * r for r in rest.values())
    if not weights or not squares:
        return None
    return float(Fraction(len(values)) / weights * cross / squares)


def plane(points):
    """(x, y, z) -> gx, gy, length, direction, R2, value at the origin; or None without a plane."""
    if len({(x, y) for x, y, _ in points}) < 3:
        return None
    flat = alike([z for _, _, z in points])
    design = np.array([[1.0, x, y] for x, y, _ in points])
    if np.linalg.matrix_rank(design) < 3:
        return None
    if flat:
        return 0.0, 0.0, 0.0, None, None, points[0][2]
    z = np.array([p[2] for p in points])
    (base, gx, gy), *_ = np.linalg.lstsq(design, z, rcond=None)
    rest = z - design @ np.array([base, gx, gy])
    spread = float(((z - z.mean()) ** 2).sum())
    r2 = 1 - float((rest**2).sum()) / spread if spread > 0 else None
    return float(gx), float(gy), math.hypot(gx, gy), math.atan2(gy, gx), r2, float(base)


def average(values):
    if not values:
        return None
    return values[0] if alike(values) else statistics.fmean(values)


def parameter_row(attempt, latest, name, *, pitch, size, direction, center, radius_mm):
    """A parameter around the die and over the wafer so far, without its name in the columns."""
    x, y = attempt["die_x"], attempt["die_y"]
    near = [latest[p] for p in eight_neighbors(x, y, pitch) if p in latest and usable(latest[p][name])]
    values = [a[name] for a in near]
    row: dict[str, Any] = {"neighbor_count": len(values)}
    row["neighbor_mean"] = average(values)
    row["neighbor_std"] = statistics.stdev(values) if len(values) > 1 else None
    row["neighbor_min"], row["neighbor_max"] = (min(values), max(values)) if values else (None, None)
    row["neighbor_median"] = statistics.median(values) if values else None
    row["neighbor_range"] = max(values) - min(values) if values else None

    def mm(a, origin=(x, y)):
        return (
            (a["die_x"] - origin[0]) / pitch[0] * size[0] * direction[0],
            (a["die_y"] - origin[1]) / pitch[1] * size[1] * direction[1],
        )

    everything = [a for a in latest.values() if usable(a[name])]
    for prefix, dies in (("gradient", near), ("radius_gradient", None)):
        found = None
        if size is not None:
            if dies is None:
                dies = [a for a in everything if (a["die_x"], a["die_y"]) != (x, y) and math.hypot(*mm(a)) <= radius_mm]
            found = plane([(*mm(a), a[name]) for a in dies])
        for k, column in enumerate(("_x", "_y", "", "_rad", "_r2", "_value")):
            row[prefix + column] = None if found is None else found[k]

    values = [a[name] for a in everything]
    row["wafer_mean"] = average(values)
    row["wafer_std"] = statistics.stdev(values) if len(values) > 1 else None
    row["wafer_median"] = float(np.quantile(values, 0.5)) if values else None
    row["wafer_iqr"] = float(np.quantile(values, 0.75) - np.quantile(values, 0.25)) if values else None
    site = None if attempt["site"] is None else (attempt["head"], attempt["site"])
    mine = [a[name] for a in everything if (a["head"], a["site"]) == site]
    row["site_bias"] = average(mine) - row["wafer_mean"] if site is not None and mine else None
    row["moran_i"] = moran({(a["die_x"], a["die_y"]): a[name] for a in everything}, pitch)
    for column in ("plane_0", "plane_x", "plane_y", "bowl_0", "bowl_x", "bowl_y", "bowl_r2"):
        row[column] = None
    on_wafer = [a for a in everything if max(abs(a["die_x"] - center[0]), abs(a["die_y"] - center[1])) <= 1000]
    if size is not None and on_wafer:
        at = np.array([mm(a, center) for a in on_wafer])
        values_there = [a[name] for a in on_wafer]
        z = np.array(values_there)
        design = np.column_stack([np.ones(len(z)), at])
        if np.linalg.matrix_rank(design) == 3:
            found, *_ = np.linalg.lstsq(design, z, rcond=None)
            row["plane_0"], row["plane_x"], row["plane_y"] = (
                (values_there[0], 0.0, 0.0) if alike(values_there) else (float(v) for v in found)
            )
        design = np.column_stack([design, (at**2).sum(axis=1)])
        scaled = design / np.abs(design).max(axis=0, initial=1e-300)
        if 1e4 < np.linalg.cond(scaled) < 1e15:
            row["bowl_0"] = row["bowl_x"] = row["bowl_y"] = row["bowl_r2"] = ILL_POSED
        elif np.linalg.matrix_rank(scaled) == 4:
            found, *_ = np.linalg.lstsq(design, z, rcond=None)
            row["bowl_0"], row["bowl_x"], row["bowl_y"], row["bowl_r2"] = (
                (values_there[0], 0.0, 0.0, 0.0) if alike(values_there) else (float(v) for v in found)
            )

    own = attempt[name] if usable(attempt[name]) else None
    row["value"] = own

    def less(column):
        return None if own is None or row[column] is None else own - row[column]

    def over(above, below):
        return None if above is None or not below else above / below

    row["nnr_median"], row["nnr_mean"] = less("neighbor_median"), less("neighbor_mean")
    row["nnr_ratio"] = over(own, row["neighbor_median"])
    row["zscore"] = over(less("wafer_mean"), row["wafer_std"])
    row["robust_zscore"] = over(less("wafer_median"), row["wafer_iqr"] and row["wafer_iqr"] / 1.35)
    row["plane_residual"] = less("gradient_value")
    row["rank"] = None
    if own is not None and values:
        row["rank"] = (sum(v < own for v in values) + 0.5 * values.count(own)) / len(values)
    return row

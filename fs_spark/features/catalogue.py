"""The catalogue: every feature there is, family by family, in one tuple that reads from top to bottom."""

from __future__ import annotations

import difflib
from typing import Final

from fs_spark.features.feature import Feature

FAMILIES: Final[dict[str, str]] = {
    # family -> its cost; n dies of a wafer, w dies of a window, p parameters, b the square root of n
    "geometry": "1 per die, once",
    "map": "8 per die",
    "outcome_neighborhood": "24 per attempt",
    "outcome_density": "w per attempt",
    "outcome_distance": "log n per attempt",
    "outcome_cluster": "8 per attempt; a retest that heals a die costs at most the smaller parts it leaves",
    "parametric_neighborhood": "8 p per attempt",
    "parametric_gradient": "8 p per attempt",
    "parametric_surface": "w p per attempt",
    "wafer_outcomes": "8 per attempt, also a retest",
    "wafer_values": "p per attempt, also a retest",
    "wafer_surface": "p per attempt, also a retest",
    "wafer_quantiles": "b p per attempt, also a retest",
    "measured": "1 per attempt",
    "own_context": "what its context costs",
    "own_bin": "8 per attempt",
    "full_*": "the same per die, at each end of a run",
    "pat": "n log n per wafer",
    "wafer_zones": "n per wafer",
    "wafer_profile": "n p per wafer",
    "wafer_summary": "n p per wafer",
    "wm811k": "180 projections of the map per wafer",
    "lot": "n per end of a run, for each wafer of the lot",
}

_SIZES = "the die size is unknown"
_STDF_MAP = "STDF V4 p.38-39"
_N8 = "eight king-move neighbors restricted to earlier touchdowns of the same wafer and insertion"
_SO_FAR = "dies tested in earlier touchdowns of the same wafer and insertion, each in its latest state"
_GDBN = "good die in bad neighborhood: Riordan, Miller, St. Pierre 2005"
_PLANE = "least squares"
_MORAN = "Moran 1950; Cliff and Ord 1981"
_AEC = "AEC-Q001"
_PAT_LIMITS = "AEC-Q001, limits of the parts that pass (setting `pat_population`)"
_LOT = "own definition: each wafer once, in its latest state over the runs ended by then"
_WU = "Wu, Jang, Chen 2015"
_STREWN = "the dies are strewn too far for a wafer"

_GEOMETRY: Final = tuple(
    Feature(name, "geometry", "radial", "die", "die", "static", kind, unit, inputs, undefined, source)  # type: ignore[arg-type]
    for name, kind, unit, inputs, undefined, source in (
        ("x_mm", "double", "mm", ("place", "map"), _SIZES, _STDF_MAP),
        ("y_mm", "double", "mm", ("place", "map"), _SIZES, _STDF_MAP),
        ("radius_mm", "double", "mm", ("place", "map"), _SIZES, _STDF_MAP),
        ("radius_norm", "double", "1", ("place", "map"), "the map has one die", "radius by the wafer's"),
        ("angle_rad", "double", "rad", ("place", "map"), "directions unknown", "STDF V4 p.39 POS_X/Y"),
        ("notch_angle_rad", "double", "rad", ("place", "map"), "directions or notch unknown", "STDF V4 p.39 WF_FLAT"),
        ("edge_distance_mm", "double", "mm", ("place", "map"), "sizes unknown", "outermost corner"),
        ("is_edge", "boolean", "", ("place", "map"), "sizes unknown", "edge exclusion width"),
        ("is_border", "boolean", "", ("place", "map"), "no wafer map, or not on it", "a neighbor is not on the map"),
        ("ring", "int", "", ("place", "map"), "the radius is undefined", "rings of equal width"),
        ("ring_equal_area", "int", "", ("place", "map"), "the radius is undefined", "rings of equal area"),
        ("sector", "int", "", ("place", "map"), "the angle is undefined", "sectors of equal angle"),
        ("zone", "int", "", ("place", "map"), "ring or sector undefined", "the center, then ring by sector"),
        ("reticle_x", "int", "dies", ("place", "map"), "the product gives no reticle", "place in the shot"),
        ("reticle_y", "int", "dies", ("place", "map"), "the product gives no reticle", "place in the shot"),
        ("reticle_position", "int", "", ("place", "map"), "the product gives no reticle", "place in the shot"),
        ("shot_x", "int", "shots", ("place", "map"), "the product gives no reticle", "reticle grid"),
        ("shot_y", "int", "shots", ("place", "map"), "the product gives no reticle", "reticle grid"),
        ("shot", "int", "", ("place", "map"), "no reticle or no wafer map", "shots of the map in order"),
    )
)

_POSSIBLE: Final = (
    Feature("neighbor_possible", "map", "map", "die", "die", "before_test", "int", "dies", ("place", "map"),
            "no wafer map", "king-move neighbors on the map"),
)  # fmt: skip

_OUTCOMES: Final = tuple(
    Feature(name, family, kernel, per, "die", "before_test", kind, unit, inputs, undefined, source)  # type: ignore[arg-type]
    for family, kernel, per, name, kind, unit, inputs, undefined, source in (
        ("outcome_neighborhood", "neighborhood", "die", "neighbor_count", "int", "dies", ("place",), "never", _N8),
        ("outcome_neighborhood", "neighborhood", "fail", "neighbor_count", "int", "dies", ("passed",), "never", _N8),
        ("outcome_neighborhood", "neighborhood", "fail", "neighbor_frac", "double", "1", ("passed",),
         "no neighbor judged", _N8),
        ("outcome_neighborhood", "neighborhood", "fail", "neighbor_score", "double", "1", ("passed",),
         "no neighbor of weight judged", _GDBN),
        ("outcome_neighborhood", "neighborhood", "fail", "neighbor_same_bin", "int", "dies", ("passed", "hard_bin"),
         "never", "failing neighbors in the commonest bin among them"),
        ("outcome_neighborhood", "neighborhood", "die", "ring5_count", "int", "dies", ("place",), "never",
         "the outer 16 of the 5x5 block"),
        ("outcome_neighborhood", "neighborhood", "fail", "ring5_count", "int", "dies", ("passed",), "never",
         "the outer 16 of the 5x5 block"),
        ("outcome_neighborhood", "neighborhood", "fail", "ring5_frac", "double", "1", ("passed",),
         "none of them judged", "the outer 16 of the 5x5 block"),
        ("outcome_density", "density", "fail", "density_box", "double", "1", ("passed", "map"),
         "sizes unknown, or nothing judged in the box", "fails by judged dies"),
        ("outcome_density", "density", "fail", "density_gauss", "double", "1", ("passed", "map"),
         "sizes unknown, or nothing judged within 3 sigma", "Nadaraya 1964, Watson 1964"),
        ("outcome_distance", "nearest", "fail", "nearest_mm", "double", "mm", ("passed", "map"),
         "sizes unknown, or no fail", "center to center"),
        ("outcome_distance", "nearest", "fail", "nearest_dies", "double", "dies", ("passed",), "no fail", "king moves"),
        ("outcome_cluster", "clusters", "fail", "cluster_size", "int", "dies", ("passed",), "never",
         "8-connected components, Rosenfeld and Pfaltz 1966"),
        ("wafer_outcomes", "wafer_counts", "die", "tested_count", "int", "dies", ("place",), "never", _SO_FAR),
        ("wafer_outcomes", "wafer_counts", "die", "yield", "double", "1", ("passed",), "no die judged", _SO_FAR),
        ("wafer_outcomes", "wafer_counts", "die", "ring_yield", "double", "1", ("passed", "map"),
         "no die judged in its ring", _SO_FAR),
        ("wafer_outcomes", "wafer_counts", "die", "sector_yield", "double", "1", ("passed", "map"),
         "no die judged in its sector", _SO_FAR),
        ("wafer_outcomes", "wafer_counts", "die", "reticle_yield", "double", "1", ("passed", "map"),
         "no die judged at its place in the shot", _SO_FAR),
        ("wafer_outcomes", "wafer_counts", "die", "site_yield", "double", "1", ("passed", "site"),
         "no die judged on its site", _SO_FAR),
        ("wafer_outcomes", "wafer_counts", "fail", "join_bb", "int", "pairs", ("passed",), "never", _MORAN),
        ("wafer_outcomes", "wafer_counts", "fail", "join_bw", "int", "pairs", ("passed",), "never", _MORAN),
        ("wafer_outcomes", "wafer_counts", "fail", "join_ww", "int", "pairs", ("passed",), "never", _MORAN),
        ("wafer_outcomes", "wafer_counts", "fail", "join_bb_expected", "double", "pairs", ("passed",),
         "under 2 dies judged", _MORAN),
        ("wafer_outcomes", "wafer_counts", "fail", "join_bw_expected", "double", "pairs", ("passed",),
         "under 2 dies judged", _MORAN),
        ("wafer_outcomes", "wafer_counts", "fail", "join_ww_expected", "double", "pairs", ("passed",),
         "under 2 dies judged", _MORAN),
        ("wafer_outcomes", "wafer_counts", "fail", "moran_i", "double", "1", ("passed",),
         "no adjacent dies judged, or all alike", _MORAN),
        ("wafer_outcomes", "wafer_counts", "fail", "run_length", "int", "dies", ("passed",), "never",
         "fails in a row in test order"),
        ("wafer_outcomes", "wafer_counts", "bin", "rate", "double", "1", ("hard_bin",), "no die tested", _SO_FAR),
    )
)  # fmt: skip

_VALUES: Final = tuple(
    Feature(name, family, kernel, "parameter", "die", "before_test", kind, unit, ("value", *more), undefined, source)  # type: ignore[arg-type]
    for family, kernel, more, names, kind, unit, undefined, source in (
        ("parametric_neighborhood", "local_values", (), ("neighbor_count",), "int", "dies", "never", _N8),
        ("parametric_neighborhood", "local_values", (), ("neighbor_mean",), "double", "", "no value", _N8),
        ("parametric_neighborhood", "local_values", (), ("neighbor_std",), "double", "", "under 2 values", _N8),
        ("parametric_neighborhood", "local_values", (),
         ("neighbor_min", "neighbor_max", "neighbor_median", "neighbor_range"), "double", "", "no value", _N8),
        ("parametric_gradient", "local_values", ("map",), ("gradient_x", "gradient_y", "gradient"), "double", "per mm",
         "under 3 values, on one line, or sizes unknown", _PLANE),
        ("parametric_gradient", "local_values", ("map",), ("gradient_rad",), "double", "rad",
         "there is no slope", _PLANE),
        ("parametric_gradient", "local_values", ("map",), ("gradient_r2",), "double", "1",
         "there is no plane, or all values are equal", _PLANE),
        ("parametric_surface", "local_values", ("map",),
         ("radius_gradient_x", "radius_gradient_y", "radius_gradient"), "double", "per mm",
         "under 3 values, on one line, or sizes unknown", _PLANE),
        ("parametric_surface", "local_values", ("map",), ("radius_gradient_rad",), "double", "rad",
         "there is no slope", _PLANE),
        ("parametric_surface", "local_values", ("map",), ("radius_gradient_r2",), "double", "1",
         "there is no plane, or all values are equal", _PLANE),
        ("wafer_values", "wafer_values", (), ("wafer_mean",), "double", "", "no value", _SO_FAR),
        ("wafer_values", "wafer_values", (), ("wafer_std",), "double", "", "under 2 values", _SO_FAR),
        ("wafer_values", "wafer_values", ("site",), ("site_bias",), "double", "", "no value on its site",
         "mean of the site less that of the wafer"),
        ("wafer_values", "wafer_values", (), ("moran_i",), "double", "1", "no adjacent values, or all alike", _MORAN),
        ("wafer_surface", "wafer_values", ("map",), ("plane_0",), "double", "", "under 3 values, or on one line",
         _PLANE),
        ("wafer_surface", "wafer_values", ("map",), ("plane_x", "plane_y"), "double", "per mm",
         "under 3 values, or on one line", _PLANE),
        ("wafer_surface", "wafer_values", ("map",), ("bowl_0",), "double", "", "the places give no bowl", _PLANE),
        ("wafer_surface", "wafer_values", ("map",), ("bowl_x", "bowl_y"), "double", "per mm",
         "the places give no bowl", _PLANE),
        ("wafer_surface", "wafer_values", ("map",), ("bowl_r2",), "double", "per mm2", "the places give no bowl",
         _PLANE),
        ("wafer_quantiles", "order_statistics", (), ("wafer_median", "wafer_iqr"), "double", "", "no value",
         "Hyndman and Fan 1996, type 7"),
    )
    for name in names
)  # fmt: skip

_MEASURED: Final = (
    Feature("value", "measured", "own", "parameter", "die", "at_test", "double", "", ("value",), "no usable result",
            "PTR, STDF V4 p.45"),
)  # fmt: skip

_OWN: Final = (
    *(
        Feature(name, "own_context", kernel, "parameter", "die", "at_test", "double", unit, inputs, undefined, source)  # type: ignore[arg-type]
        for name, kernel, unit, inputs, undefined, source in (
            ("nnr_median", "own", "", ("value",), "no own value, or none near", "nearest neighbor residual"),
            ("nnr_mean", "own", "", ("value",), "no own value, or none near", "nearest neighbor residual"),
            ("nnr_ratio", "own", "1", ("value",), "no own value, or the median near is 0 or none", "own / median"),
            ("zscore", "own", "1", ("value",), "no own value, or no spread so far", "(own - mean) / std"),
            ("robust_zscore", "own", "1", ("value",), "no own value, or no spread so far", _AEC),
            ("rank", "order_statistics", "1", ("value",), "no own value, or none so far", "ties count half"),
            ("plane_residual", "own", "", ("value", "map"), "no own value, or no plane near", "own less the plane's"),
        )
    ),
    Feature("neighbor_same_bin", "own_bin", "neighborhood", "die", "die", "at_test", "int", "dies",
            ("hard_bin",), "the die has no bin", "neighbors in the die's own bin"),
)  # fmt: skip

_WHOLE: Final = tuple(feature.of_the_whole_wafer() for feature in (*_OUTCOMES, *_VALUES, *_MEASURED, *_OWN))

_PAT: Final = tuple(
    Feature(name, "pat", "whole_wafer", "parameter", "die", "after_wafer", "boolean", "", ("value", "passed"),
            "no own value, or no limits", _PAT_LIMITS)
    for name in ("pat_flag", "robust_pat_flag")
)  # fmt: skip

_WAFER: Final = tuple(
    Feature(name, family, kernel, per, "wafer", "after_wafer", kind, unit, inputs, undefined, source, result, count)  # type: ignore[arg-type]
    for family, kernel, per, name, kind, unit, inputs, undefined, source, result, count in (
        ("wafer_summary", "wafer_counts", "die", "wafer_tested_count", "int", "dies", (), "never", _SO_FAR,
         "tested_count", 1),
        ("wafer_summary", "wafer_counts", "die", "wafer_yield", "double", "1", ("passed",), "no die judged", _SO_FAR,
         "yield", 1),
        ("wafer_summary", "wafer_counts", "bin", "wafer_rate", "double", "1", ("hard_bin",), "no die tested", _SO_FAR,
         "rate", 1),
        *(
            ("wafer_summary", "wafer_counts", "fail", f"wafer_{name}", kind, "pairs", ("passed",), undefined, _MORAN,
             name, 1)
            for name, kind, undefined in (
                ("join_bb", "int", "never"), ("join_bw", "int", "never"), ("join_ww", "int", "never"),
                ("join_bb_expected", "double", "under 2 dies judged"),
                ("join_bw_expected", "double", "under 2 dies judged"),
                ("join_ww_expected", "double", "under 2 dies judged"),
            )
        ),
        ("wafer_summary", "wafer_counts", "fail", "wafer_moran_i", "double", "1", ("passed",),
         "no adjacent dies judged, or all alike", _MORAN, "moran_i", 1),
        *(
            ("wafer_summary", kernel, "parameter", f"whole_{name}", "double", unit,
             ("value", "passed") if kernel == "whole_wafer" else ("value",), undefined, source, name, 1)
            for name, kernel, unit, undefined, source in (
                ("wafer_mean", "wafer_values", "", "no value", _SO_FAR),
                ("wafer_std", "wafer_values", "", "under 2 values", _SO_FAR),
                ("wafer_median", "order_statistics", "", "no value", _SO_FAR),
                ("wafer_iqr", "order_statistics", "", "no value", _SO_FAR),
                ("moran_i", "wafer_values", "1", "no adjacent values, or all alike", _MORAN),
                ("plane_0", "wafer_values", "", "under 3 values, or on one line", _PLANE),
                ("plane_x", "wafer_values", "per mm", "under 3 values, or on one line", _PLANE),
                ("plane_y", "wafer_values", "per mm", "under 3 values, or on one line", _PLANE),
                ("bowl_0", "wafer_values", "", "the places give no bowl", _PLANE),
                ("bowl_x", "wafer_values", "per mm", "the places give no bowl", _PLANE),
                ("bowl_y", "wafer_values", "per mm", "the places give no bowl", _PLANE),
                ("bowl_r2", "wafer_values", "per mm2", "the places give no bowl", _PLANE),
                ("pat_low", "whole_wafer", "", "no spread", _PAT_LIMITS),
                ("pat_high", "whole_wafer", "", "no spread", _PAT_LIMITS),
                ("robust_pat_low", "whole_wafer", "", "no spread", _PAT_LIMITS),
                ("robust_pat_high", "whole_wafer", "", "no spread", _PAT_LIMITS),
            )
        ),
        ("wafer_zones", "whole_wafer", "ring", "yield", "double", "1", ("passed", "map"), "no die judged there",
         _SO_FAR, "", 1),
        ("wafer_zones", "whole_wafer", "sector", "yield", "double", "1", ("passed", "map"), "no die judged there",
         _SO_FAR, "", 1),
        ("wafer_zones", "whole_wafer", "zone", "yield", "double", "1", ("passed", "map"), "no die judged there",
         _SO_FAR, "", 1),
        ("wafer_profile", "whole_wafer", "parameter_ring", "mean", "double", "", ("value", "map"), "no value there",
         "radial profile", "", 1),
        ("wm811k", "wm811k", "number", "wm_density", "double", "1", ("passed", "map"), _STREWN, _WU, "", 13),
        ("wm811k", "wm811k", "number", "wm_radon_mean", "double", "1", ("passed", "map"), _STREWN, _WU, "", 20),
        ("wm811k", "wm811k", "number", "wm_radon_std", "double", "1", ("passed", "map"), _STREWN, _WU, "", 20),
        *(
            ("wm811k", "wm811k", "die", f"wm_component_{name}", "double", "1", ("passed", "map"), _STREWN, _WU, "",
             1)
            for name in ("area", "perimeter", "major", "minor", "eccentricity", "solidity")
        ),
    )
)  # fmt: skip

_LOTS: Final = tuple(
    Feature(name, "lot", "lots", per, "lot", "after_wafer", kind, unit, inputs, undefined, _LOT)  # type: ignore[arg-type]
    for name, per, kind, unit, inputs, undefined in (
        ("wafers_done", "die", "int", "wafers", (), "never"),
        ("yield_mean", "die", "double", "1", ("passed",), "no die judged"),
        ("yield_std", "die", "double", "1", ("passed",), "under 2 wafers judged"),
        ("lot_mean", "parameter", "double", "", ("value",), "no value"),
        ("lot_std", "parameter", "double", "", ("value",), "under 2 wafers measured"),
        ("lot_die_mean", "parameter", "double", "", ("value",), "no value"),
        ("lot_die_std", "parameter", "double", "", ("value",), "under 2 values"),
    )
)

CATALOGUE: Final[tuple[Feature, ...]] = (
    *_GEOMETRY,
    *_POSSIBLE,
    *_OUTCOMES,
    *_VALUES,
    *_MEASURED,
    *_OWN,
    *_WHOLE,
    *_PAT,
    *_WAFER,
    *_LOTS,
)

RENAMED: Final[dict[str, str]] = {}
"""Earlier key -> key. Registered views name features by the keys of their time, so that a line here stays for ever."""

_BY_KEY: Final = {feature.key: feature for feature in CATALOGUE}


def find_feature(key: str) -> Feature:
    """The feature that a view definition calls `key`, such as `fail__neighbor_frac` or `{p}__neighbor_mean`.

    A key from before a feature was renamed gives the feature, with the column names of that time.

    Raises     ValueError with the nearest key
    """
    if key in _BY_KEY:
        return _BY_KEY[key]
    if key in RENAMED:
        return find_feature(RENAMED[key]).called(key)
    raise ValueError(f"feature {key!r} is not in the catalogue. Hint: {_nearest(key, list(_BY_KEY))}")


def features_of_family(family: str) -> tuple[Feature, ...]:
    """All features of a family, in the catalogue's order. Raises ValueError with the nearest name."""
    found = tuple(feature for feature in CATALOGUE if feature.family == family)
    if found:
        return found
    families = list(dict.fromkeys(feature.family for feature in CATALOGUE))
    raise ValueError(f"family {family!r} is not in the catalogue. Hint: {_nearest(family, families)}")


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"the catalogue has {', '.join(names)}"

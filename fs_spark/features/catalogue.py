"""The catalogue: every feature there is, in one tuple that reads from top to bottom."""

from __future__ import annotations

import difflib
from typing import Final

from fs_spark.features.feature import Feature

_LOT_SOURCE = "own definition: each wafer once, in its latest state over the runs ended by then"
_N8_SOURCE = "eight king-move neighbors restricted to earlier touchdowns of the same wafer and insertion"

CATALOGUE: Final[tuple[Feature, ...]] = (
    # name, kernel, per, entity, knowledge, type, unit, undefined_when, source
    Feature("x_mm", "radial", "die", "die", "static", "double", "mm", "the die size is unknown", "STDF V4 p.38-39"),
    Feature("y_mm", "radial", "die", "die", "static", "double", "mm", "the die size is unknown", "STDF V4 p.38-39"),
    Feature(
        "radius_mm", "radial", "die", "die", "static", "double", "mm", "the die size is unknown", "STDF V4 p.38-39"
    ),
    Feature(
        "radius_norm", "radial", "die", "die", "static", "double", "1", "the map has one die", "radius by the wafer's"
    ),
    Feature(
        "angle_rad", "radial", "die", "die", "static", "double", "rad", "directions unknown", "STDF V4 p.39 POS_X/Y"
    ),
    Feature("edge_distance_mm", "radial", "die", "die", "static", "double", "mm", "sizes unknown", "outermost corner"),
    Feature("is_edge", "radial", "die", "die", "static", "boolean", "", "sizes unknown", "edge exclusion width"),
    Feature("neighbor_possible", "neighbors", "die", "die", "before_test", "int", "dies", "no wafer map", _N8_SOURCE),
    Feature("neighbor_count", "neighbors", "die", "die", "before_test", "int", "dies", "never", _N8_SOURCE),
    Feature("neighbor_count", "neighbors", "fail", "die", "before_test", "int", "dies", "never", _N8_SOURCE),
    Feature(
        "neighbor_frac", "neighbors", "fail", "die", "before_test", "double", "1", "no neighbor judged", _N8_SOURCE
    ),
    Feature("neighbor_mean", "neighbors", "parameter", "die", "before_test", "double", "", "no value", _N8_SOURCE),
    Feature("neighbor_std", "neighbors", "parameter", "die", "before_test", "double", "", "under 2 values", _N8_SOURCE),
    Feature("value", "measured", "parameter", "die", "at_test", "double", "", "no usable result", "PTR, STDF V4 p.45"),
    Feature("wafers_done", "lots", "die", "lot", "after_wafer", "int", "wafers", "never", _LOT_SOURCE),
    Feature("yield_mean", "lots", "die", "lot", "after_wafer", "double", "1", "no die judged", _LOT_SOURCE),
    Feature("yield_std", "lots", "die", "lot", "after_wafer", "double", "1", "under 2 wafers judged", _LOT_SOURCE),
    Feature("lot_mean", "lots", "parameter", "lot", "after_wafer", "double", "", "no value", _LOT_SOURCE),
    Feature("lot_std", "lots", "parameter", "lot", "after_wafer", "double", "", "under 2 wafers measured", _LOT_SOURCE),
    Feature("lot_die_mean", "lots", "parameter", "lot", "after_wafer", "double", "", "no value", _LOT_SOURCE),
    Feature("lot_die_std", "lots", "parameter", "lot", "after_wafer", "double", "", "under 2 values", _LOT_SOURCE),
)


def find_feature(key: str) -> Feature:
    """The feature that a view definition calls `key`, such as `fail__neighbor_frac` or `{p}__neighbor_mean`."""
    for feature in CATALOGUE:
        if feature.key == key:
            return feature
    keys = [feature.key for feature in CATALOGUE]
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"the catalogue has {', '.join(keys)}"
    raise ValueError(f"feature {key!r} is not in the catalogue. Hint: {hint}")

"""One row for a complete wafer: its kernels' totals, zones, profile, and the features of its map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fs_spark.features.engine import Engine, Plan
from fs_spark.features.feature import Feature
from fs_spark.features.mapped import MappedWafer
from fs_spark.kernels.replay import Replay
from fs_spark.kernels.whole_wafer import radial_profile, zone_yields
from fs_spark.kernels.wm811k import map_array, wm811k_features
from fs_spark.wafer import WaferGeometry

Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]


def _zone_of(mapped: MappedWafer, per: str, sectors: int) -> Int32:
    if per == "ring":
        return mapped.ring
    if per == "sector":
        return mapped.sector
    known = (mapped.ring >= 0) & (mapped.sector >= 0)
    zone = np.where(mapped.ring == 0, 0, 1 + (mapped.ring - 1) * sectors + mapped.sector)
    return np.where(known, zone, -1).astype(np.int32)


def wafer_columns(
    plan: Plan, engine: Engine, final: Replay, told: int, mapped: MappedWafer, geometry: WaferGeometry
) -> Float64:
    """The view's columns of the wafer after its latest attempts were told: (c, 1)."""
    dies = final.die[:told]
    outcome = final.outcome[:told]
    totals = [f for f in plan.features if f.kernel in engine.states or f.family == "wafer_summary"]
    values: dict[str, float] = {}
    if totals:
        shown = engine.showing(_only(plan, totals))
        values.update(zip(shown.plan.columns, shown.ask(final, told, told + 1)[:, 0].tolist(), strict=True))
    pictured = [f for f in plan.features if f.kernel == "wm811k"]
    if pictured:
        lattice = mapped.lattice
        pitch = (geometry.pitch_x, geometry.pitch_y)
        picture = map_array(lattice.x[dies], lattice.y[dies], outcome, pitch=pitch, dies=geometry.dies)
        measured = wm811k_features(picture, remove_single_fails=plan.settings.wm_remove_single_fails)
        values.update((column, measured[name]) for f in pictured for column, name in f.by_kernel().items())
    for feature in plan.features:
        if feature.family == "wafer_zones":
            names = feature.columns(plan.parameters, plan.bins, plan.settings)
            zone = _zone_of(mapped, feature.per, plan.settings.sectors)[dies]
            values.update(zip(names, zone_yields(outcome, zone, len(names)).tolist(), strict=True))
        elif feature.family == "wafer_profile":
            for p, parameter in enumerate(plan.parameters):
                names = feature.columns((parameter,), plan.bins, plan.settings)
                profile = radial_profile(final.values[p, :told], mapped.ring[dies], len(names))
                values.update(zip(names, profile.tolist(), strict=True))
    return np.array([[values[column]] for column in plan.columns], np.float64)


def _only(plan: Plan, features: list[Feature]) -> Plan:
    return Plan(tuple(features), plan.parameters, plan.bins, plan.settings)

"""The bits of every feature of the catalogue, on a small lot whose values are made without any library's arithmetic."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.features.catalogue import CATALOGUE
from fs_spark.features.compute import compute_features
from fs_spark.features.settings import SpatialSettings
from fs_spark.wafer import WaferGeometry, rows_of_dies

ACROSS = 14
CHOSEN = SpatialSettings(density_sigma_mm=4.3, density_box_mm=9.1, gradient_radius_mm=9.7, pat_sigmas=3.1)


def _lot() -> tuple[pa.Table, WaferGeometry]:
    """Two wafers in touchdowns of two dies, a third of them tested again; one parameter beside float32 and one not."""
    middle = (ACROSS - 1) / 2
    every = [(x, y) for y in range(ACROSS) for x in range(ACROSS)]
    places = [(x, y) for x, y in every if (x - middle) * (x - middle) + (y - middle) * (y - middle) <= 49]
    rows: list[dict[str, Any]] = []
    state = 12345
    for wafer in ("W1", "W2"):
        for k, (x, y) in enumerate([*places, *places[::3]]):
            draws = []
            for _ in range(3):
                state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
                draws.append((state >> 11) / (1 << 53))
            bowl = 0.01 * ((x - middle) * (x - middle) + (y - middle) * (y - middle))
            rows.append(
                {
                    "wafer_id": wafer, "die_x": x, "die_y": y, "run_id": f"{wafer}r{int(k >= len(places))}",
                    "event_timestamp": (k // 2) * 1_000_000, "available_timestamp": (k // 2) * 1_000_000,
                    "part_index": k, "touchdown": k // 2, "passed": draws[0] > 0.25, "hard_bin": 1 + int(4 * draws[0]),
                    "head": 1, "site": k % 2, "a": 1.2 + bowl + draws[1],
                    "b": float(np.float32(1e-9 * draws[2] + 3e-9)),
                }
            )  # fmt: skip
    table = pa.Table.from_pylist(rows)
    for name in ("event_timestamp", "available_timestamp"):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(pa.timestamp("us", tz="UTC")))
    geometry = WaferGeometry(
        middle + 0.3, middle - 0.2, die_width_mm=2.7, die_height_mm=3.3, wafer_diameter_mm=52.0, pos_x="L", pos_y="U",
        notch="D", reticle=(2, 3, 0, 0), rows=rows_of_dies(places, 1),
    )  # fmt: skip
    return table, geometry


def catalogue_bits() -> dict[str, str]:
    """Column -> digest of all its values' bits."""
    lot, geometry = _lot()
    wafer = lot.filter(pc.equal(lot["wafer_id"], "W1"))
    found: dict[str, str] = {}
    for group in dict.fromkeys((f.knowledge, f.entity) for f in CATALOGUE):
        keys = [f.key for f in CATALOGUE if (f.knowledge, f.entity) == group]
        table = compute_features(
            lot if group[1] == "lot" else wafer, geometry, features=keys, parameters=["a", "b"], bins=[1, 2],
            settings=CHOSEN,
        )  # fmt: skip
        for name in table.column_names:
            values = table[name]
            if pa.types.is_floating(values.type):
                told = values.fill_null(float("nan")).to_numpy().tobytes()
            else:
                told = repr(values.to_pylist()).encode()
            found[f"{' '.join(group)} {name}"] = hashlib.sha256(told).hexdigest()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(catalogue_bits()))

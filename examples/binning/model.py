"""The model beside the tester: a logistic regression as plain arrays, and the bins that it decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SERVICE: Final = "binning"
BEFORE: Final = "die_surroundings"
OWN: Final = "die_values"
"""The views whose rows the program computes itself, and pushes."""
AT_RISK: Final = 7
"""The bin of a die that passes here and is likely to fail at insertion 2."""
FARTHEST: Final = 5.0
"""Standard deviations beyond which a feature says nothing more."""
FILE: Final = "model.json"
_FLOATS: Final = ("fill", "mean", "scale", "weights")


@dataclass(frozen=True, eq=False)
class Model:
    """How likely a die that passes fails at insertion 2; above `threshold` it is `AT_RISK`.

    `fill` stands for a feature that is null; `training_set` and `digest` name the manifest that it was made from, and
    `wafer_map` is the map by which its features were computed.
    """

    training_set: str
    digest: str
    wafer_map: str
    features: tuple[str, ...]
    fill: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    intercept: float
    threshold: float

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        values = np.array([[row[name] for name in self.features] for row in rows], np.float64)
        filled = np.where(np.isnan(values), self.fill, values)
        scaled = np.clip((filled - self.mean) / self.scale, -FARTHEST, FARTHEST)
        return np.asarray(1 / (1 + np.exp(-(scaled * self.weights).sum(axis=1) - self.intercept)))

    def bins(self, rows: Sequence[Mapping[str, Any]], dies: Sequence[Mapping[str, Any]]) -> list[int]:
        """A bin for each die: the tester's own, or for one that passed and should not go on, `AT_RISK`."""
        risky = (self.scores(rows) > self.threshold).tolist()
        return [
            AT_RISK if die["passed"] and at_risk else die["hard_bin"] for die, at_risk in zip(dies, risky, strict=True)
        ]

    def save(self, folder: Path) -> None:
        told = {**vars(self), **{name: getattr(self, name).tolist() for name in _FLOATS}}
        (folder / FILE).write_text(json.dumps(told, indent=1), "utf-8")

    @classmethod
    def load(cls, folder: Path) -> Model:
        told = json.loads((folder / FILE).read_text("utf-8"))
        arrays = {name: np.array(told[name]) for name in _FLOATS}
        return cls(**{**told, **arrays, "features": tuple(told["features"])})

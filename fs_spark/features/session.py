"""A wafer while it is tested: the features of the next touchdown before it is probed, without Spark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from fs_spark.errors import RequestError
from fs_spark.features.attempts import UnitAttempts
from fs_spark.features.compute import plan_of
from fs_spark.features.engine import Engine
from fs_spark.features.mapped import MappedWafers, make_mapped
from fs_spark.features.units import replay_of
from fs_spark.features.view import FeatureView
from fs_spark.kernels.exact import LARGEST
from fs_spark.kernels.replay import Replay, distinct_places
from fs_spark.wafer import WaferGeometry

Part = Mapping[str, Any]

_MOST_SITES: Final = 1024


class WaferSession:
    """What a program beside the tester calls: the kernels of the batch, one touchdown at a time.

    A touchdown is a list of parts with die_x, die_y and, as far as the view's features read them, head, site, passed,
    hard_bin and the parameters by name; what is left out or None is missing. Rows are dictionaries of the view's
    columns, None where a feature is undefined, equal to the last bit to those of a batch over the same touchdowns that
    became known as they were made.

    Raises     RequestError for a view of another class than before_test or at_test, without a wafer map, or with more
               than 1,024 sites
    """

    def __init__(self, geometry: WaferGeometry, view: FeatureView) -> None:
        if view.knowledge not in ("before_test", "at_test") or view.entity != "die":
            raise RequestError(
                f"{view.qualified} is a {view.knowledge} view of a {view.entity}. "
                "Hint: a session serves before_test and at_test views of dies"
            )
        if not geometry.rows:
            raise RequestError("the geometry has no wafer map. Hint: give it `rows`, the possible dies")
        self._geometry = geometry
        self._plan = plan_of(view.features, view.parameters, view.bins, view.settings)
        self._sites: dict[tuple[int, int], int] = {}
        self._strays: set[tuple[int, int]] = set()
        self._told: list[UnitAttempts] = []
        mapped = MappedWafers(self._plan.settings, self._plan.reach_mm).of_map(geometry)
        assert mapped is not None
        self._engine = Engine(self._plan, mapped, sites=_MOST_SITES)

    def ask(self, touchdown: Sequence[Part]) -> list[dict[str, Any]]:
        """The view's columns for each part of the next touchdown; `at_test` views read its own values too."""
        replay = self._replay(self._attempts(touchdown))
        found = self._engine.ask(replay, 0, len(touchdown))
        kinds = list(self._plan.columns.items())
        return [
            {name: _plain(found[k, row], kind) for k, (name, kind) in enumerate(kinds)} for row in range(len(touchdown))
        ]

    def push(self, touchdown: Sequence[Part]) -> None:
        """Tells the results of a touchdown; a die that was tested before is replaced."""
        attempts = self._attempts(touchdown)
        replay = self._replay(attempts)
        self._engine.push(replay, 0, len(touchdown))
        self._told.append(attempts)

    def _attempts(self, touchdown: Sequence[Part]) -> UnitAttempts:
        count = len(touchdown)

        def column(name: str, missing: int, dtype: Any) -> Any:
            given = (part.get(name) for part in touchdown)
            return np.array([missing if value is None else value for value in given], dtype).reshape(count)

        values = np.full((len(self._plan.parameters), count), np.nan)
        for p, name in enumerate(self._plan.parameters):
            for k, part in enumerate(touchdown):
                value = part.get(name)
                if value is not None and abs(value) < LARGEST:
                    values[p, k] = value
        nothing = np.zeros(count, np.int64)
        return UnitAttempts(
            x=np.array([part["die_x"] for part in touchdown], np.int64).reshape(count),
            y=np.array([part["die_y"] for part in touchdown], np.int64).reshape(count),
            event_us=nothing,
            available_us=nothing,
            run=np.zeros(count, np.int32),
            part=nothing,
            sequence=nothing,
            outcome=column("passed", -1, np.int8),
            hard_bin=column("hard_bin", -1, np.int32),
            site=np.array([self._site(part) for part in touchdown], np.int32).reshape(count),
            values=values,
        )

    def _site(self, part: Part) -> int:
        site = part.get("site")
        if site is None:
            return -1
        number = self._sites.setdefault((int(part.get("head") or 0), int(site)), len(self._sites))
        if number >= _MOST_SITES:
            raise RequestError(f"more than {_MOST_SITES} sites. Hint: check `head` and `site` of the parts")
        return number

    def _replay(self, attempts: UnitAttempts) -> Replay:
        mapped = self._engine.wafer
        die = mapped.find(attempts.x, attempts.y)
        if (die < 0).any():
            self._make_room(attempts)
            mapped = self._engine.wafer
            die = mapped.find(attempts.x, attempts.y)
        return replay_of(attempts, mapped, die, attempts.site)

    def _make_room(self, attempts: UnitAttempts) -> None:
        """A die off the map: a lattice with it, told again what was told."""
        self._strays |= set(zip(attempts.x.tolist(), attempts.y.tolist(), strict=True))
        every = np.concatenate([self._geometry.dies, np.array(sorted(self._strays), np.int64)])
        x, y, _ = distinct_places(every[:, 0], every[:, 1])
        mapped = make_mapped(x, y, self._geometry, self._plan.settings, self._plan.reach_mm)
        self._engine = Engine(self._plan, mapped, sites=_MOST_SITES)
        for earlier in self._told:
            die = mapped.find(earlier.x, earlier.y)
            self._engine.push(replay_of(earlier, mapped, die, earlier.site), 0, len(earlier))


def _plain(value: Any, kind: str) -> Any:
    """NaN and what overflowed as None, counts as int."""
    if not math.isfinite(value):
        return None
    return float(value) if kind == "double" else bool(value) if kind == "boolean" else int(value)

"""A store in memory: ingested tables as small frames, its views computed by their definitions, training sets of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from fs_spark import names as n
from fs_spark.features.view import FeatureView
from fs_spark.registry_state import RegistryState
from fs_spark.snapshot import SOURCES, Snapshot
from fs_spark.spatial_views import view_rows
from fs_spark.tables import Tables
from fs_spark.training import TrainingSet
from fs_spark.training.pinned import joined_views
from fs_spark.transforms.as_of import as_of_join
from fs_spark.transforms.spatial import MeasuredTest, ProductBinding
from fs_spark.wafer import WaferGeometry
from tests.rows import Rows, frame_of

STEP = 1_000_000
START = 1_738_000_000 * STEP
DAY = 86_400 * STEP
SIDE = 5

DIE_TESTS = (
    "file_id string, run_id string, lot_id string, wafer_id string, die_x int, die_y int, head int, site int, "
    "touchdown int, part_index int, passed boolean, hard_bin int, soft_bin int, test_time_ms bigint, "
    "event_timestamp timestamp, available_timestamp timestamp, insertion string, product_id string"
)
RESULTS = (
    "file_id string, run_id string, lot_id string, wafer_id string, part_index int, test_num bigint, test_name string, "
    "occurrence int, element int, result float"
)
VIEWS = (
    FeatureView(name="geometry", version="1.0", features=("radius_norm",)),
    FeatureView(
        name="neighborhood", version="1.0", parameters=("vdd",),
        features=("neighbor_count", "fail__neighbor_count", "fail__neighbor_frac", "{p}__neighbor_mean"),
    ),
    FeatureView(name="measured", version="1.0", features=("{p}",), parameters=("vdd",)),
    FeatureView(name="wafer_end", version="1.0", features=("fail__full_neighbor_frac",)),
    FeatureView(name="lot", version="1.0", features=("wafers_done", "yield_mean")),
)  # fmt: skip
BINDING = ProductBinding(
    WaferGeometry(center_x=2.0, center_y=2.0, rows=tuple((y, 0, SIDE - 1) for y in range(SIDE))),
    {"vdd": MeasuredTest(1, "vdd")},
)


class MemoryTables(Tables):
    """Tables that are frames; every version is the one there is."""

    def __init__(self, spark: SparkSession, frames: Mapping[str, DataFrame]) -> None:
        super().__init__(spark, root=None, catalog=None, horizon="interval 1 days")
        self.frames = dict(frames)
        self.gone: set[str] = set()

    def read(self, name: str, version: int | None = None) -> DataFrame:
        return self.frames[name]

    def unreadable(self, name: str, version: int) -> str | None:
        return "it was removed" if name in self.gone else None


@dataclass(frozen=True)
class MemoryStore:
    _tables: MemoryTables
    state: RegistryState = field(default_factory=RegistryState)

    def _state(self) -> RegistryState:
        return self.state


def lot_of_tests(rng: random.Random, *, late: int) -> tuple[Rows, Rows]:
    """Two wafers, two runs of each a day apart, two dies a touchdown; results are known `late` seconds after the last
    touchdown of their run."""
    dies: Rows = []
    results: Rows = []
    for run in range(2):
        for wafer in range(2):
            places = [(x, y) for x in range(SIDE) for y in range(SIDE)]
            rng.shuffle(places)
            begin = START + run * DAY + wafer * 3600 * STEP
            end = begin + (len(places) // 2) * STEP
            for index, (x, y) in enumerate(places):
                event = begin + (index // 2) * STEP
                passed = rng.random() < 0.6
                keys = {"file_id": f"F{run}", "run_id": f"R{run}W{wafer}", "lot_id": "L1", "wafer_id": f"W{wafer}"}
                dies.append(
                    {
                        **keys, "die_x": x, "die_y": y, "head": 1, "site": index % 2, "touchdown": index // 2,
                        "part_index": index, "passed": passed, "hard_bin": 1 if passed else 5, "soft_bin": 1,
                        "test_time_ms": 100, "event_timestamp": event,
                        "available_timestamp": end + late * STEP if late else event,
                        "insertion": "1", "product_id": "chip",
                    }
                )  # fmt: skip
                value = {"test_num": 1, "test_name": "vdd", "occurrence": 0, "result": rng.gauss(1.0, 0.1)}
                results.append({**keys, "part_index": index, **value})
    return dies, results


def memory_store(spark: SparkSession, dies: Rows, results: Rows) -> MemoryStore:
    """With every view materialized into its table."""
    files = [{"file_id": "F0", "status": "ingested"}, {"file_id": "F1", "status": "ingested"}]
    runs = {row["run_id"]: {c: row[c] for c in ("file_id", "run_id", "lot_id", "insertion")} for row in dies}
    tables = MemoryTables(
        spark,
        {
            n.FILES: frame_of(spark, files, "file_id string, status string"),
            n.WAFER_RUNS: frame_of(
                spark, list(runs.values()), "file_id string, run_id string, lot_id string, insertion string"
            ),
            n.DIE_TESTS: frame_of(spark, dies, DIE_TESTS),
            n.TEST_RESULTS: frame_of(spark, results, RESULTS),
        },
    )
    state = RegistryState(
        versions={(view.name, view.version): view for view in VIEWS},
        promoted={view.name: view.version for view in VIEWS},
        bindings={(view.name, view.version): {"chip": BINDING} for view in VIEWS},
        binding_digests={(view.name, view.version): {"chip": "digest"} for view in VIEWS},
    )
    for view in VIEWS:
        rows = view_rows(Snapshot(tables, dict.fromkeys(SOURCES, 0)), view, {"chip": BINDING}, None)
        tables.frames[view.table] = spark.createDataFrame(rows.toArrow(), rows.schema)
    return MemoryStore(tables, state)


def pinned_parts(views: Sequence[FeatureView] = VIEWS) -> list[dict[str, Any]]:
    """What a manifest says of views that respect availability."""
    return [
        {
            "view": view.name,
            "version": view.version,
            "definition_hash": view.definition_hash,
            "bindings": {"chip": "digest"},
            "sources": dict.fromkeys(SOURCES, 0),
            "table": view.table,
            "delta_version": 0,
            "keys": list(view.keys),
            "parameters": list(view.parameters),
            "boundary": view.boundary,
            "availability": "respected",
            "offset_s": 0.0,
            "ttl_s": None,
            "columns": [[column, column] for column in view.columns],
            "times": view.knowledge != "static",
        }
        for view in views
    ]


def own_test_set(store: MemoryStore, pinned: list[dict[str, Any]]) -> TrainingSet:
    """Every test with its outcome as the label, at its own time."""
    spine = store._tables.frames[n.DIE_TESTS].select(*n.DIE_KEYS, n.EVENT_TIMESTAMP, n.PASSED)
    frames = {one["table"]: store._tables.frames[one["table"]] for one in pinned}
    joined = as_of_join(spine, joined_views(pinned, frames)).toArrow()
    manifest = {"timestamp": n.EVENT_TIMESTAMP, "spine": {"columns": spine.columns}, "views": pinned}
    return TrainingSet("own_test", spine.sparkSession.createDataFrame(joined), manifest)

"""Read records -> Arrow tables: parts, results, wafer runs and tests with the columns of the store, bins, sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fs_spark.stdf.columns import constant, listed, numbers, spread, texts
from fs_spark.stdf.identity import Identity
from fs_spark.stdf.parts import MISSING_COORDINATE, MISSING_HARD_BIN, MISSING_SOFT_BIN, Parts
from fs_spark.stdf.records import Fields
from fs_spark.stdf.results import Results, Test
from fs_spark.stdf.run_times import RunTimes
from fs_spark.stdf.runs import Run

UTC_US: Final = pa.timestamp("us", tz="UTC")
LOCAL_US: Final = pa.timestamp("us")
PART_RESULT: Final = pa.struct(
    {
        "test_index": pa.int32(),
        "occurrence": pa.int32(),
        "element": pa.int32(),
        "result": pa.float32(),
        "passed": pa.bool_(),
    }.items()
)
"""One result of a part, as it travels."""

Int64 = NDArray[np.int64]


def parts_table(
    parts: Parts, runs: Sequence[Run], times: Sequence[RunTimes], head: Fields, identity: Identity | None, file_id: str
) -> pa.Table:
    n, run = len(parts.run), parts.run
    first = np.cumsum([0, *(len(when.local_us) for when in times)])
    at = first[run] + parts.touchdown  # place of a part's touchdown among those of all runs

    def of_touchdown(values: Sequence[Int64 | None]) -> Int64:
        some = [v for v in values if v is not None]
        return np.concatenate(some)[at] if some else np.zeros(n, np.int64)

    local = of_touchdown([when.local_us for when in times])
    event = of_touchdown([when.event_us for when in times])
    available = of_touchdown([when.available_us for when in times])
    qualities = [quality for when in times for quality in when.qualities]
    unzoned = not times or times[0].event_us is None
    known = [np.full(len(when.local_us), when.known) for when in times]
    never = ~np.concatenate(known)[at] if known else np.zeros(n, bool)
    unknown = never | unzoned
    flag = parts.flag
    run_start = np.array([when.start_us or 0 for when in times], np.int64)
    run_local = np.array([when.start_local_us or 0 for when in times], np.int64)
    no_start = np.array([when.start_us is None for when in times], bool)[run]
    no_local_start = np.array([when.start_local_us is None for when in times], bool)[run]
    return pa.table(
        {
            "file_id": constant(file_id, n),
            "run_id": spread([r.run_id for r in runs], run),
            "lot_id": constant(identity.lot_id if identity else head["lot_id"], n),
            "wafer_id": spread([r.wafer_id for r in runs], run),
            "die_x": numbers(parts.x, pa.int32(), parts.x == MISSING_COORDINATE),
            "die_y": numbers(parts.y, pa.int32(), parts.y == MISSING_COORDINATE),
            "head": numbers(parts.head, pa.int32()),
            "site": numbers(parts.site, pa.int32()),
            "touchdown": numbers(parts.touchdown, pa.int32()),
            "part_index": numbers(np.arange(n), pa.int32()),
            "part_id": texts(parts.part_id),
            "passed": numbers((flag & 0x08) == 0, pa.bool_(), (flag & 0x10) != 0),
            "hard_bin": numbers(parts.hard_bin, pa.int32(), parts.hard_bin == MISSING_HARD_BIN),
            "soft_bin": numbers(parts.soft_bin, pa.int32(), parts.soft_bin == MISSING_SOFT_BIN),
            "test_time_ms": numbers(parts.test_time_ms, pa.int64(), parts.test_time_ms == 0),
            "run_start": numbers(run_start[run], UTC_US, no_start),
            "run_start_local": numbers(run_local[run], LOCAL_US, no_local_start),
            "event_timestamp": numbers(event, UTC_US, unknown),
            "event_local": numbers(local, LOCAL_US, never),
            "time_quality": spread(qualities, at),
            "available_timestamp": numbers(available, UTC_US, unknown),
            "insertion": constant(identity.insertion if identity else None, n),
            "product_id": constant(identity.product.product_id if identity else None, n),
            "test_program": constant(head["job_nam"], n),
            "tester": constant(head["node_nam"], n),
        }
    )


def tests_table(tests: Sequence[Test], file_id: str) -> pa.Table:
    def column(name: str, kind: pa.DataType) -> pa.Array:
        return listed([getattr(test, name) for test in tests], kind)

    limits = ("low_limit", "high_limit", "low_spec", "high_spec")
    return pa.table(
        {
            "file_id": constant(file_id, len(tests)),
            "test_index": numbers(np.arange(len(tests)), pa.int32()),
            "test_num": column("test_num", pa.int64()),
            "test_name": column("test_name", pa.string()),
            "record": column("record", pa.string()),
            "unit": column("unit", pa.string()),
            **{name: column(name, pa.float32()) for name in limits[:2]},
            "low_inclusive": column("low_inclusive", pa.bool_()),
            "high_inclusive": column("high_inclusive", pa.bool_()),
            **{name: column(name, pa.float32()) for name in limits[2:]},
            "result_scale": column("result_scale", pa.int32()),
            "opt_flag": column("opt_flag", pa.int32()),
        }
    )


def result_values(results: Results) -> dict[str, pa.Array]:
    """The columns of the results by themselves: test_index, occurrence, element, result, passed."""
    return {
        "test_index": numbers(results.test_index, pa.int32()),
        "occurrence": numbers(results.occurrence, pa.int32()),
        "element": numbers(results.element, pa.int32(), results.element < 0),
        "result": numbers(results.result, pa.float32(), ~results.usable),
        "passed": numbers(results.passed, pa.bool_(), ~results.says_passed),
    }


def part_results(results: Results, values: dict[str, pa.Array]) -> pa.Array:
    """Results as one list of structs per part, which is how they travel."""
    structs = pa.StructArray.from_arrays([values[field.name] for field in PART_RESULT], fields=list(PART_RESULT))
    return pa.ListArray.from_arrays(numbers(results.begins, pa.int32()), structs)


def results_table(results: Results, values: dict[str, pa.Array], tests: Sequence[Test], parts: pa.Table) -> pa.Table:
    """The long table. Texts are dictionary-encoded: a row costs some bytes and not the length of its names."""
    counts = np.diff(results.begins)
    rows = int(results.begins[-1])

    part_of = numbers(np.repeat(np.arange(len(counts), dtype=np.int32), counts), pa.int32())

    def of_part(name: str) -> pa.Array:
        encoded = parts[name].combine_chunks().dictionary_encode()
        if len(encoded.dictionary) == 1 and not encoded.null_count:
            return pa.DictionaryArray.from_arrays(numbers(np.zeros(rows, np.int32), pa.int32()), encoded.dictionary)
        return encoded.take(part_of)

    def of_test(name: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(
            values["test_index"], texts([getattr(test, name) for test in tests]), safe=False
        )

    records = ("PTR", "MPR", "FTR")
    kinds = np.array([records.index(test.record) for test in tests], np.int32)
    record = kinds[results.test_index] if len(tests) else np.zeros(rows, np.int32)
    of_index = np.array([test.test_num for test in tests], np.int64)
    return pa.table(
        {
            **{name: of_part(name) for name in ("file_id", "run_id", "lot_id", "wafer_id")},
            "part_index": part_of,
            "test_num": numbers(of_index[results.test_index] if len(tests) else of_index, pa.int64()),
            "test_name": of_test("test_name"),
            **{name: values[name] for name in ("occurrence", "element", "result", "passed")},
            "record": pa.DictionaryArray.from_arrays(numbers(record, pa.int32()), texts(records)),
        }
    )


def runs_table(
    runs: Sequence[Run], times: Sequence[RunTimes], parts: Parts, head: Fields, identity: Identity | None, file_id: str
) -> pa.Table:
    n, count = len(runs), np.bincount(parts.run, minlength=len(runs))

    geometry = {
        name: listed([getattr(run.geometry, name) for run in runs], kind)
        for name, kind in (
            ("wafer_diameter_mm", pa.float64()),
            ("die_width_mm", pa.float64()),
            ("die_height_mm", pa.float64()),
            ("center_x", pa.int32()),
            ("center_y", pa.int32()),
            ("flat", pa.string()),
            ("pos_x", pa.string()),
            ("pos_y", pa.string()),
        )
    }
    return pa.table(
        {
            "file_id": constant(file_id, n),
            "run_id": listed([run.run_id for run in runs], pa.string()),
            "run_key": listed([run.run_key for run in runs], pa.string()),
            "lot_id": constant(identity.lot_id if identity else head["lot_id"], n),
            "wafer_id": listed([run.wafer_id for run in runs], pa.string()),
            "head": listed([run.head for run in runs], pa.int32()),
            "insertion": constant(identity.insertion if identity else None, n),
            "product_id": constant(identity.product.product_id if identity else None, n),
            "test_program": constant(head["job_nam"], n),
            "tester": constant(head["node_nam"], n),
            "run_start": listed([when.start_us for when in times], UTC_US),
            "run_start_local": listed([when.start_local_us for when in times], LOCAL_US),
            "run_finish": listed([when.finish_us for when in times], UTC_US),
            "run_end": listed([when.end_us for when in times], UTC_US),
            "time_quality": listed([when.quality for when in times], pa.string()),
            "touchdowns": listed([len(when.local_us) for when in times], pa.int32()),
            "parts": numbers(count, pa.int32()),
            **geometry,
        }
    )


def bins_table(bins: Sequence[tuple[str, Fields]], file_id: str) -> pa.Table:
    """One row per HBR and SBR; head 255 is the sum over all sites [STDF V4 p.24-27]."""
    kind = {"HBR": "hard", "SBR": "soft"}

    def column(name: str, type_: pa.DataType) -> pa.Array:
        return listed([fields.get(name, fields.get(name.replace("hbin", "sbin"))) for _, fields in bins], type_)

    said = [fields.get("hbin_pf") or fields.get("sbin_pf") for _, fields in bins]
    return pa.table(
        {
            "file_id": constant(file_id, len(bins)),
            "kind": listed([kind[record] for record, _ in bins], pa.string()),
            "head": column("head_num", pa.int32()),
            "site": column("site_num", pa.int32()),
            "bin": column("hbin_num", pa.int32()),
            "name": column("hbin_nam", pa.string()),
            "passed": listed([{"P": True, "F": False}.get(flag or "") for flag in said], pa.bool_()),
            "parts": column("hbin_cnt", pa.int64()),
        }
    )


_EQUIPMENT: Final = ("hand", "card", "load", "dib", "cabl", "cont", "lasr", "extr")


def sites_table(descriptions: Sequence[Fields], parts: Parts, file_id: str) -> pa.Table:
    """One row per (head, site) that an SDR names or that parts were tested on, with the equipment of its SDR."""
    found: dict[tuple[int | None, int], Fields] = {}
    for fields in descriptions:
        for site in fields["site_num"] or ():
            found.setdefault((fields["head_num"], site), fields)
    of_head = {fields["head_num"]: fields for fields in reversed(descriptions)}
    used, counts = np.unique(np.stack([parts.head, parts.site]), axis=1, return_counts=True)
    tested = {(int(head), int(site)): int(n) for head, site, n in zip(*used, counts, strict=True)}
    for head, site in tested:
        found.setdefault((head, site), of_head.get(head, of_head.get(255, {})))
    keys = sorted(found, key=lambda key: (key[0] is not None, key))
    columns: dict[str, pa.Array] = {
        "file_id": constant(file_id, len(keys)),
        "head": listed([head for head, _ in keys], pa.int32()),
        "site": listed([site for _, site in keys], pa.int32()),
        "site_group": listed([found[key].get("site_grp") for key in keys], pa.int32()),
        "parts": listed([tested.get(key, 0) for key in keys], pa.int64()),  # type: ignore[arg-type]
    }
    for name in (f"{what}_{which}" for what in _EQUIPMENT for which in ("typ", "id")):
        columns[name] = listed([found[key].get(name) for key in keys], pa.string())
    return pa.table(columns)

"""Read records -> Arrow tables: parts, results, wafer runs and tests with the columns of the store, bins, sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fs_spark.stdf.identity import Identity
from fs_spark.stdf.parts import MISSING_COORDINATE, MISSING_HARD_BIN, MISSING_SOFT_BIN, Parts
from fs_spark.stdf.records import Fields
from fs_spark.stdf.results import Results, Test
from fs_spark.stdf.runs import Run, RunTimes

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


def _masked(values: NDArray[Any], missing: NDArray[np.bool_], dtype: pa.DataType) -> pa.Array:
    return pa.array(values, dtype, mask=missing)


def _texts(values: Sequence[str | None], index: Int64) -> pa.Array:
    """Few distinct texts spread over many parts."""
    return pa.array(values, pa.string()).take(pa.array(index))


def parts_table(
    parts: Parts, runs: Sequence[Run], times: Sequence[RunTimes], head: Fields, identity: Identity | None, file_id: str
) -> pa.Table:
    n, run = len(parts.run), parts.run
    first = np.cumsum([0, *(len(when.local_us) for when in times)])
    at = first[run] + parts.touchdown  # place of a part's touchdown among those of all runs

    def spread(values: Sequence[Int64 | None]) -> Int64:
        some = [v for v in values if v is not None]
        return np.concatenate(some)[at] if some else np.zeros(n, np.int64)

    local, event = spread([when.local_us for when in times]), spread([when.event_us for when in times])
    available = spread([when.available_us for when in times])
    qualities = pa.array([quality for when in times for quality in when.qualities], pa.string())
    unknown = np.full(n, not times or times[0].start_us is None)
    flag = parts.flag
    run_start = np.array([when.start_us or 0 for when in times], np.int64)
    run_local = np.array([when.start_local_us for when in times], np.int64)
    return pa.table(
        {
            "file_id": pa.repeat(pa.scalar(file_id), n),
            "run_id": _texts([r.run_id for r in runs], run),
            "lot_id": pa.repeat(pa.scalar(identity.lot_id if identity else head["lot_id"], pa.string()), n),
            "wafer_id": _texts([r.wafer_id for r in runs], run),
            "die_x": _masked(parts.x, parts.x == MISSING_COORDINATE, pa.int32()),
            "die_y": _masked(parts.y, parts.y == MISSING_COORDINATE, pa.int32()),
            "head": pa.array(parts.head, pa.int32()),
            "site": pa.array(parts.site, pa.int32()),
            "touchdown": pa.array(parts.touchdown, pa.int32()),
            "part_index": pa.array(np.arange(n), pa.int32()),
            "part_id": pa.array(parts.part_id, pa.string()),
            "passed": _masked((flag & 0x08) == 0, (flag & 0x10) != 0, pa.bool_()),
            "hard_bin": _masked(parts.hard_bin, parts.hard_bin == MISSING_HARD_BIN, pa.int32()),
            "soft_bin": _masked(parts.soft_bin, parts.soft_bin == MISSING_SOFT_BIN, pa.int32()),
            "test_time_ms": _masked(parts.test_time_ms, parts.test_time_ms == 0, pa.int64()),
            "run_start": pa.array(run_start[run], pa.int64(), mask=unknown).cast(UTC_US),
            "run_start_local": pa.array(run_local[run], pa.int64()).cast(LOCAL_US),
            "event_timestamp": pa.array(event, pa.int64(), mask=unknown).cast(UTC_US),
            "event_local": pa.array(local, pa.int64()).cast(LOCAL_US),
            "time_quality": qualities.take(pa.array(at)),
            "available_timestamp": pa.array(available, pa.int64(), mask=unknown).cast(UTC_US),
            "insertion": pa.repeat(pa.scalar(identity.insertion if identity else None, pa.string()), n),
            "product_id": pa.repeat(pa.scalar(identity.product.product_id if identity else None, pa.string()), n),
            "test_program": pa.repeat(pa.scalar(head["job_nam"], pa.string()), n),
            "tester": pa.repeat(pa.scalar(head["node_nam"], pa.string()), n),
        }
    )


def tests_table(tests: Sequence[Test], file_id: str) -> pa.Table:
    def column(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([getattr(test, name) for test in tests], kind)

    limits = ("low_limit", "high_limit", "low_spec", "high_spec")
    return pa.table(
        {
            "file_id": pa.repeat(pa.scalar(file_id), len(tests)),
            "test_index": pa.array(range(len(tests)), pa.int32()),
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


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _valid(values: NDArray[Any], valid: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """An Arrow array over the memory of `values`."""
    data = _bits(values) if pa.types.is_boolean(kind) else pa.py_buffer(values)
    return pa.Array.from_buffers(kind, len(values), [_bits(valid), data])


def result_values(results: Results) -> dict[str, pa.Array]:
    """The columns of the results by themselves: test_index, occurrence, element, result, passed."""
    return {
        "test_index": pa.array(results.test_index),
        "occurrence": pa.array(results.occurrence),
        "element": _valid(results.element, results.element >= 0, pa.int32()),
        "result": _valid(results.result, results.usable, pa.float32()),
        "passed": _valid(results.passed, results.says_passed, pa.bool_()),
    }


def part_results(results: Results, values: dict[str, pa.Array]) -> pa.Array:
    """Results as one list of structs per part, which is how they travel."""
    structs = pa.StructArray.from_arrays([values[field.name] for field in PART_RESULT], fields=list(PART_RESULT))
    return pa.ListArray.from_arrays(pa.array(results.begins.astype(np.int32)), structs)


def results_table(results: Results, values: dict[str, pa.Array], tests: Sequence[Test], parts: pa.Table) -> pa.Table:
    """The long table. Texts are dictionary-encoded: a row costs some bytes and not the length of its names."""
    counts = np.diff(results.begins)
    rows = int(results.begins[-1])

    def of_part(name: str) -> pa.Array:
        encoded = parts[name].combine_chunks().dictionary_encode()
        if len(encoded.dictionary) == 1 and not encoded.null_count:
            index = pa.array(np.zeros(rows, np.int8))
        else:
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
            spread = np.repeat(codes, counts)
            index = _valid(spread, spread >= 0, pa.int32())
        return pa.DictionaryArray.from_arrays(index.cast(pa.int32()), encoded.dictionary)

    def of_test(name: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(
            values["test_index"], pa.array([getattr(test, name) for test in tests], pa.string()), safe=False
        )

    records = ("PTR", "MPR", "FTR")
    kinds = np.array([records.index(test.record) for test in tests], np.int32)
    record = kinds[results.test_index] if len(tests) else np.zeros(rows, np.int32)
    numbers = np.array([test.test_num for test in tests], np.int64)
    return pa.table(
        {
            **{name: of_part(name) for name in ("file_id", "run_id", "lot_id", "wafer_id")},
            "part_index": pa.array(np.repeat(np.arange(len(counts), dtype=np.int32), counts)),
            "test_num": pa.array(numbers[results.test_index] if len(tests) else np.empty(0, np.int64)),
            "test_name": of_test("test_name"),
            **{name: values[name] for name in ("occurrence", "element", "result", "passed")},
            "record": pa.DictionaryArray.from_arrays(pa.array(record), pa.array(records)),
        }
    )


def runs_table(
    runs: Sequence[Run], times: Sequence[RunTimes], parts: Parts, head: Fields, identity: Identity | None, file_id: str
) -> pa.Table:
    n, count = len(runs), np.bincount(parts.run, minlength=len(runs))

    def stamps(values: Sequence[int | None], kind: pa.DataType) -> pa.Array:
        return pa.array(values, pa.int64()).cast(kind)

    geometry = {
        name: pa.array([getattr(run.geometry, name) for run in runs], kind)
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
            "file_id": pa.repeat(pa.scalar(file_id), n),
            "run_id": pa.array([run.run_id for run in runs], pa.string()),
            "run_key": pa.array([run.run_key for run in runs], pa.string()),
            "lot_id": pa.repeat(pa.scalar(identity.lot_id if identity else head["lot_id"], pa.string()), n),
            "wafer_id": pa.array([run.wafer_id for run in runs], pa.string()),
            "head": pa.array([run.head for run in runs], pa.int32()),
            "insertion": pa.repeat(pa.scalar(identity.insertion if identity else None, pa.string()), n),
            "product_id": pa.repeat(pa.scalar(identity.product.product_id if identity else None, pa.string()), n),
            "test_program": pa.repeat(pa.scalar(head["job_nam"], pa.string()), n),
            "tester": pa.repeat(pa.scalar(head["node_nam"], pa.string()), n),
            "run_start": stamps([when.start_us for when in times], UTC_US),
            "run_start_local": stamps([when.start_local_us for when in times], LOCAL_US),
            "run_finish": stamps([when.finish_us for when in times], UTC_US),
            "run_end": stamps([when.end_us for when in times], UTC_US),
            "time_quality": pa.array([when.quality for when in times], pa.string()),
            "touchdowns": pa.array([len(when.local_us) for when in times], pa.int32()),
            "parts": pa.array(count, pa.int32()),
            **geometry,
        }
    )


def bins_table(bins: Sequence[tuple[str, Fields]], file_id: str) -> pa.Table:
    """One row per HBR and SBR; head 255 is the sum over all sites [STDF V4 p.24-27]."""
    kind = {"HBR": "hard", "SBR": "soft"}

    def column(name: str, type_: pa.DataType) -> pa.Array:
        return pa.array([fields.get(name, fields.get(name.replace("hbin", "sbin"))) for _, fields in bins], type_)

    said = [fields.get("hbin_pf") or fields.get("sbin_pf") for _, fields in bins]
    return pa.table(
        {
            "file_id": pa.repeat(pa.scalar(file_id), len(bins)),
            "kind": pa.array([kind[record] for record, _ in bins], pa.string()),
            "head": column("head_num", pa.int32()),
            "site": column("site_num", pa.int32()),
            "bin": column("hbin_num", pa.int32()),
            "name": column("hbin_nam", pa.string()),
            "passed": pa.array([{"P": True, "F": False}.get(flag or "") for flag in said], pa.bool_()),
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
        "file_id": pa.repeat(pa.scalar(file_id), len(keys)),
        "head": pa.array([head for head, _ in keys], pa.int32()),
        "site": pa.array([site for _, site in keys], pa.int32()),
        "site_group": pa.array([found[key].get("site_grp") for key in keys], pa.int32()),
        "parts": pa.array([tested.get(key, 0) for key in keys], pa.int64()),  # type: ignore[arg-type]
    }
    for name in (f"{what}_{which}" for what in _EQUIPMENT for which in ("typ", "id")):
        columns[name] = pa.array([found[key].get(name) for key in keys], pa.string())
    return pa.table(columns)

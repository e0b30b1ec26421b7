"""The digest of a frame: blind to the order of rows, and to nothing else."""

from __future__ import annotations

import hashlib
import random
import struct
from math import nan
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark.transforms.digest import (
    _partition_digest,
    combine_digests,
    hash_sums,
    partition_digests,
    sum_of,
    unit_checksum,
)
from tests.rows import ARROW, arrow_of, frame_of, rows_of, settings


def digest(frame: DataFrame) -> tuple[str, int]:
    parts = [(row["digest"], row["rows"]) for row in partition_digests(frame).collect()]
    return combine_digests(parts, list(frame.dtypes))


def column_digest(values: list[Any], kind: pa.DataType) -> str:
    """The digest of one column, as a Spark task computes it, without Spark."""
    return table_digest(pa.table({"c": pa.array(values, kind)}))


def table_digest(table: pa.Table) -> str:
    found = _partition_digest(None, ())(iter(table.to_batches()))
    parts = [(row["digest"], row["rows"]) for b in found for row in b.to_pylist()]
    return combine_digests(parts, [(field.name, str(field.type)) for field in table.schema])[0]


SCHEMA = "id bigint, small int, name string, flag boolean, at timestamp, wall timestamp_ntz, f float, d double"


def random_rows(rng: random.Random, n: int) -> list[dict[str, Any]]:
    return [
        {
            "id": rng.choice([None, 0, -1, 2**62]),
            "small": rng.choice([None, 0, 7]),
            "name": rng.choice([None, "", "a", "ab", "µ\0"]),
            "flag": rng.choice([None, True, False]),
            "at": rng.choice([None, 0, -1, 1_738_000_000_000_001]),
            "wall": rng.choice([None, 0, 1]),
            "f": rng.choice([None, nan, 0.0, -0.0, 0.1]),
            "d": rng.choice([None, nan, 0.0, -0.0, 0.1]),
        }
        for _ in range(n)
    ]


def test_order_and_partitions_do_not_matter(spark: SparkSession) -> None:
    rng = random.Random(1)
    rows = random_rows(rng, 300)
    expected = digest(frame_of(spark, rows, SCHEMA).coalesce(1))
    assert expected[1] == 300
    for partitions in (2, 7):
        rng.shuffle(rows)
        assert digest(frame_of(spark, rows, SCHEMA).repartition(partitions)) == expected
    with settings(spark, {"spark.sql.execution.arrow.maxRecordsPerBatch": "7"}):
        assert digest(frame_of(spark, rows, SCHEMA)) == expected
    with settings(spark, {"spark.sql.session.timeZone": "America/Los_Angeles"}):
        assert digest(frame_of(spark, rows, SCHEMA)) == expected


def test_each_single_change_is_seen(spark: SparkSession) -> None:
    """One cell of one row becomes another value of its column; all digests differ from each other."""
    row = {"id": 1, "small": 1, "name": "a", "flag": True, "at": 1, "wall": 1, "f": 1.0, "d": 1.0}
    rows = [row, {}, {**row, "id": 2}]
    seen = {table_digest(arrow_of(rows, SCHEMA))}
    others: dict[str, list[Any]] = {
        "id": [None, 0, 2, 2**40],
        "small": [None, 0, 2],
        "name": [None, "", "A", "a\0", "aa"],
        "flag": [None, False],
        "at": [None, 0, 2, -1],
        "wall": [None, 0, 2],
        "f": [None, nan, 0.0, -0.0, 1.0000001],
        "d": [None, nan, 0.0, -0.0, 1.0000000000000002],
    }
    for name, values in others.items():
        for value in values:
            seen.add(table_digest(arrow_of([{**row, name: value}, *rows[1:]], SCHEMA)))
    assert len(seen) == 1 + sum(map(len, others.values()))
    # what Spark hands to the function is what was hashed here
    changed = frame_of(spark, [{**row, "d": -0.0, "f": None}, *rows[1:]], SCHEMA)
    assert digest(changed) != digest(frame_of(spark, [{**row, "d": 0.0, "f": None}, *rows[1:]], SCHEMA))
    assert digest(changed) != digest(frame_of(spark, [{**row, "d": -0.0, "f": nan}, *rows[1:]], SCHEMA))


def test_duplicates_and_their_number_are_seen(spark: SparkSession) -> None:
    frame = frame_of(spark, [{"d": 1.0}], "d double")
    digests = [digest(frame), digest(frame.union(frame)), digest(frame.limit(0))]
    assert len(set(digests)) == 3
    assert [rows for _, rows in digests] == [1, 2, 0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([(1, 2)], [(2, 1)], id="between columns"),
        pytest.param([(1, 2), (3, 4)], [(1, 4), (3, 2)], id="between rows"),
        pytest.param([(None, 2)], [(2, None)], id="a null between columns"),
        pytest.param([(None, 0)], [(0, None)], id="null and zero"),
        pytest.param([(1, 1), (2, 2)], [(1, 2), (2, 1)], id="crosswise"),
    ],
)
def test_swapped_values_are_seen(one: list[tuple[Any, Any]], other: list[tuple[Any, Any]]) -> None:
    for kind in ("int", "double", "string"):
        digests = {
            table_digest(
                pa.table(
                    {
                        name: pa.array(
                            [None if r[i] is None else str(r[i]) if kind == "string" else r[i] for r in rows]
                        ).cast(ARROW[kind])
                        for i, name in enumerate(("a", "b"))
                    }
                )
            )
            for rows in (one, other)
        }
        assert len(digests) == 2, kind


def test_texts_do_not_run_together() -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("abc", None), (None, "abc")]
    assert len({table_digest(pa.table({"a": pa.array([a], pa.string()), "b": pa.array([b], pa.string())}))
                for a, b in pairs}) == len(pairs)  # fmt: skip


def test_names_and_types_of_columns_are_seen(spark: SparkSession) -> None:
    frame = frame_of(spark, [{"a": 1}], "a int")
    others = [frame, frame.withColumnRenamed("a", "b"), frame.select(F.col("a").cast("bigint"))]
    assert len({digest(other)[0] for other in others}) == 3


def test_other_types() -> None:
    """Decimals, dates, bytes and lists, which spines may carry."""
    from datetime import date
    from decimal import Decimal

    cases: list[tuple[pa.DataType, list[Any]]] = [
        (pa.decimal128(10, 2), [Decimal("1.00"), Decimal("1.01"), None]),
        (pa.date32(), [date(2025, 1, 1), date(2025, 1, 2), None]),
        (pa.binary(), [b"", b"a", None]),
        (pa.list_(pa.float64()), [[], [0.0], [-0.0], [nan], [None], None]),
        (pa.null(), [None]),
    ]
    for kind, values in cases:
        assert len({column_digest([value], kind) for value in values}) == len(values), kind


def test_unit_checksums(spark: SparkSession) -> None:
    """The same for any order and partitioning; another for another value, null, NaN, or one row twice."""
    base = [{"unit": "u", "a": 1, "d": 0.5}, {"unit": "u", "a": 2, "d": None}]
    variants = {
        "base": base,
        "value": [{**base[0], "d": 0.25}, base[1]],
        "null": [{**base[0], "d": None}, base[1]],
        "nan": [{**base[0], "d": nan}, base[1]],
        "zero": [base[0], {**base[1], "d": 0.0}],
        "moved": [{**base[0], "d": None}, {**base[1], "d": 0.5}],
        "twice": [*base, base[0]],
        "twice the other": [*base, base[1]],
    }
    rows = [{**row, "unit": unit} for unit, of_unit in variants.items() for row in of_unit]
    found = []
    for partitions, ordered in ((1, rows), (7, rows[::-1])):
        frame = frame_of(spark, ordered, "unit string, a int, d double").repartition(partitions)
        sums = frame.groupBy("unit").agg(unit_checksum(["a", "d"]).alias("sum"))
        found.append({row["unit"]: tuple(row["sum"].values()) for row in rows_of(sums)})
    assert found[0] == found[1]
    assert len(set(found[0].values())) == len(variants)


def test_a_sum_of_hashes_is_that_of_whole_numbers(spark: SparkSession) -> None:
    hashes = [-(2**63), 2**63 - 1, -1, 0, 5, -(2**32), 2**32 + 7, *range(-4, 4)]
    frame = frame_of(spark, [{"h": h} for h in hashes], "h bigint")
    for rows, wanted in ((frame, sum(hashes)), (frame.where("false"), 0)):
        assert sum_of(rows.agg(*hash_sums(F.col("h"), "s")).collect()[0].asDict(), "s") == wanted


def told_plainly(rows: list[dict[str, Any]]) -> int:
    """The sum of the rows' hashes, a cell at a time."""
    total = 0
    for row in rows:
        cells = b""
        for name, value in row.items():
            if value is None:
                cells += b"\0" + {"i": bytes(4), "d": bytes(8), "t": b"", "b": b"\0", "a": b""}[name]
            elif name == "a":
                cells += b"\1" + struct.pack("<I", len(str(value))) + str(value).encode()
            elif name == "t":
                cells += b"\1" + struct.pack("<I", len(value.encode())) + value.encode()
            else:
                cells += b"\1" + struct.pack({"i": "<i", "d": "<d", "b": "<b"}[name], value)
        total += int.from_bytes(hashlib.blake2b(cells, digest_size=16).digest(), "little")
    return total % 2**128


def test_the_bytes_that_are_hashed() -> None:
    """Digests of stored training sets hang on them."""
    rng = random.Random(3)

    def some(value: Any) -> Any:
        return None if rng.random() < 0.2 else value

    rows = [
        {
            "i": some(rng.randrange(-9, 9)), "t": some(rng.choice(["", "lot", "\u00fc\u20ac"])),
            "d": some(rng.gauss(0, 1)), "b": some(rng.random() < 0.5), "a": some([0.5, None]),
        }
        for _ in range(200)
    ]  # fmt: skip
    kinds = {"i": pa.int32(), "t": pa.string(), "d": pa.float64(), "b": pa.bool_(), "a": pa.list_(pa.float64())}
    batch = pa.RecordBatch.from_pylist(rows, schema=pa.schema(list(kinds.items())))
    for begin, end in ((0, 200), (3, 150), (7, 8), (5, 5)):
        (found,) = _partition_digest(None, ())(iter([batch.slice(begin, end - begin)]))
        assert found["digest"][0].as_py() == f"{told_plainly(rows[begin:end]):032x}"

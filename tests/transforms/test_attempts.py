"""Attempt numbers against the oracle."""

from __future__ import annotations

import random

import pytest
from pyspark.sql import SparkSession

from fs_spark.errors import SchemaError
from fs_spark.transforms import with_attempts
from tests.frames import assert_frames_close
from tests.oracles.attempts import number_attempts
from tests.rows import Rows, frame_of, rows_of

SCHEMA = (
    "row int, lot_id string, wafer_id string, insertion string, die_x int, die_y int, "
    "event_timestamp timestamp, run_id string, part_index int"
)
NUMBERED = f"{SCHEMA}, attempt int, is_first boolean, is_final boolean"


def random_rows(rng: random.Random, n: int) -> Rows:
    rows: Rows = []
    for number in range(n):
        rows.append(
            {
                "row": number,
                "lot_id": rng.choice(["L1", "L2", None]),
                "wafer_id": rng.choice(["W1", "W1", None]),
                "insertion": rng.choice(["1", "1", "2", None]),
                "die_x": rng.choice([1, 1, 11, None]),
                "die_y": rng.choice([1, 11, None]),
                "event_timestamp": rng.randrange(6),
                "run_id": rng.choice(["a", "b", "a:1"]),
                "part_index": number,  # parts of a run have one number each
            }
        )
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize(("seed", "partitions"), [(1, 1), (2, 7)])
def test_equals_the_oracle(spark: SparkSession, seed: int, partitions: int) -> None:
    rows = random_rows(random.Random(seed), 250)
    expected = frame_of(spark, number_attempts(rows), NUMBERED)
    actual = with_attempts(frame_of(spark, rows, SCHEMA).repartition(partitions))
    assert max(row["attempt"] for row in rows_of(expected)) > 4
    assert_frames_close(actual, expected, keys=["row"])


def test_a_null_key_makes_each_part_its_own_die(spark: SparkSession) -> None:
    die = {"lot_id": "L", "wafer_id": "W", "insertion": "1", "die_x": 1, "die_y": 1, "run_id": "r"}
    rows = [
        {**die, key: None, "row": 2 * i + j, "event_timestamp": j, "part_index": j}
        for i, key in enumerate(["lot_id", "wafer_id", "die_x", "die_y", "insertion"])
        for j in range(2)
    ]
    numbered = sorted(rows_of(with_attempts(frame_of(spark, rows, SCHEMA))), key=lambda row: row["row"])
    assert [row["attempt"] for row in numbered] == [1] * 8 + [1, 2]  # the insertion is no part of the key
    assert [row["is_first"] and row["is_final"] for row in numbered] == [True] * 8 + [False, False]


def test_missing_columns_are_listed(spark: SparkSession) -> None:
    with pytest.raises(SchemaError, match="die_tests lacks insertion, run_id"):
        with_attempts(frame_of(spark, [], SCHEMA).drop("insertion", "run_id"))

"""The rows that are held, published and read at any time answer as the oracle says, which has all rows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from fs_spark.online import open_online
from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import RowSchema
from fs_spark.online.held_rows import held_rows
from fs_spark.online.records import ServiceRecord, ViewRecord
from fs_spark.online.sqlite import SqliteOnline
from tests.oracles.joins import Join
from tests.oracles.online import event_answer
from tests.views.histories import at

SPAN, EXPORTED, TTL, SLA = 40, 20, 9, 12
SCHEMA = (
    "k string, event_timestamp timestamp, available_timestamp timestamp, sequence bigint, valid_to timestamp, x double"
)
TIMES = ("event_timestamp", "available_timestamp", "valid_to")


def random_rows(seed: int, keys: int = 60) -> list[dict[str, Any]]:
    """Few instants, so that times tie; rows known late or beforehand; some that end."""
    rng = random.Random(seed)
    rows = []
    for key in range(keys):
        for _ in range(rng.randrange(9)):
            event = rng.randrange(SPAN)
            ends = event + rng.randrange(1, 20) if rng.random() < 0.3 else None
            rows.append(
                {
                    "k": f"k{key}",
                    "event_timestamp": event,
                    "available_timestamp": event + rng.choice([0, 0, 0, 3, 15, -5]),
                    "sequence": rng.randrange(2),
                    "valid_to": ends,
                    "x": rng.choice([None, 1.0, 2.0, 3.0]),
                }
            )
    return rows


@pytest.mark.parametrize("boundary", ["at_or_before", "strictly_before"])
@pytest.mark.parametrize("known", [None, "x"])
def test_held_rows_answer_as_all_rows(spark: SparkSession, tmp_path: Path, boundary: str, known: str | None) -> None:
    rows = random_rows(len(boundary))
    told = [tuple(at(v) if name in TIMES and v is not None else v for name, v in row.items()) for row in rows]
    frame = spark.createDataFrame(told, SCHEMA)
    held = held_rows(
        frame.where("x IS NOT NULL") if known else frame, keys=["k"], columns=["x"], times=["valid_to"],
        boundary=boundary, cut_us=EXPORTED,
    )  # fmt: skip
    assert held.columns == ["k", "event_timestamp", "available_timestamp", "sequence", "x", "valid_to"]
    view = ViewRecord(
        "v__v1.0", ("k",), 1, (("x", "x"),), RowSchema(("x",), ("double",)), known=known, boundary=boundary,
        times=("valid_to",), ttl_us=TTL, sla_us=SLA, from_us=EXPORTED, fresh_us=EXPORTED,
    )  # fmt: skip
    plain = ViewRecord("v__v1.0", ("k",), 1, (), RowSchema((), ()), boundary=boundary)
    tables = [ViewRows(view.label, ("k",), view.schema, 1, held.toArrow().to_batches(16))]
    record = ServiceRecord("s", (view, plain) if known else (view,))
    if known:
        tables.append(ViewRows(plain.label, ("k",), plain.schema, 1, []))
    store = SqliteOnline(tmp_path / "online.sqlite")
    report = store.publish(record, tables)
    assert report.rows[view.label] == len({row["k"] for row in rows if known is None or row["x"] is not None})
    join = Join({"k": "k"}, ("x",), boundary, ttl=TTL, skip_nulls=known is not None)
    keys = [f"k{key}" for key in range(60)]
    given = 0
    with open_online(f"sqlite:///{store.path}") as online:
        for time in range(-5, SPAN + 20):
            answers = online.get("s", [{"k": key} for key in keys], ["x"], at=at(time), status=known is None)
            for answer in answers:
                wanted, status = event_answer(answer, time, rows, join, exported_at=EXPORTED, sla=SLA)
                assert answer["x"] == wanted["x"], (time, answer)
                assert known is not None or answer["v__v1.0__status"] == status, (time, answer)
                given += answer["x"] is not None
    assert given > 500

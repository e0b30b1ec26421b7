"""Times without a zone: what toPandas() makes of the store's own, and that the hint, followed, moves no row."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import leaks
from fs_spark.errors import SchemaError
from fs_spark.transforms import AsOfView, as_of_join
from tests.rows import settings
from tests.store.conftest import Walk
from tests.stores import label_spine, rows

ASKED = ["die_neighborhood:fail__neighbor_frac", "lot_so_far:yield_mean"]


def proposed(text: str) -> tuple[str, str]:
    """The code for a time of the store, and that for another clock."""
    assert not re.search(r"Europe|America|Asia", text)  # a city in a hint is copied as it stands
    found = re.search(
        r"Hint: times that come from the store are UTC, .* zone: (.*); of the wall clock .* zone: (.*)", text
    )
    assert found is not None
    return found[1], found[2]


def test_times_of_the_store_by_way_of_pandas(walk: Walk) -> None:
    spine = label_spine(walk.store).where("lot_id = 'SYN0001'")
    frame = spine.toPandas()
    with pytest.raises(SchemaError, match=r"the spine's 'event_timestamp' is without a zone") as fault:
        walk.store.training_set(frame, ASKED, name="naive")
    utc, local = proposed(str(fault.value))
    frame["event_timestamp"] = eval(utc, {"spine": frame})
    direct = walk.store.training_set(spine, ASKED, name="not_naive")
    assert rows(walk.store.training_set(frame, ASKED, name="naive").df) == rows(direct.df)
    wall = pd.DataFrame({"event_timestamp": pd.to_datetime(["2025-07-01 12:00"])})
    assert eval(local, {"spine": wall, "zone": "Europe/Berlin"})[0] == pd.Timestamp("2025-07-01 10:00", tz="UTC")


@pytest.mark.parametrize("session", ["UTC", "America/Los_Angeles"])
def test_times_without_a_zone_in_a_spark_frame(spark: SparkSession, session: str) -> None:
    """In a session of whatever zone."""
    frame = spark.sql("SELECT 'k' k, timestamp_ntz'2025-07-01 12:00:00.000001' event_timestamp")
    view = AsOfView("v", spark.sql("SELECT 'k' k, now() event_timestamp, 1 x"), ("k",), ["x"], sequence=None,
                    available_timestamp=None)  # fmt: skip
    for asked in (
        lambda: as_of_join(frame, [view]),
        lambda: leaks.check(frame.withColumn("x", F.lit(1)), label="k", views=[view]),
    ):
        with pytest.raises(SchemaError) as fault:
            asked()
        codes = proposed(next(line for line in str(fault.value).splitlines() if "Hint: times" in line))
        with settings(spark, {"spark.sql.session.timeZone": session}):
            for code, hour in zip(codes, (12, 10), strict=True):
                moved = frame.withColumn("at", eval(code, {"F": F, "zone": "Europe/Berlin"}))
                micros = moved.select(F.unix_micros("at")).collect()[0][0]
                assert micros == pd.Timestamp(f"2025-07-01 {hour}:00:00.000001", tz="UTC").value // 1000


def test_a_pandas_frame_under_test(spark: SparkSession) -> None:
    frame = pd.DataFrame({"k": ["a"], "label": [1], "event_timestamp": pd.to_datetime(["2025-07-01 12:00"])})
    view = AsOfView("v", spark.sql("SELECT 'a' k, now() event_timestamp, 1 x"), ("k",), ["x"], sequence=None,
                    available_timestamp=None)  # fmt: skip
    with pytest.raises(SchemaError, match="not a time with a zone") as fault:
        leaks.check(frame.assign(x=1), label="label", views=[view])
    utc, _ = proposed(str(fault.value))
    assert eval(utc, {"frame": frame, "pd": pd})[0] == pd.Timestamp("2025-07-01 12:00", tz="UTC")

"""The example beside the tester: wafers are played, rows are pushed, and the tables catch up to the same values."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from examples.binning import prepare as preparing
from examples.binning.catch_up import catch_up
from examples.binning.floor import play
from examples.binning.model import AT_RISK, BEFORE, FILE, OWN, SERVICE, Model
from examples.binning.prepare import DIE, Size, conf_of, prepare
from fs_spark import FeatureStore
from fs_spark.online import open_pusher

TIME = "event_timestamp"
SMALL = Size(learned=2, floor=1, wafers=2, die_mm=(12.0, 15.0))


@pytest.fixture
def smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's configuration without its view of states, which takes a third of the time."""
    folder = tmp_path / "example"
    shutil.copytree(preparing.HERE / "conf", folder / "conf")
    (folder / "conf" / "views" / "lot_bins.yaml").unlink()
    services = folder / "conf" / "services.yaml"
    kept = [line for line in services.read_text().splitlines() if "lot_bins:" not in line]
    services.write_text("\n".join(kept))
    monkeypatch.setattr(preparing, "HERE", folder)


@pytest.mark.usefixtures("smaller")
def test_bins_beside_the_tester_are_those_of_the_tables(spark: SparkSession, tmp_path: Path) -> None:
    made = prepare(tmp_path, spark, size=SMALL)
    assert made.learned > 100
    assert made.held_out > 100
    assert made.digest in (tmp_path / FILE).read_text()

    played = play(tmp_path, rate=200.0)
    store = FeatureStore.open(conf_of(tmp_path), spark)
    assert {die[:2] for die in played.bins} == {("SYN0003", "W02")}
    assert len(played.bins) > 100
    assert AT_RISK in played.bins.values()
    assert set(played.bins.values()) > {1}
    assert played.told.rows == played.told.stood > 2 * len(played.bins)  # some dies were tested twice
    assert all(len(seconds) == len(played.seconds["decision"]) for seconds in played.seconds.values())

    die, row = next((die, row) for die, row in played.pushed[BEFORE].items() if row["neighbor_count"])
    url = store.config.online_url
    assert _answer(store, die, list(row)) == row
    with open_pusher(url) as pusher:
        earlier = {**row, TIME: row[TIME] - timedelta(seconds=1), "neighbor_count": 99}
        assert pusher.push(SERVICE, BEFORE, [earlier]) == 0  # it is not later than what stands
        assert pusher.push(SERVICE, BEFORE, [{**row, "neighbor_count": 99}]) == 0
        assert _answer(store, die, list(row)) == row
        nobody = {**row, "wafer_id": "W99"}
        assert pusher.push(SERVICE, BEFORE, [nobody], life=timedelta(seconds=0.3)) == 1
        assert _answer(store, (die[0], "W99", *die[2:]), list(row)) == nobody

    caught = catch_up(tmp_path, played, spark)
    assert caught.all_same, caught.to_text()
    assert set(played.pushed) == {BEFORE, OWN}
    assert caught.rows == 2 * caught.answers == 2 * caught.bins == 2 * len(played.bins)

    assert Model.load(tmp_path).digest == store.training_sets()["at_risk"].digest
    time.sleep(0.3)
    assert _answer(store, (die[0], "W99", *die[2:]), list(row))["neighbor_count"] is None  # its life has ended
    with open_pusher(url) as pusher:  # later than the exported row for as long as it lives, and then that one again
        later = {**row, TIME: row[TIME] + timedelta(hours=1), "neighbor_count": 77}
        assert pusher.push(SERVICE, BEFORE, [later], life=timedelta(seconds=0.3)) == 1
        assert _answer(store, die, list(row)) == later
        time.sleep(0.3)
        assert _answer(store, die, list(row)) == row


def _answer(store: FeatureStore, die: tuple[Any, ...], names: list[str]) -> dict[str, Any]:
    """What is online of a die in the pushed view, as its row."""
    features = [name for name in names if name not in (*DIE, TIME)]
    with store.online() as online:
        (found,) = online.get(SERVICE, [dict(zip(DIE, die, strict=True))], features, with_times=True)
    found[TIME] = found.pop(f"{BEFORE}__v1.0__{TIME}")
    return found

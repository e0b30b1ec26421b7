"""The examples without wafers: a retailer's demand and card fraud, from files to a model and to answers online."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from fs_spark import FeatureStore, leaks
from tests.conftest import ROOT


@contextmanager
def example(folder: str, name: str) -> Iterator[Any]:
    """A module of an example, while it is used."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


def test_the_model_of_demand_beats_the_naive_forecast(spark: SparkSession, tmp_path: Path) -> None:
    with example("demand", "forecast") as forecast:
        errors = forecast.run(tmp_path, spark)
    assert errors.learned > 1000
    assert errors.tested > 300
    assert errors.model < 0.97 * errors.naive


def test_fraud_is_found_honestly_and_served_with_the_same_bits(spark: SparkSession, tmp_path: Path) -> None:
    with example("fraud", "detect") as detect:
        found = detect.run(tmp_path, spark)
    assert found.learned > 3000
    assert found.tested > 2000
    assert found.compared > 150
    assert found.honest > 0.9
    assert found.leaky_in_training > found.honest
    assert found.leaky_as_served < found.honest - 0.05
    store = FeatureStore.open(tmp_path / "conf" / "store.yaml", spark)
    report = leaks.check(store.training_sets()["fraud"], label="chargebacks", store=store)
    assert not [leak for leak in report.faults if leak.kind != "label"], report.to_text()
    checked = {ran.view for ran in report.ran if ran.check == "oracle"}
    assert checked == {
        "card_activity__v1_0", "card_chargebacks__v1_0", "device_cards__v1_0", "payer__customer_payments__v1_0",
        "payee__customer_payments__v1_0", "amount_in_context__v1_0",
    }  # fmt: skip

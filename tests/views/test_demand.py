"""The example without wafers: a retailer's demand, from files to a model that beats the naive forecast."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from tests.conftest import ROOT


def test_the_model_beats_the_naive_forecast(spark: SparkSession, tmp_path: Path) -> None:
    path = ROOT / "examples" / "demand" / "forecast.py"
    spec = importlib.util.spec_from_file_location("forecast", path)
    assert spec is not None
    assert spec.loader is not None
    forecast = importlib.util.module_from_spec(spec)
    sys.modules["forecast"] = forecast
    try:
        spec.loader.exec_module(forecast)
        errors = forecast.run(tmp_path, spark)
    finally:
        del sys.modules["forecast"]
    assert errors.learned > 1000
    assert errors.tested > 300
    assert errors.model < 0.97 * errors.naive

"""A retailer's generated sales: stores and items with a weekly rhythm, weather, holidays and trends.

Sales of a day become known in the night after it, weather as a forecast a day ahead, holidays long before.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = date(2024, 1, 1)
HOLIDAYS = ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26))


def generate(folder: Path, *, days: int = 500, stores: int = 3, items: int = 6, seed: int = 1) -> None:
    """Writes sales, forecasts and holidays as parquet files under a folder."""
    rng = np.random.default_rng(seed)
    dates = [START + timedelta(days=k) for k in range(days)]
    warm = 12 - 10 * np.cos(2 * np.pi * (np.arange(days) + 10) / 365) + rng.normal(0, 3, (stores, days))
    is_holiday = np.array([(day.month, day.day) in HOLIDAYS for day in dates])
    weekday = np.array([day.weekday() for day in dates])
    week = np.array([0.9, 0.85, 0.9, 1.0, 1.3, 1.6, 0.2])
    sales: dict[str, list[object]] = {name: [] for name in ("store_id", "item_id", "day", "quantity")}
    for store in range(stores):
        for item in range(items):
            level = rng.uniform(20, 60) * (1 + rng.normal(0, 0.0008)) ** np.arange(days)
            likes_heat = rng.uniform(-0.02, 0.04)
            wave = 1 + 0.25 * np.sin(2 * np.pi * np.arange(days) / rng.uniform(40, 120) + rng.uniform(0, 6))
            mean = (
                level * week[weekday] * wave * np.exp(likes_heat * (warm[store] - 12)) * np.where(is_holiday, 0.1, 1.0)
            )
            for day, quantity in zip(dates, rng.poisson(np.maximum(mean, 0)), strict=True):
                for name, value in zip(sales, (f"s{store}", f"i{item}", day, float(quantity)), strict=True):
                    sales[name].append(value)
    for name in ("sales", "weather", "holidays"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(sales), folder / "sales" / "sales.parquet")
    forecast = {
        "store_id": [f"s{store}" for store in range(stores) for _ in dates],
        "day": [day for _ in range(stores) for day in dates],
        "issued": [day - timedelta(days=2) for _ in range(stores) for day in dates],
        "temperature": (warm + rng.normal(0, 1, warm.shape)).ravel(),
    }
    pq.write_table(pa.table(forecast), folder / "weather" / "weather.parquet")
    told = [day for day, holiday in zip(dates, is_holiday, strict=True) if holiday]
    holidays = {"day": told, "announced": [START - timedelta(days=300)] * len(told), "is_holiday": [True] * len(told)}
    pq.write_table(pa.table(holidays), folder / "holidays" / "holidays.parquet")

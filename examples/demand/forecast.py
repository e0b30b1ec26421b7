"""Demand of the next seven days by store and item: from parquet files to a model, point in time.

    python examples/demand/forecast.py FOLDER

The question is asked each night at midnight; the label is the sum of the sales of the seven days behind it, and is
known when the last of them is. The naive forecast is the sum of the last seven days.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fs_spark import Every, FeatureStore, LabelRequest, SumLabel, TimeSplit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Errors:
    """Mean absolute errors of the test side, in pieces, and how many rows were learned from and tested."""

    model: float
    naive: float
    learned: int
    tested: int


def prepare(folder: Path) -> Path:
    """The configuration beside generated data; gives the path of its store.yaml."""
    sys.modules.pop("generate", None)  # of another example
    sys.path.insert(0, str(HERE))
    try:
        from generate import generate
    finally:
        sys.path.remove(str(HERE))
    shutil.copytree(HERE / "conf", folder / "conf", dirs_exist_ok=True)
    generate(folder / "in")
    return folder / "conf" / "store.yaml"


def request() -> LabelRequest:
    """Each day of five months, learned from the first ones with a week between the sides."""
    return LabelRequest(
        keys=["store_id", "item_id"],
        at=Every("1 d", datetime(2024, 12, 1, tzinfo=UTC), datetime(2025, 5, 1, tzinfo=UTC)),
        label=SumLabel("sales", "quantity", until="7 d", lag="2 h"),
        name="next_week",
        split=TimeSplit((datetime(2025, 3, 25, tzinfo=UTC),), embargo=timedelta(days=1), sides=("learn", "test")),
        columns={"day": "date_of(event_timestamp, 'UTC')", "weekday": "day_of_week(event_timestamp, 'UTC')"},
    )


def run(folder: Path, spark: SparkSession | None = None) -> Errors:
    """Builds the training set and gives the errors of a model and of the naive forecast."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    store = FeatureStore.open(prepare(folder), spark)
    store.apply()
    store.materialize()
    rows = store.training_set(store.spine(request()), ["demand"], name="next_week").to_pandas()
    rows["is_holiday"] = rows["is_holiday"].fillna(False).astype(float)
    month = rows["quantity__mean_28d"]  # all is learned in proportion to it, so that items are alike
    relative = rows[[f"quantity__mean_{days}d" for days in (7, 14, 365)]].div(month, axis=0)
    relative["slope"] = 7 * rows["quantity__slope_28d"] / month
    relative[["temperature", "is_holiday", "weekday"]] = rows[["temperature", "is_holiday", "weekday"]]
    learns, tests = (rows["split"] == side for side in ("learn", "test"))
    learn, test = rows[learns], rows[tests]
    model = make_pipeline(StandardScaler(), Ridge(1.0))
    model.fit(relative[learns].astype(float), (learn["next_week"] / (7 * month[learns])).astype(float))
    told = model.predict(relative[tests].astype(float)) * (7 * month[tests]).astype(float)
    errors = Errors(
        model=float(abs(told - test["next_week"]).mean()),
        naive=float(abs(test["quantity__sum_7d"].astype(float) - test["next_week"]).mean()),
        learned=len(learn),
        tested=len(test),
    )
    store.export("demand")
    return errors


if __name__ == "__main__":
    found = run(Path(sys.argv[1] if len(sys.argv) > 1 else "demand"))
    print(  # noqa: T201
        f"mean absolute error of the next seven days, {found.tested} questions, learned from {found.learned}:"
    )
    print(  # noqa: T201
        f"  model {found.model:.1f} pieces, naive forecast {found.naive:.1f}"
    )

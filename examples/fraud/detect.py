"""Card fraud: from parquet files to a model that is honest by time, and its features served online.

    python examples/fraud/detect.py FOLDER

Each payment is a question at the moment when it is decided on; its label is whether a chargeback was told within 30
days, and is known when these have passed. A second model is trained with a leak: the card's chargebacks by the day of
the payment, as if they were told at once. It looks brilliant where the leak is there, and is measured as it would be
served: with the chargebacks that were told.
"""

from __future__ import annotations

import shutil
import struct
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_spark import CountLabel, FeatureStore, LabelRequest, TimeSplit

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

HERE = Path(__file__).resolve().parent
CUT = datetime(2025, 4, 10, tzinfo=UTC)
BROUGHT = ("card_id", "device_id", "payer_id", "payee_id", "amount")
SERVED = "told__rows_90d"


@dataclass(frozen=True)
class Found:
    """AUCs on later payments; how many rows were learned from and tested, and answers that were compared online."""

    honest: float
    leaky_in_training: float
    leaky_as_served: float
    learned: int
    tested: int
    compared: int


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
    """Each payment, with what it brings; learned from those whose label was known before the others were made."""
    return LabelRequest(
        keys=["payment_id"],
        at="payments",
        label=CountLabel("chargebacks", until="30 d"),
        name="chargebacks",
        split=TimeSplit((CUT,), embargo=timedelta(0), sides=("learn", "test")),
        columns=list(BROUGHT),
    )


def with_leak(rows: pd.DataFrame) -> pd.DataFrame:
    """In place of the chargebacks that were told those of the card's payments of the last 90 days, told or not."""
    told = rows.sort_values("event_timestamp")
    leaked = rows[SERVED].astype(float).copy()
    for _, own in told.groupby("card_id"):
        times, fraud = own["event_timestamp"], own["chargebacks"] > 0
        for place, at in times.items():
            leaked[place] = float(
                (fraud & (times > at - timedelta(days=90)) & (times <= at + timedelta(hours=2))).sum()
            )
    return rows.assign(**{SERVED: leaked})


def run(folder: Path, spark: SparkSession | None = None) -> Found:
    """Builds the training set, compares the models, and asks the same features online."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    store = FeatureStore.open(prepare(folder), spark)
    store.apply()
    store.materialize()
    built = store.training_set(request(), ["fraud"], name="fraud")
    rows = built.to_pandas()
    features = [name for names in built.features.values() for name in names] + ["amount"]
    leaked = with_leak(rows)
    learns, tests = (rows["split"] == side for side in ("learn", "test"))
    label = rows["chargebacks"] > 0

    def model(given: pd.DataFrame) -> Any:
        trees = HistGradientBoostingClassifier(max_iter=80, max_leaf_nodes=8, min_samples_leaf=20, random_state=0)
        return trees.fit(given.loc[learns, features].astype(float), label[learns])

    def auc(trees: Any, given: pd.DataFrame) -> float:
        scores = trees.predict_proba(given.loc[tests, features].astype(float))[:, 1]
        return float(roc_auc_score(label[tests], scores))

    honest, leaky = model(rows), model(leaked)
    return Found(
        honest=auc(honest, rows), leaky_in_training=auc(leaky, leaked), leaky_as_served=auc(leaky, rows),
        learned=int(learns.sum()), tested=int(tests.sum()),
        compared=served(store, rows[tests], [name for names in built.features.values() for name in names]),
    )  # fmt: skip


def served(store: FeatureStore, rows: pd.DataFrame, features: list[str]) -> int:
    """Asks the last payments online, each at its moment; every answer must have the bits of the training set."""
    store.export("fraud", at=CUT)
    asked = rows.sort_values("event_timestamp").iloc[:: max(1, len(rows) // 200)]
    with store.online() as online:
        for row in asked.astype(object).to_dict("records"):
            key = {name: row[name] for name in BROUGHT if name != "amount"}
            at = row["event_timestamp"].to_pydatetime()
            (answer,) = online.get("fraud", [key], at=at, request={"amount": float(row["amount"])})
            for name in features:
                if bits(answer[name]) != bits(row[name]):
                    raise AssertionError(
                        f"{name}: {answer[name]!r} online, {row[name]!r} in the training set, of {key}"
                    )
    return len(asked)


def bits(value: Any) -> Any:
    if value is None or value != value:
        return None
    return struct.pack("<d", float(value))


if __name__ == "__main__":
    found = run(Path(sys.argv[1] if len(sys.argv) > 1 else "fraud"))
    print(f"AUC on {found.tested} later payments, learned from {found.learned}:")  # noqa: T201
    print(f"  honest by time                          {found.honest:.3f}")  # noqa: T201
    print(f"  with the leak, in its own training set  {found.leaky_in_training:.3f}")  # noqa: T201
    print(f"  with the leak, as it would be served    {found.leaky_as_served:.3f}")  # noqa: T201
    print(f"{found.compared} answers online have the bits of the training set")  # noqa: T201

"""Before the tester starts: lots from files to tables, a model, and what the program beside the tester reads online.

    python -m examples.binning.prepare FOLDER [--online redis+unix:///path/to.sock]

Some lots have been through both insertions: the model learns from them which dies pass the first and fail the second,
each die with what was known when its touchdown was measured. Other lots are on the floor: all their wafers but the last
have been through insertion 1, and `floor` plays the last one.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from examples.binning.model import BEFORE, FARTHEST, SERVICE, Model
from fs_spark import FeatureStore
from fs_spark.synth import LotSpec, generate_lot

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

HERE: Final = Path(__file__).resolve().parent
DIE: Final = ["lot_id", "wafer_id", "die_x", "die_y"]
PRODUCT: Final = "synchip"
QUARANTINED: Final = 0.03
"""The share of passing dies that may be taken out."""
AFTER: Final = "INTERVAL 1 MILLISECOND"
"""From a touchdown to the question: its results are known, the next ones are not."""


@dataclass(frozen=True)
class Size:
    """How much is generated; lots of `die_mm` squares have about 5,000 dies a wafer at 2.4 mm."""

    learned: int = 3
    floor: int = 4
    wafers: int = 3
    die_mm: tuple[float, float] = (2.4, 2.4)


@dataclass(frozen=True)
class Prepared:
    learned: int
    held_out: int
    auc: float
    digest: str
    exported: dict[str, int]


def conf_of(folder: Path) -> Path:
    return folder / "conf" / "store.yaml"


def configure(folder: Path, online: str | None = None) -> Path:
    """The configuration beside the data, with another online store where one is named."""
    shutil.copytree(HERE / "conf", folder / "conf", dirs_exist_ok=True)
    conf = conf_of(folder)
    if online is not None:
        lines = [line for line in conf.read_text("utf-8").splitlines() if not line.startswith("online:")]
        conf.write_text("\n".join([*lines, f"online: {online}", ""]), "utf-8")
    return conf


def generate(folder: Path, size: Size) -> None:
    """Lots to learn from in `lots`, those on the floor in `floor`, each with its own tester."""
    for number in range(size.learned + size.floor):
        on_floor = number >= size.learned
        day = timedelta(days=10 if on_floor else number)
        spec = LotSpec(
            lot_id=f"SYN{number + 1:04}", seed=number + 1, wafers=size.wafers, tester=f"SYN-T{number + 1:02}",
            die_width_mm=size.die_mm[0], die_height_mm=size.die_mm[1],
            start=datetime(2025, 3, 3, 8) + day,  # noqa: DTZ001  the tester's wall clock
        )  # fmt: skip
        generate_lot(spec, folder / ("floor" if on_floor else "lots"))


def is_last(path: Path) -> bool:
    """Whether a file of the floor is of the last wafer of its lot, which nobody has seen yet."""
    lot = path.name.split("_")[0]
    return path == max(path.parent.glob(f"{lot}_W*_CP1.stdf"))


def asked(store: FeatureStore, where: str) -> DataFrame:
    """Dies of insertion 1 in their last attempt, at the moment when its touchdown is known."""
    from pyspark.sql import functions as F

    dies = store.table("die_tests").where(f"insertion = '1' AND is_final AND {where}")
    return dies.select(*DIE, F.expr(f"event_timestamp + {AFTER} AS event_timestamp"), "passed", "hard_bin")


def question(store: FeatureStore) -> DataFrame:
    """Dies that passed insertion 1: do they fail insertion 2?"""
    from pyspark.sql import functions as F

    second = store.table("die_tests").where("insertion = '2' AND is_final AND passed IS NOT NULL")
    return (
        asked(store, "passed")
        .drop("passed", "hard_bin")
        .join(second.select(*DIE, (~F.col("passed")).alias("fails")), DIE)
    )


def fit(rows: pd.DataFrame, features: list[str], **about: Any) -> tuple[Model, float, int]:
    """A model of all lots but the last, its AUC on that one, and how many dies it learned from."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    held_out = (rows["lot_id"] == rows["lot_id"].max()).to_numpy()
    values, fails = rows[features].astype(float).to_numpy(), rows["fails"].to_numpy(bool)
    fill = np.nan_to_num(np.nanmedian(values[~held_out], axis=0))
    filled = np.where(np.isnan(values), fill, values)
    mean, spread = filled[~held_out].mean(axis=0), filled[~held_out].std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    scaled = np.clip((filled[~held_out] - mean) / scale, -FARTHEST, FARTHEST)
    fitted = LogisticRegression(C=0.1, max_iter=1000).fit(scaled, fails[~held_out])
    made = Model(
        features=tuple(features), fill=fill, mean=mean, scale=scale, weights=fitted.coef_[0],
        intercept=float(fitted.intercept_[0]), threshold=1.0, **about,
    )  # fmt: skip
    told: list[dict[str, Any]] = rows[features].astype(object).to_dict("records")  # type: ignore[assignment]
    scores = made.scores(told)
    made = replace(made, threshold=float(np.quantile(scores[~held_out], 1 - QUARANTINED)))
    return made, float(roc_auc_score(fails[held_out], scores[held_out])), int((~held_out).sum())


def prepare(
    folder: Path, spark: SparkSession | None = None, *, size: Size | None = None, online: str | None = None
) -> Prepared:
    """Generates, ingests, materializes, trains, and exports the service."""
    store = FeatureStore.open(configure(folder, online), spark)
    generate(folder, size or Size())
    floor = sorted((folder / "floor").glob("*_CP1.stdf"))
    store.ingest([*sorted((folder / "lots").glob("*.stdf")), *(path for path in floor if not is_last(path))])
    store.apply()
    store.materialize()
    built = store.training_set(question(store), [SERVICE], name="at_risk")
    model, auc, learned = fit(
        built.to_pandas().sort_values(DIE, ignore_index=True),
        [name for names in built.features.values() for name in names],
        training_set="at_risk", digest=built.digest, wafer_map=store.views().wafer_map(BEFORE, PRODUCT).to_json(),
    )  # fmt: skip
    model.save(folder)
    exported = store.export(SERVICE)
    return Prepared(learned, built.rows - learned, auc, built.digest, exported.rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--online", help="URL of the online store (a SQLite file in the folder)")
    given = parser.parse_args(argv)
    made = prepare(given.folder.absolute(), online=given.online)
    rows = ", ".join(f"{view} {count}" for view, count in made.exported.items())
    print(f"learned from {made.learned} dies, AUC {made.auc:.3f} on {made.held_out} of another lot")  # noqa: T201
    print(f"training set at_risk, digest {made.digest[:16]}\nexported {rows}")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

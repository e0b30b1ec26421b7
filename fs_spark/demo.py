"""`fs-spark demo`: lots from tester files to a trained model and a served row; all it prints is computed here."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fs_spark.errors import RequestError, SetupError
from fs_spark.features.spine import SpineRequest
from fs_spark.store import FeatureStore
from fs_spark.synth import LotSpec, generate_lot

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

SERVICE: Final = "device_v2_1"
FITTED: Final = "zscore_normalized"
COMPARED: Final = ("device_v1_0", "device_v2_0", SERVICE)
"""Services whose features the last one has, so that one training set compares them."""
LABEL: Final = "fails"
_DIE: Final = ["lot_id", "wafer_id", "die_x", "die_y"]
_BEFORE: Final = ["product_id", "tester", "head", "site"]
_MARK: Final = ".fs_spark_demo"


class _Progress:
    """Numbered steps with their times on the screen."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.number = 0

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.number += 1
        start = time.perf_counter()
        print(f"[{self.number}] {what} ...", flush=True)
        yield
        print(f"    done in {time.perf_counter() - start:.1f} s", flush=True)


def _prepare(folder: Path, lots: int) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise RequestError(f"{folder} is not empty and was not made by the demo. Hint: give another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "conf" / "views").mkdir(parents=True)
    (folder / _MARK).touch()
    starter = resources.files("fs_spark.starter")
    for name in ("store.yaml", "testers.yaml", "products.yaml", "entities.yaml", "services.yaml"):
        (folder / "conf" / name).write_bytes((starter / name).read_bytes())
    for view in (starter / "views").iterdir():
        if view.name.endswith(".yaml"):
            (folder / "conf" / "views" / view.name).write_bytes(view.read_bytes())
    fitted = folder / "conf" / "views" / f"{FITTED}.yaml"
    if lots == 1:
        fitted.write_text(fitted.read_text("utf-8").replace("[SYN0001, SYN0002]", "[SYN0001]"), "utf-8")


def label_spine(store: FeatureStore) -> DataFrame:
    """One row per die of insertion 2: does it fail there in the end; the time is the start of its wafer's run there.

    All of insertion 1 ended before that time. What is known of its first attempt stands beside it, since nobody knows
    then which one will be the final one.
    """
    final = store.spine(SpineRequest("next_insertion", insertion="2", earlier_insertion="1"))
    first = SpineRequest("next_insertion", insertion="2", earlier_insertion="1", attempts="first")
    return store.spine(first, columns=_BEFORE).drop(LABEL).join(final.select(*_DIE, LABEL), _DIE)


def leaky_fail_fraction(rows: pd.DataFrame) -> np.ndarray:
    """Share of fails among all eight neighbors at insertion 2 itself: what nobody can know before the test."""
    failed = {
        (lot, wafer, x, y): bool(fails)
        for lot, wafer, x, y, fails in rows[["lot_id", "wafer_id", "die_x", "die_y", LABEL]].itertuples(index=False)
    }
    moves = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]
    shares = np.full(len(rows), np.nan)
    for i, (lot, wafer, x, y) in enumerate(failed):
        found = [failed[k] for dx, dy in moves if (k := (lot, wafer, x + dx, y + dy)) in failed]
        shares[i] = np.mean(found) if found else np.nan
    return shares


def aucs_on_held_out_lots(rows: pd.DataFrame, sets: Mapping[str, list[str]]) -> dict[str, tuple[float, int]]:
    """AUC of boosted trees on lots they have not seen, for sets of features; each lot is held out once."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    lots = rows["lot_id"].nunique()
    groups = rows["lot_id"] if lots > 1 else rows["wafer_id"]
    label = rows[LABEL].to_numpy(bool)
    scores = {}
    for title, columns in sets.items():
        values = rows[columns].astype(float).to_numpy()
        score = np.zeros(len(rows))
        for train, test in GroupKFold(n_splits=min(4, groups.nunique())).split(values, label, groups):
            trees = HistGradientBoostingClassifier(
                max_iter=60, learning_rate=0.05, max_leaf_nodes=6, min_samples_leaf=100, l2_regularization=5.0,
                max_features=0.3, random_state=0,
            )  # fmt: skip
            trees.fit(values[train], label[train])
            score[test] = trees.predict_proba(values[test])[:, 1]
        scores[title] = (float(roc_auc_score(label, score)), len(columns))
    return scores


def draw_wafer(rows: pd.DataFrame, path: Path) -> None:
    """One wafer as PNG: the earlier-neighbor fail fraction at insertion 1, and the fails of insertion 2."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    marks = {"marker": "s", "s": 46, "linewidths": 0}
    shown = rows["fail__neighbor_frac"].astype(float)
    shades = colormaps["viridis"].with_extremes(bad="#e4e4e4")  # gray: no neighbor was tested earlier
    colored = left.scatter(rows["die_x"], rows["die_y"], c=shown, cmap=shades, plotnonfinite=True, **marks)
    figure.colorbar(colored, ax=left, label="fail fraction of earlier-tested neighbors")
    right.scatter(rows["die_x"], rows["die_y"], c=np.where(rows[LABEL].astype(bool), "#d62728", "#c7dcec"), **marks)
    left.set_title("insertion 1: known before the die's test")
    right.set_title("insertion 2: the label (red fails)")
    for axis in (left, right):
        axis.set_aspect("equal")
        axis.set_xlabel("die_x")
        axis.set_ylabel("die_y")
    figure.suptitle(f"{rows['lot_id'].iloc[0]} {rows['wafer_id'].iloc[0]}")
    figure.savefig(path, dpi=110)


def _read_latency(store: FeatureStore, rows: pd.DataFrame, count: int = 1000) -> dict[str, float]:
    keys = rows[[*_DIE, *_BEFORE]].sample(count, replace=len(rows) < count, random_state=0)
    taken = []
    with store.online() as reader:
        for key in keys.astype(object).to_dict("records"):
            start = time.perf_counter()
            reader.get(SERVICE, [{str(column): value for column, value in key.items()}])
            taken.append((time.perf_counter() - start) * 1000)
    return {f"p{q}_ms": float(np.percentile(taken, q)) for q in (50, 95, 99)}


def run_demo(folder: Path, *, lots: int = 4, wafers: int = 4) -> dict[str, Any]:
    """Generates, ingests, materializes, trains, reproduces, exports and reads; returns what it printed."""
    try:
        import matplotlib  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as fault:
        raise SetupError(f"the demo needs {fault.name}. Hint: pip install 'fs_spark[ml,plot]'") from fault
    from fs_spark.session import build_session

    progress = _Progress()
    _prepare(folder, lots)
    with progress.step(f"generating {lots} lots of {wafers} wafers as STDF files"):
        for i in range(lots):
            start = datetime(2025, 3, 3, 8) + timedelta(days=i)  # noqa: DTZ001  the tester's wall clock
            generate_lot(LotSpec(lot_id=f"SYN{i + 1:04}", seed=i + 1, wafers=wafers, start=start), folder / "in")
    conf = folder / "conf" / "store.yaml"
    with progress.step("starting Spark with Delta"):
        store = FeatureStore.open(conf)
        spark = build_session(store.config.store)
        store = FeatureStore(store.config, spark)
    try:
        return _demo(store, folder, progress)
    finally:
        spark.stop()


def _demo(store: FeatureStore, folder: Path, progress: _Progress) -> dict[str, Any]:
    with progress.step("ingesting"):
        ingested = store.ingest([folder / "in"])
        print(f"    {len(ingested.files)} files, {sum(f.parts for f in ingested.files)} parts")
    with progress.step("registering and materializing the views"):
        store.apply()
        for view in store.materialize().views:
            print(f"    {view.view}: " + ("waits to be fitted" if view.waiting else f"{view.units_changed} units"))
    with progress.step(f"fitting {FITTED} on its reference lots"):
        fitted = store.fit(FITTED)
        print(f"    {fitted.rows} dies in {fitted.groups} groups, digest {fitted.digest[:16]}")
        for view in store.materialize([FITTED]).views:
            print(f"    {view.view}: {view.units_changed} units")
    with progress.step("building the training set `bin_model`: fails at insertion 2"):
        built = store.training_set(label_spine(store), [SERVICE], name="bin_model")
        print(f"    {built.rows} rows, digest {built.digest[:16]}")
    with progress.step("reproducing it from its manifest"):
        again = store.reproduce("bin_model")
        print(f"    {again.rows} rows, digest {again.digest[:16]}: the same")
    with progress.step("training boosted trees on lots held out in turn"):
        rows = built.df.toPandas()
        rows = rows.sort_values(["lot_id", "wafer_id", "die_x", "die_y"], ignore_index=True)
        asked = {name: store.config.services[name].references for name in COMPARED}
        sets = {name: [one.feature for one in references] for name, references in asked.items()}
        rows["leaky"] = leaky_fail_fraction(rows)
        sets["device_v2_0 + neighbors at insertion 2 (LEAKY, for comparison only)"] = [*sets["device_v2_0"], "leaky"]
        scores = aucs_on_held_out_lots(rows, sets)
        print(f"    {rows[LABEL].mean():.1%} of {len(rows)} dies fail at insertion 2")
        for title, (auc, columns) in scores.items():
            print(f"    AUC {auc:.3f}  {title} ({columns} features)")
    with progress.step(f"exporting {SERVICE} and reading 1,000 keys"):
        exported = store.export(SERVICE)
        print("    " + ", ".join(f"{view} {count}" for view, count in exported.rows.items()))
        latency = _read_latency(store, rows)
        print("    " + ", ".join(f"{name[:-3]} {value:.2f} ms" for name, value in latency.items()))
    picture = folder / "wafer.png"
    first = rows[(rows["lot_id"] == rows["lot_id"].iloc[0]) & (rows["wafer_id"] == rows["wafer_id"].iloc[0])]
    draw_wafer(first, picture)
    print(f"wafer map: {picture}\ntotal {time.perf_counter() - progress.began:.0f} s", flush=True)
    return {
        "rows": built.rows,
        "digest": built.digest,
        "auc": {title: auc for title, (auc, _) in scores.items()},
        "latency": latency,
        "picture": str(picture),
    }

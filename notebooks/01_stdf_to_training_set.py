# Databricks notebook source
# MAGIC %md
# MAGIC # From tester files to a training set
# MAGIC A lot of STDF files goes in; a wafer map and a training set that can be rebuilt to the bit come out.
# MAGIC Point `folder` at a place of your own; on Databricks use a Unity Catalog volume, and `catalog:` instead of
# MAGIC `root:` in `store.yaml`.

# COMMAND ----------

import os
import tempfile

from fs_spark import FeatureStore, build_session
from fs_spark.cli import main as fs_spark_command
from fs_spark.synth import LotSpec, generate_lot

folder = os.environ.get("FS_SPARK_NOTEBOOK_FOLDER") or tempfile.mkdtemp()
fs_spark_command(["init", f"{folder}/conf"])
spark = build_session(f"{folder}/conf/store.yaml")
store = FeatureStore.open(f"{folder}/conf/store.yaml", spark)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Files to tables
# MAGIC Synthetic files here; give `ingest` your own folder. A file that is delivered twice changes nothing, and a bad
# MAGIC one is set aside with its reason.

# COMMAND ----------

from pathlib import Path

generate_lot(LotSpec(lot_id="SYN0001", wafers=2, die_width_mm=12.0, die_height_mm=15.0), Path(folder) / "in")
for outcome in store.ingest([f"{folder}/in"]).files:
    print(outcome.status, outcome.parts, os.path.basename(outcome.path))

# COMMAND ----------

# MAGIC %md
# MAGIC ## Views

# COMMAND ----------

store.apply()
for view in store.materialize().views:
    print(view.view, view.units_changed)
neighborhood = store.table("die_neighborhood").where("wafer_id = 'W01'").toPandas()

# COMMAND ----------

# MAGIC %md
# MAGIC ## A wafer map

# COMMAND ----------

from matplotlib.figure import Figure

figure = Figure(figsize=(5, 5), layout="constrained")
axis = figure.add_subplot(aspect="equal", title="fail fraction of earlier-tested neighbors")
shown = neighborhood["fail__neighbor_frac"].astype(float)
axis.scatter(neighborhood["die_x"], neighborhood["die_y"], c=shown, marker="s", s=120)
figure.savefig(f"{folder}/wafer.png")

# COMMAND ----------

# MAGIC %md
# MAGIC ## A training set
# MAGIC Will the die fail at insertion 2? The time of each row is the start of its wafer's run there, so that everything
# MAGIC of insertion 1 is known and nothing of insertion 2 is.

# COMMAND ----------

from pyspark.sql import functions as F

spine = (
    store.table("die_tests")
    .where("insertion = '2' AND is_final")
    .select(
        "lot_id",
        "wafer_id",
        "die_x",
        "die_y",
        F.col("run_start").alias("event_timestamp"),
        (~F.col("passed")).alias("fails"),
    )
)
training_set = store.training_set(spine, ["device_v2_0"], name="bin_model")
print(training_set.rows, "rows, digest", training_set.digest)

# COMMAND ----------

# MAGIC %md
# MAGIC ## The same rows again, from the manifest

# COMMAND ----------

again = store.reproduce("bin_model")
print(again.rows, "rows, digest", again.digest)

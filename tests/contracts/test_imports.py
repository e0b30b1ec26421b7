"""The one direction of imports, and what code may not touch. A new module is placed in LEVELS by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

# A module or package of fs_spark may import what stands on a lower level.
LEVELS = {
    "errors": 0,
    "names": 0,
    "compiled": 0,
    "documents": 1,
    "wafer": 1,
    "kernels": 1,
    "features": 2,
    "stdf": 2,
    "synth": 2,
    "inputs": 3,
    "config": 3,
    "schemas": 3,
    "jvm": 3,
    "warm": 6,
    "quick_start": 3,
    "view_texts": 3,
    "config_files": 3,
    "view_files": 3,
    "functions": 3,
    "refit": 3,
    "view_schema": 3,
    "config_schemas": 4,
    "outcomes": 0,
    "answers": 1,
    "transforms": 4,
    "session": 4,
    "commits": 3,
    "conflicts": 3,
    "promises": 4,
    "delta_log": 4,
    "table_reader": 5,
    "tables": 5,
    "changes": 6,
    "unit_tables": 6,
    "sources": 6,
    "ingested_sources": 6,
    "view_inputs": 6,
    "table_views": 6,
    "shared_passes": 6,
    "spatial_views": 6,
    "recompute": 6,
    "registry_state": 5,
    "registry": 6,
    "ingest": 6,
    "snapshot": 6,
    "binding": 6,
    "label_spines": 6,
    "materialize": 6,
    "fits": 6,
    "unanswerable": 6,
    "training": 6,
    "online": 6,
    "retention": 6,
    "lifecycle": 7,
    "events": 7,
    "leaks": 7,
    "on_workers": 5,
    "tester_files": 7,
    "store": 7,
    "fs_spark": 8,  # the public names
    "training_verbs": 8,
    "docs": 8,
    "view_verbs": 9,
    "online_verbs": 8,
    "serving": 8,
    "serving_verbs": 9,
    "inspect_file": 8,
    "cli": 10,
    "demo": 10,
    "jobs": 11,
    "notebooks": 11,
    "tests": 12,
}
# What may import a neighbor on its own level.
ALLOWED = {
    ("compiled", "names"),
    ("kernels", "wafer"),
    ("tables", "table_reader"),
    ("quick_start", "jvm"),
    ("synth", "stdf"),
    ("config", "inputs"),
    ("binding", "registry"),
    ("binding", "snapshot"),
    ("config", "view_texts"),
    ("store", "tester_files"),
    ("store", "events"),
    ("tester_files", "events"),
    ("store", "lifecycle"),
    ("lifecycle", "store"),
    ("config", "config_files"),
    ("config", "view_files"),
    ("view_files", "config_files"),
    ("view_files", "view_texts"),
    ("materialize", "shared_passes"),
    ("table_views", "shared_passes"),
    ("shared_passes", "registry"),
    ("shared_passes", "view_inputs"),
    ("spatial_views", "unit_tables"),
    ("ingested_sources", "binding"),
    ("ingested_sources", "snapshot"),
    ("label_spines", "ingested_sources"),
    ("label_spines", "registry"),
    ("label_spines", "snapshot"),
    ("label_spines", "sources"),
    ("materialize", "binding"),
    ("materialize", "registry"),
    ("materialize", "snapshot"),
    ("materialize", "sources"),
    ("materialize", "spatial_views"),
    ("materialize", "table_views"),
    ("fits", "registry"),
    ("fits", "view_inputs"),
    ("unanswerable", "registry"),
    ("recompute", "registry"),
    ("recompute", "snapshot"),
    ("recompute", "spatial_views"),
    ("recompute", "view_inputs"),
    ("sources", "registry"),
    ("sources", "unit_tables"),
    ("spatial_views", "binding"),
    ("spatial_views", "registry"),
    ("spatial_views", "snapshot"),
    ("table_views", "registry"),
    ("table_views", "sources"),
    ("table_views", "unit_tables"),
    ("table_views", "view_inputs"),
    ("view_inputs", "changes"),
    ("view_inputs", "ingested_sources"),
    ("view_inputs", "sources"),
    ("training", "snapshot"),
    ("training", "registry"),
    ("training", "recompute"),
    ("online", "registry"),
    ("online", "changes"),
    ("online", "training"),
    ("online", "table_views"),
    ("retention", "registry"),
    ("retention", "training"),
    ("cli", "demo"),
}
VAGUE = {"util", "utils", "helper", "helpers", "common", "base", "manager", "managers"}
INTERNAL = {"sparkContext", "rdd", "_jvm", "_jdf", "_jsc"}
READS_OR_WRITES = {"read", "readStream", "write", "writeTo", "writeStream"}
RUNS_SPARK = {"collect", "toPandas", "toArrow", "toLocalIterator", "show"}
GROUPS = {"groupBy", "groupby", "rollup", "cube"}


def place(module: str) -> str:
    """`fs_spark.stdf.reader` -> `stdf`, `fs_spark` -> `fs_spark`, `jobs.ingest_stdf` -> `jobs`."""
    parts = module.split(".")
    return parts[1] if parts[0] == "fs_spark" and len(parts) > 1 else parts[0]


def imported(tree: ast.Module, path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, also inside functions and under TYPE_CHECKING."""
    package = list(path.parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, node.module or ""]).strip(".")
            for alias in node.names:
                submodule = module != "fs_spark" or alias.name in LEVELS
                yield node.lineno, f"{module}.{alias.name}" if submodule else module


def import_faults(tree: ast.Module, path: Path) -> Iterator[str]:
    parts = list(path.with_suffix("").parts)
    own = place(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    if own not in LEVELS:
        yield f"{path}: `{own}` has no place in LEVELS"
        return
    for line, name in imported(tree, path):
        top = name.split(".")[0]
        if own == "kernels" and top in {"pyspark", "pandas"}:
            yield f"{path}:{line}: {top} in kernels"
        if name in {"pyspark.SparkContext", "pyspark.core.context.SparkContext"}:
            yield f"{path}:{line}: SparkContext"
        if top not in {"fs_spark", "jobs", "notebooks", "tests"}:
            continue
        other = place(name)
        if other not in LEVELS:
            yield f"{path}:{line}: `{other}` has no place in LEVELS"
        elif other != own and LEVELS[other] >= LEVELS[own] and (own, other) not in ALLOWED:
            yield f"{path}:{line}: {own} imports {other}, which stands beside or above it"


def access_faults(tree: ast.Module, path: Path) -> Iterator[str]:
    transforms = path.parts[:2] == ("fs_spark", "transforms")
    for node in ast.walk(tree):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute):
            if node.attr in INTERNAL:
                yield f"{where}: .{node.attr}"
            if node.attr == "builder" and path != Path("fs_spark/session.py"):
                yield f"{where}: .builder outside session.py"
            if transforms and node.attr in READS_OR_WRITES:
                yield f"{where}: .{node.attr} in transforms"
            if transforms and node.attr.endswith("TempView"):
                yield f"{where}: .{node.attr} in transforms"
            if transforms and ast.unparse(node).endswith(".conf.set"):
                yield f"{where}: .conf.set in transforms"
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id == "getattr" and len(node.args) > 1:
                name = node.args[1]
                if isinstance(name, ast.Constant) and name.value in INTERNAL:
                    yield f"{where}: getattr {name.value}"
            if transforms and isinstance(called, ast.Attribute):
                if called.attr in RUNS_SPARK:
                    yield f"{where}: .{called.attr}() in transforms"
                # df.groupBy(...).count() is a frame; df.count() runs Spark.
                grouped = isinstance(called.value, ast.Call) and getattr(called.value.func, "attr", None) in GROUPS
                if called.attr == "count" and not node.args and not node.keywords and not grouped:
                    yield f"{where}: .count() in transforms"


def faults(path: str, source: str) -> list[str]:
    at = Path(path)
    tree = ast.parse(source, filename=path)
    vague = [f"{path}: `{part}` says nothing" for part in at.with_suffix("").parts if part in VAGUE]
    return [*vague, *import_faults(tree, at), *access_faults(tree, at)]


def test_the_code_keeps_to_the_rules() -> None:
    files = [file for folder in ("fs_spark", "jobs", "notebooks") for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 20, "the search found hardly any file"
    found = [text for file in files for text in faults(str(file.relative_to(ROOT)), file.read_text("utf-8"))]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "text"),
    [
        ("fs_spark/kernels/radial.py", "import fs_spark.features.view", "kernels imports features"),
        ("fs_spark/kernels/radial.py", "from ..stdf import reader", "kernels imports stdf"),
        ("fs_spark/names.py", "from fs_spark import errors", "names imports errors"),
        ("fs_spark/wafer.py", "from fs_spark import names, tables", "wafer imports tables"),
        ("fs_spark/tables.py", "def f():\n    from fs_spark.registry import x", "tables imports registry"),
        ("fs_spark/registry.py", "from fs_spark.training import TrainingSet", "registry imports training"),
        ("fs_spark/store.py", "from fs_spark import FeatureStore", "store imports fs_spark"),
        ("fs_spark/store.py", "import fs_spark", "store imports fs_spark"),
        ("fs_spark/cli.py", "from jobs.ingest_stdf import main", "cli imports jobs"),
        ("fs_spark/synth/lots.py", "import tests.frames", "synth imports tests"),
        ("fs_spark/store.py", "from fs_spark.shiny import x", "`shiny` has no place"),
        ("fs_spark/shiny.py", "", "`shiny` has no place"),
        ("fs_spark/kernels/radial.py", "from pyspark.sql import functions", "pyspark in kernels"),
        ("fs_spark/kernels/radial.py", "import pandas as pd", "pandas in kernels"),
        ("fs_spark/transforms/attempts.py", "spark.read.parquet('x')", ".read in transforms"),
        ("fs_spark/transforms/attempts.py", "df.write.save('x')", ".write in transforms"),
        ("fs_spark/transforms/attempts.py", "rows = df.collect()", ".collect() in transforms"),
        ("fs_spark/transforms/attempts.py", "df.select('x').toPandas()", ".toPandas() in transforms"),
        ("fs_spark/transforms/attempts.py", "n = df.count()", ".count() in transforms"),
        ("fs_spark/transforms/attempts.py", "df.sparkSession.conf.set('a', 'b')", ".conf.set in transforms"),
        ("fs_spark/transforms/attempts.py", "df.createOrReplaceTempView('t')", "TempView in transforms"),
        ("fs_spark/store.py", "SparkSession.builder.getOrCreate()", ".builder outside session.py"),
        ("jobs/ingest_stdf.py", "SparkSession.builder.getOrCreate()", ".builder outside session.py"),
        ("fs_spark/session.py", "spark.sparkContext.setLogLevel('ERROR')", ".sparkContext"),
        ("fs_spark/session.py", "from pyspark import SparkContext", "SparkContext"),
        ("fs_spark/tables.py", "df.rdd.getNumPartitions()", ".rdd"),
        ("jobs/ingest_stdf.py", "spark._jvm.java", "._jvm"),
        ("notebooks/01_look.py", "df._jdf", "._jdf"),
        ("fs_spark/tables.py", "getattr(spark, '_jsc')", "getattr _jsc"),
        ("fs_spark/utils.py", "", "`utils` says nothing"),
        ("fs_spark/stdf/helpers.py", "", "`helpers` says nothing"),
        ("jobs/common.py", "", "`common` says nothing"),
        ("fs_spark/online/base.py", "", "`base` says nothing"),
        ("fs_spark/manager/__init__.py", "", "`manager` says nothing"),
    ],
)
def test_a_bad_line_is_found(path: str, source: str, text: str) -> None:
    assert any(text in fault for fault in faults(path, source)), faults(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fs_spark/kernels/radial.py", "import numpy as np\nfrom fs_spark.wafer import WaferGeometry"),
        ("fs_spark/features/compute.py", "from fs_spark import names\nfrom fs_spark.kernels import moments"),
        ("fs_spark/transforms/attempts.py", "n = df.groupBy('lot_id').count()\nm = F.count('x')\nk = words.count('a')"),
        ("fs_spark/session.py", "SparkSession.builder.getOrCreate()"),
        ("fs_spark/tables.py", "spark.read.format('delta')\ndf.write.save('x')\nrows = df.collect()"),
        ("jobs/ingest_stdf.py", "from fs_spark import FeatureStore\nfrom fs_spark.cli import main"),
    ],
)
def test_a_good_line_passes(path: str, source: str) -> None:
    assert faults(path, source) == []

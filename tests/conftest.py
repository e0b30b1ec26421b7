"""What every test may use. Nothing here starts Spark before a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]


_TOGETHER = ("store", "leaks", "training", "faults", "jobs")
"""Folders whose tests share a store that takes a minute to make."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests run in one process: those of a file, or of a folder that shares a store."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByStore(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            folder = path.split("/")[1] if path.startswith("tests/") else ""
            return f"tests/{folder}" if folder in _TOGETHER else path

    return ByStore(config, log)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one session of the whole run: a Delta session takes 10 s to start and to warm up."""
    from fs_spark.session import build_session

    session = build_session(
        master="local[2]",
        app_name="fs_spark-tests",
        settings={
            "spark.driver.memory": "2g",
            "spark.driver.extraJavaOptions": "-Xss4m -XX:+UseSerialGC",
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
        },
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real files, in `shared/data` beside the checkout. A test without them fails: it is never skipped."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "MANIFEST.sha256").is_file():
        pytest.fail(f"tests on real files need ../shared/data with its MANIFEST.sha256; {folder} has none")
    return folder

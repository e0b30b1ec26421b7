"""Column and table names, written once."""

from __future__ import annotations

from typing import Final

CACHE_FOLDER: Final = "FS_SPARK_CACHE_DIR"
"""The environment variable that names the folder of compiled functions."""
USER: Final = "FS_SPARK_USER"
"""The environment variable that says who acts; the registry keeps it."""

FILE_ID: Final = "file_id"
BATCH_ID: Final = "batch_id"
RUN_ID: Final = "run_id"
LOT_ID: Final = "lot_id"
WAFER_ID: Final = "wafer_id"
DIE_X: Final = "die_x"
DIE_Y: Final = "die_y"
HEAD: Final = "head"
SITE: Final = "site"
TOUCHDOWN: Final = "touchdown"
PART_INDEX: Final = "part_index"
PART_ID: Final = "part_id"
PASSED: Final = "passed"
HARD_BIN: Final = "hard_bin"
SOFT_BIN: Final = "soft_bin"
TEST_TIME_MS: Final = "test_time_ms"
RUN_START: Final = "run_start"
EVENT_TIMESTAMP: Final = "event_timestamp"
AVAILABLE_TIMESTAMP: Final = "available_timestamp"
TIME_QUALITY: Final = "time_quality"
INSERTION: Final = "insertion"
PRODUCT_ID: Final = "product_id"
TEST_PROGRAM: Final = "test_program"
TESTER: Final = "tester"
ATTEMPT: Final = "attempt"
IS_FIRST: Final = "is_first"
IS_FINAL: Final = "is_final"
SEQUENCE: Final = "sequence"

TEST_NUM: Final = "test_num"
TEST_NAME: Final = "test_name"
TEST_INDEX: Final = "test_index"
OCCURRENCE: Final = "occurrence"
ELEMENT: Final = "element"
RESULT: Final = "result"
RECORD: Final = "record"

LOT_KEYS: Final = (LOT_ID,)
WAFER_KEYS: Final = (LOT_ID, WAFER_ID)
DIE_KEYS: Final = (LOT_ID, WAFER_ID, DIE_X, DIE_Y)

FILES: Final = "files"
WAFER_RUNS: Final = "wafer_runs"
DIE_TESTS: Final = "die_tests"
TESTS: Final = "tests"
TEST_RESULTS: Final = "test_results"
BATCHES: Final = "batches"
REGISTRY: Final = "registry"
TRAINING_SETS: Final = "training_sets"
TRAINING_PREFIX: Final = "training__"

INGESTED: Final = "ingested"
TRUNCATED: Final = "truncated"
UNREADABLE: Final = "unreadable"
CONFLICTING_RUN: Final = "conflicting_run"
SUPERSEDED: Final = "superseded"
DUPLICATE: Final = "duplicate"
KEPT: Final = (INGESTED, TRUNCATED)
"""Statuses of a file whose rows readers see."""

HIDDEN: Final = "_of__"
"""Begins the names of what was joined for features on demand alone."""

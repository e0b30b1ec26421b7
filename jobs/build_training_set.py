"""Joins features to a spine and saves the training set. Same arguments as `fs-spark train`.

spark-submit $(fs-spark submit-args) jobs/build_training_set.py --conf conf/store.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fs_spark.cli import run


def main(argv: Sequence[str] | None = None) -> int:
    return run("train", sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())

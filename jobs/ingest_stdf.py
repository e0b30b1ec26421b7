"""Reads tester files into the tables. Same arguments as `fs-spark ingest`.

spark-submit $(fs-spark submit-args) jobs/ingest_stdf.py --conf conf/store.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from fs_spark.cli import run


def main(argv: Sequence[str] | None = None) -> int:
    return run("ingest", sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())

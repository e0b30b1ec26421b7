"""Which rows of a view the online store holds for each key: the newest that is seen now, and all that come after it."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def held_rows(
    rows: DataFrame, *, keys: Sequence[str], columns: Sequence[str], times: Sequence[str], boundary: str, cut_us: int
) -> DataFrame:
    """Of each key the newest row that a question at `cut_us` sees, and every one that a later question may find newer.

    Newer is greater by (event_timestamp, available_timestamp, sequence), a tie decided by content, as in the join. Rows
    of one key follow each other, the oldest first. A row without an event is seen at any time.

    Grain  rows of a view -> one or more of them per key
    Units  cut_us in microseconds since 1970 in UTC
    """
    event, available = _quoted(n.EVENT_TIMESTAMP), _quoted(n.AVAILABLE_TIMESTAMP)
    listed = ", ".join(map(_quoted, (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.SEQUENCE, *columns, *times)))
    usable = f"greatest(unix_micros({event}), unix_micros({available}))"
    seen = f"{event} IS NULL OR {usable} {'<=' if boundary == 'at_or_before' else '<'} {cut_us}L"
    known = rows.where(f"{event} IS NULL OR {available} IS NOT NULL")
    told = known.selectExpr(*map(_quoted, keys), f"struct({listed}) AS __row", f"{seen} AS __seen")
    found = told.groupBy(*map(_quoted, keys)).agg(
        F.expr("max(IF(__seen, __row, NULL)) AS __newest"),
        F.expr("array_sort(collect_list(IF(__seen, NULL, __row))) AS __later"),
    )
    first = "filter(array(__newest), one -> one IS NOT NULL)"
    newer = "filter(__later, one -> __newest IS NULL OR one > __newest)"
    return found.selectExpr(*map(_quoted, keys), f"inline(concat({first}, {newer}))").drop(n.SEQUENCE)

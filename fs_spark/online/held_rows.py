"""Which rows of a view the online store holds for each key: the newest that is seen now, and all that come after it."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.online.batches import HELD


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def held_rows(
    rows: DataFrame,
    *,
    keys: Sequence[str],
    columns: Sequence[str],
    times: Sequence[str],
    boundary: str,
    cut_us: int,
    changed: DataFrame | None = None,
) -> DataFrame:
    """Of each key the newest row that a question at `cut_us` sees, and every one that a later question may find newer.

    Newer is greater by (event_timestamp, available_timestamp, sequence), a tie decided by content, as in the join. Rows
    of one key follow each other, the oldest first. A row without an event is seen at any time. With `changed`, only of
    the keys in there, and of those that hold nothing one row that says so in `batches.HELD`.

    Grain  rows of a view -> one or more of them per key
    Units  cut_us in microseconds since 1970 in UTC
    """
    event, available = _quoted(n.EVENT_TIMESTAMP), _quoted(n.AVAILABLE_TIMESTAMP)
    quoted = [*map(_quoted, keys)]
    listed = ", ".join(map(_quoted, (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.SEQUENCE, *columns, *times)))
    usable = f"greatest(unix_micros({event}), unix_micros({available}))"
    seen = f"{event} IS NULL OR {usable} {'<=' if boundary == 'at_or_before' else '<'} {cut_us}L"
    known = rows.where(f"{event} IS NULL OR {available} IS NOT NULL")
    if changed is not None:
        known = known.join(changed, list(keys), "left_semi")
    told = known.selectExpr(*quoted, f"struct({listed}) AS __row", f"{seen} AS __seen")
    found = told.groupBy(*quoted).agg(
        F.expr("max(IF(__seen, __row, NULL)) AS __newest"),
        F.expr("array_sort(collect_list(IF(__seen, NULL, __row))) AS __later"),
    )
    first = "filter(array(__newest), one -> one IS NOT NULL)"
    newer = "filter(__later, one -> __newest IS NULL OR one > __newest)"
    if changed is None:
        return found.selectExpr(*quoted, f"inline(concat({first}, {newer}))")
    held = found.selectExpr(*quoted, f"concat({first}, {newer}) AS __rows")
    all_of = changed.join(held, list(keys), "left")
    return all_of.selectExpr(*quoted, f"__rows IS NOT NULL AND size(__rows) > 0 AS {HELD}", "inline_outer(__rows)")

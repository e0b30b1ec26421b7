"""Delta tables: with `table_reader`, the only code that reads and writes them.

By DataFrame options and SQL alone, so that all of it runs through Spark Connect. Every table keeps its versions for
the configured horizon, numbers its commits by in-commit time, and takes no null keys.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructField, StructType

from fs_spark.commits import interval_days
from fs_spark.conflicts import (
    ATTEMPTS,
    CREATED_BY_OTHERS,
    NOT_YET_A_TABLE,
    another_was_first,
    clear_unfinished_log,
    is_conflict,
    pause,
)
from fs_spark.errors import RetentionError, SchemaError, TableConflictError
from fs_spark.promises import RETENTION, VACUUMED_BY, Promise, is_running, own_mark
from fs_spark.schemas import TableLayout, sql_type
from fs_spark.table_reader import TableReader

log = logging.getLogger(__name__)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_one_of(column: str, values: Iterable[str]) -> str:
    """A condition in SQL: the column holds one of the values."""
    return f"`{column}` IN ({', '.join(_quoted(value) for value in values)})"


class Tables(TableReader):
    """The tables under one folder or in one schema of a catalog.

    `horizon` is Delta's interval text; a table that promises to keep its versions for less is refused.
    """

    def __init__(self, spark: SparkSession, *, root: str | None, catalog: str | None, horizon: str) -> None:
        super().__init__(spark, root=root, catalog=catalog)
        self.horizon = horizon
        self._known: set[str] = set()

    def exists(self, name: str) -> bool:
        """Whether the table is there; on the first look its retention is checked.

        Raises     RetentionError where it keeps its versions for less than the horizon
        """
        if name in self._known:
            return True
        properties = self._properties(name)
        if properties is None:
            return False
        promise = Promise.of(properties)
        if promise.vacuumed_by is not None and not is_running(promise.vacuumed_by):
            log.warning("%s: a VACUUM was killed and left a low promise, which is put back", name)
            self._raise_promise(name, promise)
            promise = self.promise(name)
        broken = promise.broken(self.horizon)
        if broken is not None and promise.vacuumed_by is None:
            promised = ", ".join(f"'{one}' = '{self.horizon}'" for one in RETENTION)
            raise RetentionError(
                f"table {name} keeps its versions too briefly: {broken[0]} is {broken[1]}, "
                f"the configured horizon is {self.horizon}.\n"
                f"Hint: ALTER TABLE {self.identifier(name)} SET TBLPROPERTIES ({promised}); "
                "or lower `horizon` in store.yaml"
            )
        self._known.add(name)
        return True

    def create(self, name: str, layout: TableLayout) -> None:
        """Makes the table unless it is there; a table of another schema at its place is refused.

        A table of an earlier fs_spark gets the columns that came since.

        Raises     SchemaError where columns differ, RetentionError where versions are kept too briefly
        """
        if self.exists(name):
            self._check_schema(name, layout.schema)
            return
        columns = ", ".join(
            f"`{f.name}` {sql_type(f.dataType)}{'' if f.nullable else ' NOT NULL'}" for f in layout.schema.fields
        )
        properties = {
            **dict.fromkeys(RETENTION, self.horizon),
            "delta.enableInCommitTimestamps": "true",
            "delta.enableDeletionVectors": str(layout.replaced_in_place).lower(),
            **({"delta.enableChangeDataFeed": "true"} if layout.has_change_feed else {}),
            **({"delta.dataSkippingStatsColumns": ",".join(layout.statistics)} if layout.statistics else {}),
        }
        listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
        clustered = f"CLUSTER BY ({', '.join(layout.cluster_by)})" if layout.cluster_by else ""
        statement = (
            f"CREATE TABLE IF NOT EXISTS {self.identifier(name)} ({columns}) USING delta {clustered} "
            f"TBLPROPERTIES ({listed})"
        )
        self._make(name, statement)
        self._known.add(name)

    def _make(self, name: str, statement: str) -> None:
        """Runs CREATE TABLE until the table is there: another job may be at it, or may have died at it."""

        def once() -> None:
            try:
                self.spark.sql(statement).collect()
            except AnalysisException as fault:
                if NOT_YET_A_TABLE not in str(fault):
                    raise

        for attempt in range(ATTEMPTS):
            self._retried(name, once, also=CREATED_BY_OTHERS)
            if self._properties(name) is not None:
                return
            pause(attempt)
            if attempt > 1 and not self.catalog:
                clear_unfinished_log(self.path(name))
        raise SchemaError(
            f"table {name} cannot be made: the folder {self.path(name) if self.root else name} holds other files, "
            "or the log of a table that was never finished.\n"
            "Hint: move that folder away, or point store.yaml at another root"
        )

    def _check_schema(self, name: str, wanted: StructType) -> None:
        found = {f.name: f.dataType.simpleString() for f in self.delta(name).schema.fields}
        if set(found) < set(wanted.fieldNames()):
            found |= self._add_columns(name, [f for f in wanted.fields if f.name not in found and f.nullable])
        faults = [
            f"{f.name}: "
            + (f"found {found[f.name]}" if f.name in found else "absent")
            + f", needs {f.dataType.simpleString()}"
            for f in wanted.fields
            if found.get(f.name) != f.dataType.simpleString()
        ]
        faults += [f"{extra}: not expected" for extra in found if extra not in wanted.fieldNames()]
        if faults:
            raise SchemaError(
                f"the table at {self.identifier(name)} has another schema:\n"
                + "\n".join(f"- {fault}" for fault in faults)
                + "\nHint: point store.yaml at another root or catalog, or move that table away"
            )

    def _add_columns(self, name: str, fields: Sequence[StructField]) -> dict[str, str]:
        """Columns that a table of an earlier version of fs_spark lacks; its rows have nulls there."""
        kinds = {f.name: f.dataType.simpleString() for f in fields}
        listed = ", ".join(f"`{f.name}` {sql_type(f.dataType)}" for f in fields)
        try:
            self._retried(
                name, lambda: self.spark.sql(f"ALTER TABLE {self.identifier(name)} ADD COLUMNS ({listed})").collect()
            )
        except AnalysisException:  # another job added them in the meantime
            there = {f.name: f.dataType.simpleString() for f in self.delta(name).schema.fields}
            if not set(kinds) <= set(there):
                raise
            return there
        return kinds

    def set_retention(self, name: str, files: str, log: str, *, mark: str | None = None) -> None:
        """Both at once: of a single one Delta checks it against the other's default, not against the other's value.

        With `mark` the promise is lowered by a process that is going to put it back.
        """
        values = dict(zip(RETENTION, (files, log), strict=True)) | ({VACUUMED_BY: mark} if mark is not None else {})
        self._known.discard(name)  # the next look checks anew what the table promises
        listed = ", ".join(f"'{key}' = {_quoted(value)}" for key, value in values.items())
        statement = f"ALTER TABLE {self.identifier(name)} SET TBLPROPERTIES ({listed})"
        self._retried(name, lambda: self.spark.sql(statement).collect())

    def _raise_promise(self, name: str, before: Promise) -> None:
        """After a VACUUM: what was promised before it, and not less than the horizon, which a killed one may have."""
        files, kept_log = (max(one, self.horizon, key=interval_days) for one in (before.files, before.log))
        self.set_retention(name, files, kept_log)
        statement = f"ALTER TABLE {self.identifier(name)} UNSET TBLPROPERTIES IF EXISTS ('{VACUUMED_BY}')"
        self._retried(name, lambda: self.spark.sql(statement).collect())

    def vacuum(self, name: str, *, days: int, shorten: bool) -> int | None:
        """Removes files which no version of the last `days` uses; how many, None where Delta does not log it.

        Delta takes no fewer days than the table promises. With `shorten` the promise is lowered, under the name of
        this process, and put back afterwards; meanwhile Delta refuses older versions. Where this process dies in
        between, the next look at the table finds that and puts it back.
        """
        before = self.promise(name)
        if shorten:
            self.set_retention(name, f"interval {days} days", before.log, mark=own_mark())
        try:
            self.spark.sql(f"VACUUM {self.identifier(name)} RETAIN {24 * days} HOURS").collect()
            logged = [c.metrics for c in self.history(name, limit=3) if c.operation == "VACUUM END"]
        finally:
            if shorten:
                self._raise_promise(name, before)
        return int(logged[0]["numDeletedFiles"]) if logged and "numDeletedFiles" in logged[0] else None

    def vacuum_dry_run(self, name: str, *, days: int) -> int:
        """How many files a VACUUM would remove; `days` not below what the table promises."""
        return self.spark.sql(f"VACUUM {self.identifier(name)} RETAIN {24 * days} HOURS DRY RUN").count()

    def _write(self, name: str, frame: DataFrame, mode: str, options: dict[str, str], *, ordered: bool = True) -> None:
        def once() -> None:
            rows = frame.select(*self.columns(name)) if ordered else frame
            writer = rows.write.format("delta").mode(mode).options(**options)
            if self.catalog:
                writer.saveAsTable(self.identifier(name))
            else:
                writer.save(self.path(name))

        self._retried(name, once)

    def _retried(self, name: str, action: Callable[[], Any], *, also: tuple[str, ...] = ()) -> None:
        """Runs an action again where another writer came first; `also` are marks of further faults that pass."""
        for attempt in range(ATTEMPTS):
            try:
                action()
                return
            except Exception as fault:
                if another_was_first(fault) or not (is_conflict(fault) or any(mark in str(fault) for mark in also)):
                    raise
                if attempt == ATTEMPTS - 1:
                    raise TableConflictError(
                        f"table {name} was written by others {ATTEMPTS} times in a row while this write was tried.\n"
                        "Hint: run the job again when the other writer is done"
                    ) from fault
                pause(attempt)

    @staticmethod
    def _options(made_from: dict[str, Any] | None, write: str | None = None) -> dict[str, str]:
        told: dict[str, Any] = {"fs_spark": made_from} if made_from is not None else {}
        if write is not None:
            told["write"] = write
        return {"userMetadata": json.dumps(told, sort_keys=True)} if told else {}

    def append(self, name: str, frame: DataFrame, *, made_from: dict[str, Any] | None = None) -> None:
        """Adds rows. Appends of several jobs never disturb each other."""
        self._write(name, frame, "append", self._options(made_from))

    def swap(
        self,
        name: str,
        frame: DataFrame,
        *,
        based_on: int,
        replacing: str | Sequence[str] | None = None,
        made_from: dict[str, Any] | None = None,
    ) -> int | None:
        """Writes rows if no other `swap` of this table came since version `based_on`: compare and swap.

        All that is decided from a table's content and must not be decided twice is written so: whoever decided from
        the same version and comes second writes nothing. Delta's transaction identifiers carry it: one application,
        the version that follows `based_on`; a version that is not above the last one is dropped, and of two at
        once one fails.

        replacing   None adds the rows; a condition replaces the rows that it holds for; columns, those of equal keys
        Returns     the version written, or None where another job came first: read again, decide again
        """
        write = uuid.uuid4().hex
        options = self._options(made_from, write) | {"txnAppId": f"fs_spark:{name}", "txnVersion": str(based_on + 1)}
        mode = "append" if replacing is None else "overwrite"
        if isinstance(replacing, str):
            options["replaceWhere"] = replacing
        elif replacing is not None:
            options["replaceUsing"] = ", ".join(replacing)
        try:
            self._write(name, frame, mode, options)
        except Exception as fault:
            if another_was_first(fault):
                return None
            raise
        return self._version_of(name, write)

    def _version_of(self, name: str, write: str) -> int | None:
        """The version that a write of ours has become; None where it has not."""
        for limit in (10, 1000):
            commits = self.history(name, limit)
            found = [commit.version for commit in commits if commit.metadata.get("write") == write]
            if found:
                return found[0]
            if len(commits) < limit:
                break
        return None

    def delete(self, name: str, condition: str) -> None:
        """Removes the rows that a condition holds for; where there are none no version is added."""
        self._retried(name, lambda: self.spark.sql(f"DELETE FROM {self.identifier(name)} WHERE {condition}").collect())

    def restore(self, name: str, version: int) -> None:
        self._retried(
            name,
            lambda: self.spark.sql(f"RESTORE TABLE {self.identifier(name)} TO VERSION AS OF {version}").collect(),
        )

    def overwrite_as_version(self, name: str, frame: DataFrame, *, made_from: dict[str, Any]) -> int:
        """Makes `frame` the whole content, its columns the columns; gives the version that holds just that."""
        write = uuid.uuid4().hex
        options = self._options(made_from, write) | {"overwriteSchema": "true"}
        self._write(name, frame, "overwrite", options, ordered=False)
        found = self._version_of(name, write)
        if found is None:  # nothing over nothing is no commit for Delta, unless something else is in it
            options |= {"txnAppId": f"fs_spark:{write}", "txnVersion": "1"}
            self._write(name, frame, "overwrite", options, ordered=False)
            found = self._version_of(name, write)
        if found is None:  # Delta has committed it, so that only a log cut by others can hide it
            raise TableConflictError(f"the commit to table {name} cannot be found. Hint: run the job again")
        return found

    def overwrite(self, name: str, frame: DataFrame, *, made_from: dict[str, Any] | None = None) -> None:
        self._write(name, frame, "overwrite", self._options(made_from))

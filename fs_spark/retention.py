"""VACUUM and the horizon, with a guard: what would break a registered training set is refused, and the set is named.

A training set pins Delta versions. Two things take a version away: VACUUM removes files which a later commit took out
of the table, and Delta itself refuses a version (the newest excepted) whose commit is older than the retention that
its table promises.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fs_spark.commits import Commit, interval_days
from fs_spark.errors import RequestError, RetentionError
from fs_spark.promises import is_running
from fs_spark.registry import Registry
from fs_spark.schemas import LAYOUTS
from fs_spark.tables import Tables
from fs_spark.training.reproduce import needed_versions
from fs_spark.training.saved import manifests

log = logging.getLogger(__name__)

_MARGIN: Final = timedelta(days=1)
"""A removed file bears the time at which its job planned to remove it, and the commit comes when the job is done."""


@dataclass(frozen=True)
class TableVacuum:
    """What was, or would be, removed from a table.

    files      None where Delta does not log it; in a dry run below what the table promises it is the number of
               removed files that its history counts
    left_alone why nothing was done, None where it was
    """

    table: str
    files: int | None
    left_alone: str | None = None


@dataclass(frozen=True)
class VacuumReport:
    """What `vacuum` did; `expired` are training sets with versions beyond the promised retention: set -> versions."""

    tables: tuple[TableVacuum, ...]
    keep_days: int | None
    horizon: str | None
    dry_run: bool
    expired: dict[str, list[str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"VacuumReport({self.to_text()})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        """One line for each table, and for each training set that is beyond the horizon."""
        would = "would be " if self.dry_run else ""
        lines = []
        for one in self.tables:
            if one.left_alone is not None:
                lines.append(f"{one.table}: {one.left_alone}")
            elif self.horizon is not None:
                lines.append(f"{one.table}: retention {would}set to {self.horizon}")
            else:
                lines.append(
                    f"{one.table}: {'an unknown number of' if one.files is None else one.files} files {would}removed"
                )
        lines += [
            f"training set {name} is beyond the horizon: {', '.join(what)}" for name, what in self.expired.items()
        ]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Pin:
    """A Delta version that training sets need: its commit, and the first later one that may have removed its files."""

    version: int
    needed_by: tuple[str, ...]
    commit: Commit | None
    newest: bool
    removal: Commit | None


def _time(commit: Commit) -> datetime:
    return commit.timestamp or datetime.max.replace(tzinfo=UTC)


def _own_tables(tables: Tables, saved: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The store's own: ingested tables, registry, views of every version, and what training sets keep."""
    state = Registry(tables).state()
    views = {view.table for view in state.versions.values()}
    views |= {table for table in state.buckets if table.startswith("source__")}
    kept = {manifest["content"]["table"] for manifest in saved.values()} - {None}
    return [name for name in sorted({*LAYOUTS, *views, *kept}) if tables.exists(name)]


def _pins(tables: Tables, saved: Mapping[str, Mapping[str, Any]], owned: Sequence[str]) -> dict[str, list[_Pin]]:
    """By table, the versions that training sets need, whether they are rebuilt from feature tables or from source."""
    needed: dict[tuple[str, int], set[str]] = {}
    state = Registry(tables).state()
    for name, manifest in saved.items():
        for from_source in (False, True):
            for pair in needed_versions(manifest, from_source=from_source, tables=tables, state=state):
                needed.setdefault(pair, set()).add(name)
    found: dict[str, list[_Pin]] = {}
    for table in owned:
        wanted = sorted(version for name, version in needed if name == table)
        if not wanted:
            continue
        history = {commit.version: commit for commit in tables.history(table)}
        removing = sorted(version for version, commit in history.items() if commit.may_remove)
        for version in wanted:
            later = next((v for v in removing if v > version), None)
            found.setdefault(table, []).append(
                _Pin(
                    version=version,
                    needed_by=tuple(sorted(needed[(table, version)])),
                    commit=history.get(version),
                    newest=version == max(history),
                    removal=history[later] if later is not None else None,
                )
            )
    return found


def _expired(pins: Mapping[str, Sequence[_Pin]], promised: Mapping[str, int], now: datetime) -> dict[str, list[str]]:
    """Training set -> its versions that are not promised any more."""
    found: dict[str, list[str]] = {}
    for table, listed in pins.items():
        for pin in listed:
            if not _is_promised(pin, promised[table], now):
                for name in pin.needed_by:
                    found.setdefault(name, []).append(f"{table} at version {pin.version}")
    for name, versions in sorted(found.items()):
        log.warning("training set %s is beyond the horizon: %s", name, ", ".join(versions))
    return dict(sorted(found.items()))


def _is_promised(pin: _Pin, days: int, now: datetime) -> bool:
    """Delta refuses a version by the age of its own commit; the newest it always reads."""
    if pin.commit is None:  # its log is gone, which is kept at least as long as the files
        return False
    return pin.newest or _time(pin.commit) >= now - timedelta(days=days)


def _named(table: str, pin: _Pin, why: str) -> str:
    return f"- {table} at version {pin.version} ({why}): needed by {', '.join(pin.needed_by)}"


def _check_vacuum(
    pins: Mapping[str, Sequence[_Pin]], keep_days: int, promised: Mapping[str, int], now: datetime
) -> None:
    """Raises RetentionError that names every pinned version whose files a VACUUM would remove.

    What a VACUUM at the promised retention removes as well is not protected: it is beyond the horizon.
    """
    cutoff, faults, safe = now - timedelta(days=keep_days) + _MARGIN, [], keep_days
    for table, listed in pins.items():
        for pin in listed:
            removal = pin.removal
            if removal is None or pin.commit is None or _time(removal) >= cutoff:
                continue
            if _time(removal) < now - timedelta(days=promised[table]):
                continue
            when = f"{removal.operation} made version {removal.version} on {_time(removal):%Y-%m-%d %H:%M} UTC"
            faults.append(_named(table, pin, when))
            safe = max(safe, math.ceil((now - _time(removal) + _MARGIN) / timedelta(days=1)))
    if faults:
        raise RetentionError(
            f"VACUUM with keep_days={keep_days} would remove files of versions that training sets need:\n"
            + "\n".join(faults)
            + f"\nHint: keep_days={safe} is the smallest that is safe now; nothing was changed"
        )


def _check_horizon(
    pins: Mapping[str, Sequence[_Pin]], horizon: str, promised: Mapping[str, int], now: datetime
) -> None:
    """Raises RetentionError that names every pinned version which Delta would refuse under another horizon.

    Also a newest one: the change itself is a commit, so it is the newest no longer.
    """
    faults, safe = [], 0
    for table, listed in pins.items():
        for pin in listed:
            if pin.commit is None or not _is_promised(pin, promised[table], now):
                continue
            age = now - _time(pin.commit)
            if age > timedelta(days=interval_days(horizon)) - _MARGIN:
                faults.append(_named(table, pin, f"{age / timedelta(days=1):.1f} days old"))
                safe = max(safe, math.ceil((age + _MARGIN) / timedelta(days=1)))
    if faults:
        raise RetentionError(
            f"with the horizon {horizon!r} Delta would refuse versions that training sets need:\n"
            + "\n".join(faults)
            + f"\nHint: 'interval {safe} days' is the shortest that reads them today, and a version grows "
            "older every day; nothing was changed"
        )


def vacuum(
    tables: Tables, *, keep_days: int | None = None, horizon: str | None = None, dry_run: bool = False
) -> VacuumReport:
    """Removes files that no kept version uses, or sets how long versions are kept; see `fs-spark vacuum`.

    keep_days   files go that no version of the last days uses; left out, each table's own promise is kept, which
                takes nothing from anybody. Below 1 it also takes files of writes that are running: stop them first
    horizon     `interval 30 days`: sets both retention properties of every table of the store and removes no file
    dry_run     tells what would be done, and does nothing

    Raises     RetentionError that names the training sets which would break, or a table that a killed VACUUM left
               behind (with the statement that mends it); RequestError; both before anything changed
    """
    if keep_days is not None and horizon is not None:
        raise RequestError("keep_days and horizon are two requests. Hint: set the horizon first, then VACUUM")
    if keep_days is not None and keep_days < 0:
        raise RequestError(f"keep_days={keep_days} is negative. Hint: keep_days=7")
    if horizon is not None:
        return _set_horizon(tables, horizon, dry_run=dry_run)
    now = datetime.now(UTC)
    saved = manifests(tables)
    owned = _own_tables(tables, saved)
    promised = {name: interval_days(tables.retention(name)[0]) for name in owned}
    pins = _pins(tables, saved, owned)
    if keep_days is not None:
        _check_vacuum(pins, keep_days, promised, now)
    done = []
    for name in owned:
        days = promised[name] if keep_days is None else keep_days
        other = tables.promise(name).vacuumed_by
        if other is not None and is_running(other):
            done.append(TableVacuum(name, 0, f"left alone: another VACUUM of it is running ({other})"))
            continue
        aged = [pin for pin in pins.get(name, ()) if _is_kept_by_being_newest(pin, promised[name], now)]
        if aged:
            why = f"left alone: a commit more, and Delta refuses version {aged[0].version}, which "
            done.append(TableVacuum(name, 0, why + f"{', '.join(aged[0].needed_by)} needs"))
        elif dry_run:
            done.append(TableVacuum(name, _would_remove(tables, name, days, promised[name], now)))
        else:
            done.append(TableVacuum(name, tables.vacuum(name, days=days, shorten=days < promised[name])))
            log.info("%s: %s files removed", name, done[-1].files)
    return VacuumReport(tuple(done), keep_days, None, dry_run, _expired(pins, promised, now))


def _is_kept_by_being_newest(pin: _Pin, days: int, now: datetime) -> bool:
    """Whether a version is readable for no other reason: VACUUM and ALTER TABLE write commits of their own."""
    return pin.newest and pin.commit is not None and _time(pin.commit) < now - timedelta(days=days) + _MARGIN


def _would_remove(tables: Tables, name: str, days: int, promised: int, now: datetime) -> int:
    if days >= promised:
        return tables.vacuum_dry_run(name, days=days)
    # Delta lists nothing below the promise, so the history counts: what its commits took out of the table by the
    # cutoff, less what earlier VACUUMs took.
    count, until = 0, now - timedelta(days=days)
    history = tables.history(name)
    swept = [
        _time(c) - timedelta(milliseconds=int(c.parameters.get(key) or 0))
        for c in history
        for key in ("specifiedRetentionMillis", "defaultRetentionMillis")
        if c.operation == "VACUUM START" and c.parameters.get(key) is not None
    ]
    since = max(swept, default=None)
    for commit in history:
        if commit.may_remove and _time(commit) < until and (since is None or _time(commit) >= since):
            count += int(commit.metrics.get("numRemovedFiles", 0))
    return count


def _set_horizon(tables: Tables, horizon: str, *, dry_run: bool) -> VacuumReport:
    """Raises RequestError for a horizon that is none or below the configured one, RetentionError as `vacuum` does."""
    if not re.fullmatch(r"interval \d+ days", horizon):
        raise RequestError(
            f"{horizon!r} is no horizon. Hint: write 'interval 3650 days'; Delta refuses months and years"
        )
    if interval_days(horizon) < interval_days(tables.horizon):
        raise RequestError(
            f"{horizon!r} is below the configured horizon, {tables.horizon!r}: the store would refuse its own tables.\n"
            "Hint: lower `horizon` in store.yaml first"
        )
    # The configured horizon may be ahead of the tables already, which is what is to be mended here.
    lenient = Tables(tables.spark, root=tables.root, catalog=tables.catalog, horizon="interval 0 days")
    now = datetime.now(UTC)
    saved = manifests(lenient)
    owned = _own_tables(lenient, saved)
    before = {name: lenient.retention(name) for name in owned}
    # a VACUUM that was killed left its table with a lower promise than the configured one
    promised = {name: max(interval_days(files), interval_days(tables.horizon)) for name, (files, _) in before.items()}
    pins = _pins(lenient, saved, owned)
    _check_horizon(pins, horizon, promised, now)
    done = []
    for name in owned:
        same = before[name] == (horizon, horizon)
        done.append(TableVacuum(name, 0, f"keeps {horizon} already" if same else None))
        if not same and not dry_run:
            tables.set_retention(name, horizon, horizon)
    return VacuumReport(tuple(done), None, horizon, dry_run, _expired(pins, promised, now))

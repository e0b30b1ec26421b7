"""Builds a training set: statistics of the spine, the join, its digests, the table, and last the manifest."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import ReproductionError, RequestError, SchemaError, TableConflictError
from fs_spark.features.service import Roles
from fs_spark.names import HIDDEN
from fs_spark.registry_state import RegistryState
from fs_spark.schemas import TRAINING_SETS, TableLayout
from fs_spark.tables import Tables
from fs_spark.training.chosen import ChosenView, Prefix, choose_views
from fs_spark.training.content import Content, Watched, content_of, digest_and_seen, digest_of, unkept
from fs_spark.training.manifest import FORMAT, code_versions
from fs_spark.training.on_demand import check_brought, demand_parts, output_types, outputs_by_view, with_demanded
from fs_spark.training.pinned import joined_views, pin_views, pinned_frames, stored_rows
from fs_spark.training.rules import PinnedTable, TrainingRules
from fs_spark.training.saved import TrainingSet, find_manifest, opened, pinned_spine
from fs_spark.training.statistics import heavy_keys, pruning_keys, pruning_of
from fs_spark.transforms.as_of import as_of_join
from fs_spark.transforms.as_of_view import check_join

log = logging.getLogger(__name__)

_UNSTORABLE: Final = re.compile(r"[ ,;{}()\n\t=]")


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RequestError(f"{name!r} is no name of a training set. Hint: use [a-z0-9_], beginning with a letter")


def _spine(
    tables: Tables, spine: DataFrame | PinnedTable, rules: TrainingRules
) -> tuple[DataFrame, dict[str, Any] | None]:
    if isinstance(spine, PinnedTable):
        pinned = {
            "table": spine.table,
            "delta_version": spine.version,
            "columns": list(spine.columns),
            "where": spine.where,
            "rename": dict(spine.rename),
        }
        return pinned_spine(tables, pinned), pinned
    if rules.keep == "manifest":
        raise RequestError(
            "a manifest alone does not keep this spine. Hint: give the spine as a PinnedTable, or keep='spine'"
        )
    return spine, None


def _check_keys(columns: Sequence[str], chosen: Sequence[ChosenView]) -> None:
    """Raises SchemaError that names every view which cannot be joined to such a spine, and the keys that it lacks."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for c in chosen:
        missing = tuple(key for key in c.keys if key not in columns)
        if missing:
            lacking.setdefault(missing, []).append(c.label)
    if lacking:
        faults = [
            f"the spine lacks the key{'s' if len(keys) > 1 else ''} {', '.join(map(repr, keys))} of {', '.join(views)}"
            for keys, views in lacking.items()
        ]
        rest = [c.label for c in chosen if all(c.label not in views for views in lacking.values())]
        hint = f"ask for features of {', '.join(rest)} alone" if rest else "add the keys to the spine"
        raise SchemaError("\n".join(faults) + f"\nHint: {hint}; the spine has {', '.join(columns)}")


def _taken(before: dict[str, Any], rows: int, digest: str) -> TableConflictError:
    content = before["content"]
    return TableConflictError(
        f"training set {before['name']!r} exists with other content: {content['rows']} rows, digest "
        f"{content['digest'][:12]}; these would be {rows} rows, digest {digest[:12]}.\n"
        "Hint: choose another name; a training set is never overwritten"
    )


def build_training_set(
    tables: Tables,
    state: RegistryState,
    spine: DataFrame | PinnedTable,
    references: Sequence[Any],
    *,
    name: str,
    timestamp: str,
    prefix: Prefix,
    rules: TrainingRules,
    roles: Roles | None = None,
) -> TrainingSet:
    """Builds and saves a training set; see `FeatureStore.training_set`."""
    _check_name(name)
    asked = choose_views(references, state, prefix=prefix, roles=roles)
    chosen = asked.views
    rules.check(chosen)
    given, reference = _spine(tables, spine, rules)
    _check_keys(given.columns, chosen)
    pinned = pin_views(tables, chosen, rules)
    frames = pinned_frames(tables, pinned)
    views = joined_views(pinned, frames)
    demanded = demand_parts(asked.on_demand)
    types = check_join(given, views, timestamp, ())
    check_brought(given, timestamp, demanded)
    types |= output_types(demanded)
    if faults := unkept({f.name: f.dataType for f in given.schema.fields} | types):
        raise SchemaError(
            f"a training set cannot keep {', '.join(faults)}. Hint: leave it out of the spine, cast it, or take "
            "to_json of a map or variant"
        )
    outputs = [o for view in views for o in view.all_outputs if not o.startswith(HIDDEN)]
    outputs += [output for part in demanded for output, _ in part["columns"]]
    bad = [c for c in (*given.columns, *outputs) if _UNSTORABLE.search(c)]
    if bad:
        raise SchemaError(
            f"the spine's column names {bad} cannot be stored. Hint: rename them to letters, digits and _"
        )
    folded = [c.lower() for c in (*given.columns, *outputs)]
    if twice := sorted({c for c in folded if folded.count(c) > 1}):  # in a session that knows case
        raise SchemaError(f"a table cannot keep two columns that differ by case alone: {twice}. Hint: rename one")
    # Read several times, and it may not come out the same twice. A plan of our own: the cache of a caller stays.
    rows = given.select("*").persist(StorageLevel.DISK_ONLY)
    try:
        first = pruning_keys([view.keys for view in views])
        spine_digest, spine_rows, seen = digest_and_seen(rows, time=timestamp, keys=first)
        request = {
            "format": FORMAT,
            "name": name,
            "timestamp": timestamp,
            "spine": {
                "columns": given.columns,
                "types": [t for _, t in given.dtypes],
                "rows": spine_rows,
                "digest": spine_digest,
                "pinned": reference,
            },
            "views": pinned,
            "on_demand": demanded,
            "configuration": state.configuration,
        }
        log.info("%s: %d spine rows, %d views", name, spine_rows, len(pinned))
        before = find_manifest(tables, name)
        if before is not None and {key: before.get(key) for key in request} == json.loads(json.dumps(request)):
            log.info("training set %s exists with these very inputs", name)
            return opened(tables, before)
        heavy = heavy_keys(rows, views, timestamp, spine_rows, stored=stored_rows(tables, pinned))
        joined = as_of_join(rows, views, timestamp=timestamp, pruning=pruning_of(seen), heavy=heavy) if views else rows
        joined = with_demanded(joined, given.columns, timestamp, demanded)
        outputs_of = outputs_by_view(request)
        if before is not None:
            found = content_of(joined, outputs_of)
            if before["content"]["digest"] == found.digest:
                return opened(tables, before)
            raise _taken(before, found.rows, found.digest)
        manifest: dict[str, Any] = {**request, "code": code_versions(tables.spark)}
        if rules.keep == "rows":
            manifest["content"] = _written(tables, manifest, joined, outputs_of)
        else:
            found = content_of(joined, outputs_of)
            manifest["content"] = _content(rules.keep, found)
            if rules.keep == "spine":
                _store_spine(tables, manifest, rows)
        for view, share in manifest["content"]["empty"].items():
            if share:
                log.warning("%s: no feature of %s in %.1f %% of %d rows", name, view, 100 * share,
                            manifest["content"]["rows"])  # fmt: skip
    finally:
        rows.unpersist()
    return _record(tables, manifest)


def _content(keep: str, found: Content) -> dict[str, Any]:
    return {
        "keep": keep,
        "table": None,
        "delta_version": None,
        "rows": found.rows,
        "digest": found.digest,
        "columns": found.columns,
        "empty": found.empty,
    }


def _record(tables: Tables, manifest: dict[str, Any]) -> TrainingSet:
    """Writes the manifest, last of all; of two builds of one name at once the first one stands.

    Raises     TableConflictError where the other one has other content
    """
    content = manifest["content"]
    tables.create(n.TRAINING_SETS, TRAINING_SETS)
    text = json.dumps(manifest, sort_keys=True)
    row = tables.spark.createDataFrame([(manifest["name"], content["digest"], text)], TRAINING_SETS.schema)
    for attempt in range(SWAPS):
        version = tables.version(n.TRAINING_SETS)
        first = find_manifest(tables, manifest["name"], version)
        if first is not None:
            if content["table"] is not None and first["content"]["table"] == content["table"]:
                tables.restore(content["table"], first["content"]["delta_version"])
            if first["content"]["digest"] == content["digest"]:
                log.info("training set %s was built by another job meanwhile, with the same rows", manifest["name"])
                return opened(tables, first)
            raise _taken(first, content["rows"], content["digest"])
        made_from = {"training_set": manifest}
        if tables.swap(n.TRAINING_SETS, row.coalesce(1), based_on=version, made_from=made_from) is not None:
            return opened(tables, json.loads(text))
        pause(attempt)
    raise TableConflictError(
        f"others wrote to table {n.TRAINING_SETS} {SWAPS} times in a row before this job could. Hint: run it again"
    )


def _table_of(tables: Tables, manifest: Mapping[str, Any], rows: DataFrame) -> str:
    """The training set's own table. Each write is the whole content of its version, whatever an unfinished build left
    there or another one writes."""
    name = n.TRAINING_PREFIX + str(manifest["name"])
    if not tables.exists(name):
        tables.create(name, TableLayout(StructType(rows.schema.fields)))
    return name


def _written(
    tables: Tables, manifest: Mapping[str, Any], joined: DataFrame, outputs: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Writes the rows as they are computed, reads them back, and says what was written.

    Raises     ReproductionError where what is read back is not what was computed
    """
    written = Watched.of(joined)
    table = _table_of(tables, manifest, joined)
    version = tables.overwrite_as_version(table, written.rows, made_from={"training_set": dict(manifest)})
    there = Watched.of(tables.read(table, version))
    found = content_of(there.rows, outputs)
    if there.seen != written.seen:
        raise _not_as_computed(str(manifest["name"]), found.rows, written.seen[0])
    log.info("%s: joined and written, digest %s", manifest["name"], found.digest[:12])
    return {**_content("rows", found), "table": table, "delta_version": version}


def _store_spine(tables: Tables, manifest: dict[str, Any], rows: DataFrame) -> None:
    """Writes the spine and reads it back."""
    content, spine = manifest["content"], manifest["spine"]
    content["table"] = _table_of(tables, manifest, rows)
    content["delta_version"] = tables.overwrite_as_version(
        content["table"], rows, made_from={"training_set": dict(manifest)}
    )
    digest, count = digest_of(tables.read(content["table"], content["delta_version"]))
    if (digest, count) != (spine["digest"], spine["rows"]):
        raise _not_as_computed(manifest["name"], count, spine["rows"])


def _not_as_computed(name: str, found: int, wanted: int) -> ReproductionError:
    return ReproductionError(
        f"training set {name!r} was not stored as it was computed: {found} rows instead of {wanted}.\n"
        "Hint: the inputs changed while they were read; run it again"
    )

"""Features on demand, computed from what the join gave: as a manifest tells of them, in Spark and on this side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DoubleType, IntegralType, LongType

from fs_spark.errors import SchemaError
from fs_spark.features.expressions import parse_expression
from fs_spark.names import HIDDEN
from fs_spark.schemas import column_type
from fs_spark.training.chosen import EVENT, OnDemand
from fs_spark.transforms.kinds.event_rows import quoted, with_values

_GIVEN: Final = "_given_"
"""Begins the names of columns that expressions read, for the while of their computation."""


def demand_parts(chosen: Sequence[OnDemand]) -> list[dict[str, Any]]:
    """The features on demand in a manifest."""
    return [
        {
            "view": one.view.name,
            "version": one.view.version,
            "definition_hash": one.view.definition_hash,
            "role": one.role,
            "columns": [list(pair) for pair in one.columns.items()],
            "values": one.values,
            "reads": one.reads,
            "brought": one.brought,
            "types": one.types,
        }
        for one in chosen
    ]


def part_label(part: Mapping[str, Any]) -> str:
    """`payer.activity__v1.0`: a view of a manifest, in its role where it has one."""
    role = f"{part['role']}." if part.get("role") else ""
    return f"{role}{part['view']}__v{part['version']}"


def visible(views: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """View -> its columns that a training set holds; none that only features on demand read."""
    found = {part_label(p): [o for o, _ in p["columns"] if not o.startswith(HIDDEN)] for p in views}
    return {view: outputs for view, outputs in found.items() if outputs}


def asked_part(pinned: Mapping[str, Any]) -> dict[str, Any] | None:
    """A view's part of a manifest without what only features on demand read; None where that is all."""
    columns = [[output, name] for output, name in pinned["columns"] if not output.startswith(HIDDEN)]
    since = pinned.get("since")
    since = None if since is not None and since.startswith(HIDDEN) else since
    if not columns and since is None:
        return None
    skipping = [one for one in pinned.get("skipping") or () if not one.startswith(HIDDEN)]
    return {**pinned, "columns": columns, "since": since, "skipping": skipping}


def outputs_by_view(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """View -> its feature columns, those on demand too."""
    demanded = {part_label(part): [o for o, _ in part["columns"]] for part in manifest.get("on_demand", ())}
    return {**visible(manifest["views"]), **demanded}


def output_types(parts: Sequence[Mapping[str, Any]]) -> dict[str, DataType]:
    """Output -> its type."""
    found = {}
    for part in parts:
        for output, name in part["columns"]:
            found[output] = column_type(parse_expression(part["values"][name], part["types"]).dtype)
    return found


def _fits(found: DataType, wanted: str) -> bool:
    kind = column_type(wanted)
    if isinstance(kind, DoubleType):
        return isinstance(found, IntegralType) or found.simpleString() in ("double", "float")
    if isinstance(kind, LongType):
        return isinstance(found, IntegralType)
    return found == kind or (wanted == "int" and isinstance(found, IntegralType))


def check_brought(spine: DataFrame, timestamp: str, parts: Sequence[Mapping[str, Any]]) -> None:
    """Raises SchemaError with every column that features on demand need, and which a spine lacks or has otherwise."""
    faults = []
    there = {field.name: field.dataType for field in spine.schema.fields}
    for part in parts:
        label = f"{part['view']}__v{part['version']}"
        for shown, column in part["brought"].items():
            name, wanted = timestamp if shown == EVENT else column, part["types"][shown]
            if name not in there:
                faults.append(f"the spine lacks {name!r} ({wanted}), which {label} computes with")
            elif not _fits(there[name], wanted):
                found = there[name].simpleString()
                faults.append(f"{name!r} is {found} in the spine and {wanted} in {label}. Hint: cast it")
        faults += [
            f"column {output!r} of {label} is also in the spine. Hint: name it otherwise by `as`"
            for output, _ in part["columns"]
            if output.lower() in {column.lower() for column in there}
        ]
    if faults:
        raise SchemaError("features on demand cannot be computed:\n" + "\n".join(f"- {f}" for f in faults))


def with_demanded(
    joined: DataFrame, spine: Sequence[str], timestamp: str, parts: Sequence[Mapping[str, Any]]
) -> DataFrame:
    """The joined rows without what only features on demand read, and with these behind all others."""
    if not parts:
        return joined
    given: dict[str, str] = {}
    columns, values = [], dict[str, str]()
    for at, part in enumerate(parts):
        inner = {shown: f"{_GIVEN}{at}_{k}" for k, shown in enumerate(part["types"])}
        for shown, name in inner.items():
            source = part["reads"].get(shown) or (timestamp if shown == EVENT else part["brought"][shown])
            columns.append(F.col(quoted(source)).try_cast(column_type(part["types"][shown])).alias(name))
            given[name] = part["types"][shown]
        renamed = {shown: parse_expression(name, {name: part["types"][shown]}) for shown, name in inner.items()}
        for output, name in part["columns"]:
            values[output] = parse_expression(part["values"][name], part["types"]).with_values(renamed).text
    kept = [column for column in joined.columns if not column.startswith(HIDDEN) or column in spine]
    return with_values(joined.select("*", *columns), values, given, kept)

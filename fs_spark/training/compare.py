"""Two manifests side by side, and one of them for a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fs_spark.names import HIDDEN
from fs_spark.training.on_demand import part_label

_RULES: Final = (
    "boundary", "availability", "offset_s", "ttl_s", "times", "by", "order", "skipping", "since", "last_event",
    "valid_to", "values", "reads", "brought",
)  # fmt: skip
_VERSIONS: Final = ("definition_hash", "delta_version", "bindings", "sources", "kernels", "fit")


@dataclass(frozen=True)
class TrainingSetDiff:
    """What differs between two training sets; each pair is (the first's, the other's), None where one has none.

    views    view version -> what of it differs -> the pair
    columns  column -> `only in the first`, `only in the other` or `values differ`
    """

    names: tuple[str, str]
    rows: tuple[int, int]
    spine: dict[str, tuple[Any, Any]]
    views: dict[str, dict[str, tuple[Any, Any]]]
    columns: dict[str, str]
    code: dict[str, tuple[Any, Any]]
    same_content: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        first, other = self.names
        lines = [f"{first} and {other}: {'the same content' if self.same_content else 'the content differs'}"]
        lines.append(f"rows     {self.rows[0]} and {self.rows[1]}")
        lines += [f"spine    {what}: {a} and {b}" for what, (a, b) in self.spine.items()]
        for view, pairs in self.views.items():
            lines += [f"view     {view}: {what}: {a} and {b}" for what, (a, b) in pairs.items()]
        lines += [f"column   {name}: {what}" for name, what in self.columns.items()]
        lines += [f"code     {what}: {a} and {b}" for what, (a, b) in self.code.items()]
        return "\n".join(lines)


def _pairs(first: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = dict.fromkeys([*first, *other])
    return {key: (first.get(key), other.get(key)) for key in keys if first.get(key) != other.get(key)}


def _view_pairs(first: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    if first is None or other is None:
        return {"joined": (first is not None, other is not None)}
    wanted = (*_RULES, *_VERSIONS, "columns")
    told = [{key: m.get(key) for key in wanted} | {"by": m.get("by") or m.get("keys")} for m in (first, other)]
    return _pairs(*told)


def diff_manifests(first: Mapping[str, Any], other: Mapping[str, Any]) -> TrainingSetDiff:
    """What differs between two training sets, as their manifests tell."""
    views = [{part_label(v): v for v in [*m["views"], *m.get("on_demand", ())]} for m in (first, other)]
    of_views = {name: _view_pairs(views[0].get(name), views[1].get(name)) for name in {**views[0], **views[1]}}
    mine, theirs = first["content"]["columns"], other["content"]["columns"]
    columns = {}
    for name in dict.fromkeys([*mine, *theirs]):
        if name not in theirs:
            columns[name] = "only in the first"
        elif name not in mine:
            columns[name] = "only in the other"
        elif mine[name] != theirs[name]:
            columns[name] = "values differ"
    spine = _pairs(first["spine"], other["spine"])
    return TrainingSetDiff(
        names=(first["name"], other["name"]),
        rows=(first["content"]["rows"], other["content"]["rows"]),
        spine={**_pairs({"timestamp": first["timestamp"]}, {"timestamp": other["timestamp"]}), **spine},
        views={name: pairs for name, pairs in of_views.items() if pairs},
        columns=columns,
        code=_pairs(first["code"], other["code"]),
        same_content=first["content"]["digest"] == other["content"]["digest"],
    )


def describe(manifest: Mapping[str, Any]) -> str:
    """What a training set was made of, readable by a person."""
    spine, content = manifest["spine"], manifest["content"]
    lines = [f"{manifest['name']}: {content['rows']} rows, digest {content['digest']}"]
    kept = {"rows": "all rows", "spine": "the spine", "manifest": "the manifest alone"}[content["keep"]]
    where = f" in {content['table']} at Delta version {content['delta_version']}" if content["table"] else ""
    lines.append(f"keeps    {kept}{where}")
    lines.append(f"spine    {', '.join(spine['columns'])}; time is {manifest['timestamp']}")
    if spine["pinned"]:
        lines.append(f"         from {spine['pinned']['table']} at Delta version {spine['pinned']['delta_version']}")
    for view in manifest["views"]:
        name = part_label(view)
        rules = [view["boundary"].replace("_", " ")]
        rules += ["availability ignored"] if view["availability"] == "ignored" else []
        rules += [f"offset {view['offset_s']:g} s"] if view["offset_s"] else []
        rules += [f"ttl {view['ttl_s']:g} s"] if view["ttl_s"] is not None else []
        lines.append(f"view     {name} at Delta version {view['delta_version']} ({', '.join(rules)})")
        shown = [out for out, _ in view["columns"] if not out.startswith(HIDDEN)]
        lines.append(f"         {', '.join(shown) or 'read by features on demand'}")
        if view["sources"]:
            lines.append("         computed from " + ", ".join(f"{t} {v}" for t, v in sorted(view["sources"].items())))
        if view.get("kernels"):
            lines.append("         by kernels " + ", ".join(f"{k} {r}" for k, r in sorted(view["kernels"].items())))
        empty = content["empty"].get(name, 0.0)
        if empty:
            lines.append(f"         empty in {100 * empty:.1f} % of the rows")
    for part in manifest.get("on_demand", ()):
        lines.append(f"demand   {part['view']}__v{part['version']}")
        lines += [f"         {output} = {part['values'][name]}" for output, name in part["columns"]]
    lines.append("code     " + ", ".join(f"{name} {version}" for name, version in manifest["code"].items()))
    return "\n".join(lines)

"""What a store has, as lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fs_spark.features.entity import SHIPPED
from fs_spark.features.shipped import SHIPPED_SOURCES

if TYPE_CHECKING:
    from fs_spark.store import FeatureStore


@dataclass(frozen=True)
class Listing:
    """Rows of one kind of thing, each with the same columns."""

    what: str
    rows: Sequence[Mapping[str, Any]]

    def to_text(self) -> str:
        if not self.rows:
            return f"there are no {self.what}"
        columns = list(self.rows[0])
        cells = [columns, *([_cell(row[column]) for column in columns] for row in self.rows)]
        widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                         for row in cells)  # fmt: skip


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def listed(store: FeatureStore, what: str, *, all_versions: bool = False) -> Listing:
    """Views (of the registry), services, entities and sources (of the configuration), or training sets."""
    config = store.config
    rows: list[dict[str, Any]]
    if what == "views":
        rows = [asdict(one) for one in store.views().list(all_versions=all_versions)]
    elif what == "services":
        config.require("services")
        rows = [
            {
                "service": one.name,
                "features": len(one.references),
                "views": list(dict.fromkeys(reference.view for reference in one.references)),
                "description": one.description,
            }
            for one in config.services.values()
        ]
    elif what == "entities":
        config.require("entities")
        rows = [
            {
                "entity": one.name,
                "keys": [f"{key} {kind}" for key, kind in one.keys.items()],
                "description": one.description,
            }
            for one in (SHIPPED | dict(config.entities)).values()
        ]
    elif what == "sources":
        config.require("sources")
        rows = [{"source": name, "keys": [], "place": "ingested", "event": ""} for name in sorted(SHIPPED_SOURCES)]
        rows += [
            {
                "source": one.name,
                "keys": list(one.keys),
                "place": next(kind for kind in ("delta", "parquet", "csv", "table") if getattr(one, kind)),
                "event": one.event.column if one.event is not None else "",
            }
            for one in config.sources.values()
        ]
    else:
        saved = store.training_sets()
        rows = [
            {
                "training_set": name,
                "rows": told["content"]["rows"],
                "digest": told["content"]["digest"][:12],
                "views": sorted({f"{view['view']}__v{view['version']}" for view in told["views"]}),
            }
            for name, told in ((name, saved.manifest(name)) for name in saved)
        ]
    return Listing(what, rows)

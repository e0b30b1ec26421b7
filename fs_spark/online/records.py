"""What a published service is: its views, their pinned Delta versions, its features; to and from JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from dataclasses import dataclass

from fs_spark.errors import SchemaError
from fs_spark.names import AVAILABLE_TIMESTAMP, EVENT_TIMESTAMP
from fs_spark.online.codec import RowSchema

TIMES = (EVENT_TIMESTAMP, AVAILABLE_TIMESTAMP)


@dataclass(frozen=True)
class ViewRecord:
    """One view of a service.

    `view` is its table (``die_neighborhood__v1.0``), `schema` the stored feature columns, and `features` the pairs
    (name in the service's answer, column of `schema`).

    Raises  SchemaError with every fault
    """

    view: str
    keys: tuple[str, ...]
    delta_version: int
    features: tuple[tuple[str, str], ...]
    schema: RowSchema

    def __post_init__(self) -> None:
        faults = [f"feature {name!r} has no column {c!r}" for name, c in self.features if c not in self.schema.names]
        faults += [f"column {c!r} is a key or a time" for c in self.schema.names if c in self.keys or c in TIMES]
        faults += [f"key {key!r} is there twice" for key, n in Counter(self.keys).items() if n > 1]
        if not self.keys:
            faults.append("it has no key columns")
        if faults:
            raise SchemaError(f"view {self.view!r}: {'; '.join(faults)}.\nHint: `schema` holds feature columns only.")

    @functools.cached_property
    def stored(self) -> RowSchema:
        """A stored row: event time, time of knowledge, then the feature columns."""
        return RowSchema(TIMES + self.schema.names, ("timestamp",) * len(TIMES) + self.schema.types)


@dataclass(frozen=True)
class ServiceRecord:
    """A service as published. Two records are equal when an export would write the same rows.

    Raises  SchemaError for a view twice, or a feature name twice or that is also a key
    """

    service: str
    views: tuple[ViewRecord, ...]

    def __post_init__(self) -> None:
        names = Counter(name for view in self.views for name, _ in view.features)
        keys = {key for view in self.views for key in view.keys}
        faults = [f"feature {name!r} is there twice" for name, n in names.items() if n > 1]
        faults += [f"feature {name!r} is also a key" for name in names if name in keys]
        faults += [f"view {v!r} is there twice" for v, n in Counter(v.view for v in self.views).items() if n > 1]
        if faults:
            raise SchemaError(f"service {self.service!r}: {'; '.join(faults)}.\nHint: give the feature another name.")

    def is_older_than(self, other: ServiceRecord) -> bool:
        """Whether it pins an older Delta version of a view that both have, and a newer one of none."""
        theirs = {view.view: view.delta_version for view in other.views}
        pairs = [(view.delta_version, theirs[view.view]) for view in self.views if view.view in theirs]
        return any(own < their for own, their in pairs) and all(own <= their for own, their in pairs)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ServiceRecord:
        fields = json.loads(text)
        return cls(
            fields["service"],
            tuple(
                ViewRecord(
                    view["view"],
                    tuple(view["keys"]),
                    view["delta_version"],
                    tuple((name, column) for name, column in view["features"]),
                    RowSchema(tuple(view["schema"]["names"]), tuple(view["schema"]["types"])),
                )
                for view in fields["views"]
            ),
        )


@dataclass(frozen=True, eq=False)
class Published:
    """A service as a store holds it: its record, the number of its publication, and its views' key types."""

    record: ServiceRecord
    generation: int
    key_types: tuple[tuple[str, ...], ...]
    """Per view, per key column: a type of `codec.KEY_TAGS`; empty when no batch told them."""


@dataclass(frozen=True)
class PublishReport:
    """What a publication wrote, per view; rows with a null key are left out, because no request can find them.

    `overtaken` says that a newer publication came meanwhile, which stands, and that nothing was written.
    """

    service: str
    rows: dict[str, int]
    without_key: dict[str, int]
    overtaken: bool = False

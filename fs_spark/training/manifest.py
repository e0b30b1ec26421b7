"""What a training set was made of, as JSON: the published schema is `manifest.schema.json` beside this file."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pyspark.sql import SparkSession

from fs_spark.errors import ReproductionError

FORMAT: Final = 5
SCHEMA_FILE: Final = Path(__file__).with_name("manifest.schema.json")
_PACKAGES: Final = ("fs_spark", "pyspark", "delta-spark", "pyarrow", "numpy", "numba")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ViewPart(_Part):
    """A view as it was joined: its version, where its rows lay and what they were computed from."""

    view: str
    version: str
    definition_hash: str
    bindings: dict[str, str] = Field(description="product -> digest of what is used of it, in the registry")
    sources: dict[str, int] = Field(description="ingested table -> Delta version that the rows were computed from")
    kernels: dict[str, int] = Field(
        default_factory=dict, description="kernel -> the revision of it that the rows were computed by, 1 where absent"
    )
    table: str
    delta_version: int
    keys: list[str]
    parameters: list[str]
    boundary: Literal["at_or_before", "strictly_before"]
    availability: Literal["respected", "ignored"]
    offset_s: float
    ttl_s: float | None
    columns: list[tuple[str, str]] = Field(description="output column, column of the view")
    order: list[str] = Field(default_factory=list, description="columns that order rows of one event and sequence")
    times: bool = Field(description="whether the chosen row's event time and age are columns too")
    by: list[str] | None = Field(default=None, description="the spine's columns for the keys; absent: called alike")
    role: str | None = Field(default=None, description="the role in which the view is joined")
    skipping: list[str] = Field(default_factory=list, description="outputs of the newest row whose value is known")
    since: str | None = Field(default=None, description="output: seconds from the last event of a state to T")
    last_event: str | None = Field(default=None, description="column that stands for the event in TTL and age")
    valid_to: str | None = Field(default=None, description="column with the end of a row's validity")
    fit: str | None = Field(default=None, description="digest of what was fitted for the view, in the registry")
    watermark_us: int | None = Field(default=None, description="how far the view's rows reach, in microseconds")
    bound_us: int | None = Field(default=None, description="the least watermark of states that it reads at an event")


class OnDemandPart(_Part):
    """Features that were computed from what the join gave, and from what the spine brought."""

    view: str
    version: str
    definition_hash: str
    role: str | None
    columns: list[tuple[str, str]] = Field(description="output column, feature of the view")
    values: dict[str, str] = Field(description="feature -> its expression")
    reads: dict[str, str] = Field(description="column as expressions call it -> column that the join gave")
    brought: dict[str, str] = Field(description="column as expressions call it -> column of the spine, or its time")
    types: dict[str, str] = Field(description="column as expressions call it -> type")


class PinnedPart(_Part):
    """The table of the store that a spine is, at a Delta version."""

    table: str
    delta_version: int
    columns: list[str]
    where: str | None
    rename: dict[str, str]


class SpinePart(_Part):
    columns: list[str]
    types: list[str]
    rows: int
    digest: str
    pinned: PinnedPart | None


class ContentPart(_Part):
    """What is kept, and digests of all rows, which depend neither on their order nor on their partitioning."""

    keep: Literal["rows", "spine", "manifest"]
    table: str | None
    delta_version: int | None
    rows: int
    digest: str
    columns: dict[str, str] = Field(description="column -> digest of its values")
    empty: dict[str, float] = Field(description="view -> share of rows in which all of its features are null")


class Manifest(_Part):
    """A training set's manifest."""

    format: Literal[2, 3, 4, 5] = Field(description="2 knows of no kernels, 3 of spatial views alone, 4 of no order")
    name: str
    timestamp: str
    spine: SpinePart
    views: list[ViewPart] = Field(description="columns that begin with _of__ are read by features on demand alone")
    on_demand: list[OnDemandPart] = Field(default_factory=list)
    configuration: str | None = Field(description="digest of the configuration of ingest, in the registry")
    content: ContentPart
    code: dict[str, str] = Field(description="engine and library versions")


def manifest_schema() -> dict[str, Any]:
    """The JSON schema that `manifest.schema.json` publishes."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def read_manifest(text: str, name: str) -> dict[str, Any]:
    """Raises ReproductionError where the text is no manifest of this format."""
    try:
        return Manifest.model_validate_json(text).model_dump(mode="json")
    except ValidationError as fault:
        found = json.loads(text).get("format")
        raise ReproductionError(
            f"the manifest of {name!r} is of format {found}, this fs_spark reads formats 2 to {FORMAT}: "
            f"{fault.error_count()} faults, the first at {fault.errors()[0]['loc']}.\n"
            "Hint: read it with the version of fs_spark that its `code` names"
        ) from fault


def code_versions(spark: SparkSession) -> dict[str, str]:
    """The engine and the libraries that compute."""
    found = {"spark": spark.version}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found

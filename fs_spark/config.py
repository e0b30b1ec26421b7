"""The configuration folder: store, testers, products, other inputs, views and services, read once and frozen.

Unknown keys are refused. All faults of all files are collected, each with its file, line and key, so that one run of
`fs-spark plan` shows everything there is to mend. A verb is stopped by faults of what it needs, not by others.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from fs_spark.config_files import config_error, place_of, read_part, whole_entries
from fs_spark.errors import ConfigError, is_secret, without_secrets
from fs_spark.features.definition import View
from fs_spark.features.entity import Entity
from fs_spark.features.service import FeatureService
from fs_spark.features.source import SourceText
from fs_spark.features.view import FeatureView
from fs_spark.inputs.rules import InputEntry, InputsFile
from fs_spark.stdf.container import DEFAULT_LIMITS, Limits
from fs_spark.stdf.quantity import powers_between
from fs_spark.stdf.rules import Availability, Duration, Frozen, ProductConfig, TesterConfig
from fs_spark.view_files import given_views, reads, view_files
from fs_spark.view_texts import PlacedText, Registered, resolve_views


def _horizon(value: str) -> str:
    if not re.fullmatch(r"interval \d+ days", value):
        raise ValueError(f"{value!r} cannot be used. Hint: write 'interval 3650 days'; Delta refuses months and years")
    return value


class _Hiding(Frozen):
    """Shows no secret: neither of a URL, nor of a setting that is called like one."""

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if isinstance(value, str):
                value = without_secrets(value)
            elif isinstance(value, dict):
                value = {k: "***" if is_secret(k) else without_secrets(str(v)) for k, v in value.items()}
            yield name, value


def _mode(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"0?6[0-6]{2}", value):
        return int(value, 8)
    if isinstance(value, int) and re.fullmatch(r"6[0-6]{2}", f"{value:o}"):  # 0640 without quotes is octal in YAML
        return value
    raise ValueError(f"{value!r} cannot be used. Hint: write '0600', '0640' or '0660'")


DEFAULT_MODE = 0o600


class WaferMapDefaults(Frozen):
    edge_exclusion_mm: float = Field(default=3.0, ge=0)


def _size(value: object) -> object:
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+)\s*([KMGT]i?B|B)?\s*", value)
        if not found:
            raise ValueError(f"{value!r} is not a size. Hint: write bytes, or a number and a unit such as '2 GiB'")
        unit = found[2] or "B"
        return int(found[1]) * (1024 if "i" in unit else 1000) ** " KMGT".index(unit[0].replace("B", " "))
    return value


class DecompressionConfig(Frozen):
    """How large a packed file may become; one that becomes larger is set aside with the reason."""

    largest_bytes: Annotated[int, BeforeValidator(_size), Field(gt=0)] = DEFAULT_LIMITS.largest_bytes
    largest_ratio: int = Field(default=DEFAULT_LIMITS.largest_ratio, gt=0)

    @property
    def limits(self) -> Limits:
        return Limits(self.largest_bytes, self.largest_ratio)


class SparkConfig(_Hiding):
    master: str | None = None
    jars_folder: Path | None = None
    shuffle_partitions: int | None = Field(default=None, gt=0)
    settings: dict[str, str] = {}
    cache_folder: Path | None = None
    """Where compiled functions are kept, on this machine and on the executors'; absolute."""
    quick_start: bool = True
    """Whether the JVM of a local session takes jars and an archive of its classes from the cache folder."""


class StoreConfig(_Hiding):
    """`conf/store.yaml`. Relative paths count from the folder that holds the file.

    `follow_links` lets a delivered folder hold links to files outside of it.
    """

    root: str | None = None
    catalog: str | None = Field(default=None, pattern=r"^\w+\.\w+$")
    horizon: Annotated[str, AfterValidator(_horizon)] = "interval 3650 days"
    availability: Availability = "streaming"
    availability_margin: Duration = timedelta(0)
    wafer_map: WaferMapDefaults = WaferMapDefaults()
    decompression: DecompressionConfig = DecompressionConfig()
    follow_links: bool = False
    online: str = "sqlite:///online.sqlite"
    online_mode: Annotated[int, BeforeValidator(_mode)] = DEFAULT_MODE
    """Who may read a SQLite file that is made: `'0640'` lets its group."""
    spark: SparkConfig = SparkConfig()

    @model_validator(mode="after")
    def _one_place(self) -> StoreConfig:
        if (self.root is None) == (self.catalog is None):
            raise ValueError("give exactly one of `root` (folder or URI) and `catalog` (catalog.schema)")
        return self

    @property
    def horizon_days(self) -> int:
        return int(self.horizon.split()[1])


class TestersFile(Frozen):
    testers: tuple[TesterConfig, ...] = ()


class ProductsFile(Frozen):
    products: tuple[ProductConfig, ...] = ()

    @model_validator(mode="after")
    def _products_differ(self) -> ProductsFile:
        names = [p.product_id for p in self.products]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"product_id given twice: {twice}")
        return self


class ServicesFile(Frozen):
    services: dict[str, FeatureService] = {}

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        services = data.get("services") if isinstance(data, dict) else None
        if isinstance(services, dict):
            named = {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in services.items()}
            return {**data, "services": named}
        return data


def _with_names(data: Any, field: str) -> Any:
    """`{payments: {...}}` as entries that know their names."""
    found = data.get(field) if isinstance(data, dict) else None
    if isinstance(found, dict):
        return {**data, field: {k: {"name": k, **v} if isinstance(v, dict) else v for k, v in found.items()}}
    return data


class EntitiesFile(Frozen):
    """`entities.yaml`: name -> key columns."""

    entities: dict[str, Entity] = {}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        return _with_names(data, "entities")


class SourcesFile(Frozen):
    """`sources.yaml`: name -> where rows are and what they mean."""

    sources: dict[str, SourceText] = {}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        return _with_names(data, "sources")


Part = Literal["testers", "products", "inputs", "entities", "sources", "services", "views", "units", "parameters"]
"""What a fault concerns; `units` are those of products' parameters, `parameters` those that views name and no product
maps: no file is ingested by either."""


class Configuration(Frozen):
    """Everything under the configuration folder."""

    folder: Path
    store: StoreConfig
    testers: tuple[TesterConfig, ...]
    products: tuple[ProductConfig, ...]
    inputs: tuple[InputEntry, ...]
    views: tuple[View, ...]
    """Of all kinds, as far as the folder alone says what they mean."""
    services: dict[str, FeatureService]
    entities: dict[str, Entity] = {}
    sources: dict[str, SourceText] = {}
    texts: tuple[PlacedText, ...] = Field(default=(), repr=False)
    """Views of other kinds than spatial as they are written."""
    faults: dict[Part, tuple[str, ...]] = Field(default={}, repr=False)
    """What `load_configuration(..., strict=False)` found, by what it concerns."""
    places: dict[str, str] = Field(default={}, repr=False)
    """Where a parameter stands, `product/parameter` -> file and line."""

    def resolved(self, registered: Registered) -> list[View]:
        """All views of the folder, those of the registry being known.

        Raises     ConfigError with every fault
        """
        spatial = [view for view in self.views if isinstance(view, FeatureView)]
        views, faults = resolve_views(self.texts, spatial, self.entities, self.sources, registered)
        if faults:
            raise config_error(self.folder, faults)
        return [*spatial, *views]

    def require(self, *parts: Part) -> None:
        """Raises ConfigError with the faults of what is needed; without parts, of everything."""
        found = [fault for part, faults in self.faults.items() if not parts or part in parts for fault in faults]
        if found:
            raise config_error(self.folder, found)

    @property
    def root(self) -> str | None:
        root = self.store.root
        if root is None or "://" in root:
            return root
        return str((self.folder / root).resolve())

    def source_texts(self) -> dict[str, str]:
        """Source -> its text as the registry keeps it."""
        return {name: source.model_dump_json() for name, source in self.sources.items()}

    def ingest_text(self) -> str:
        """What the ingested rows depend on, as one JSON text: testers, products, other inputs and availability."""
        parts: dict[str, Sequence[BaseModel]] = {
            "testers": self.testers, "products": self.products, "inputs": self.inputs
        }  # fmt: skip
        listed = {name: [one.model_dump(mode="json") for one in models] for name, models in parts.items()}
        store = self.store.model_dump(mode="json", include={"availability", "availability_margin", "wafer_map"})
        return json.dumps({**listed, "store": store}, sort_keys=True)

    @property
    def online_url(self) -> str:
        url = self.store.online
        if url.startswith("sqlite:///"):
            return f"sqlite:///{(self.folder / url.removeprefix('sqlite:///')).resolve()}"
        return url


def _unit_faults(products: Sequence[ProductConfig], places: Mapping[str, str]) -> list[str]:
    """Parameters that two products give in two units: one column cannot hold both."""
    faults = []
    first: dict[str, tuple[str, str]] = {}
    for product in products:
        for name, parameter in product.parameters.items():
            if not parameter.unit:
                continue
            here = f"{product.product_id}/{name}"
            other, unit = first.setdefault(name, (here, parameter.unit))
            power = powers_between(parameter.unit, unit)
            if power == 0:
                continue
            hint = (
                f"write {unit!r} at both: values of files in other units are scaled to it"
                if power is not None
                else "they are two quantities: give each its own name"
            )
            faults.append(
                f"{places.get(here, 'products')}: parameter {name!r} of product {product.product_id} is in "
                f"{parameter.unit!r}, and at {places.get(other, 'products')}, of product {other.split('/')[0]}, in "
                f"{unit!r}. Hint: {hint}"
            )
    return faults


def _mapping_faults(views: Sequence[tuple[FeatureView, str]], products: Sequence[ProductConfig]) -> list[str]:
    """Parameters of views that no product maps to a test."""
    known = {name for product in products for name in product.parameters}
    faults = []
    for view, place in views:
        for name in view.parameters:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "map it to a test in products.yaml"
                faults.append(f"{place}: {view.name}: parameter {name!r} is mapped by no product. Hint: {hint}")
    return faults


def load_configuration(
    store_file: str | Path, *, strict: bool = True, views: Sequence[FeatureView | Mapping[str, Any]] = ()
) -> Configuration:
    """Reads the folder around `store_file` whole; `views` are more of them, written in Python.

    Without `strict`, faults of other files than `store_file` are kept in the result, for `require` to raise.

    Raises ConfigError with every fault of every file, each with its file, line and key.
    """
    store_file = Path(store_file).expanduser().resolve()
    folder, faults = store_file.parent, list[str]()
    of: dict[Part, list[str]] = {part: [] for part in get_args(Part)}
    store, _ = read_part(store_file, StoreConfig, faults, needed=True)
    testers, _ = read_part(folder / "testers.yaml", TestersFile, of["testers"], needed=False)
    products, text = read_part(folder / "products.yaml", ProductsFile, of["products"], needed=False)
    inputs, _ = read_part(folder / "inputs.yaml", InputsFile, of["inputs"], needed=False)
    services, _ = read_part(folder / "services.yaml", ServicesFile, of["services"], needed=False)
    entities, listed = read_part(folder / "entities.yaml", EntitiesFile, of["entities"], needed=False)
    known = (entities.entities, set[str]()) if entities else whole_entries(EntitiesFile, "entities", listed)
    sources, listed = read_part(folder / "sources.yaml", SourcesFile, of["sources"], needed=False)
    brought = (sources.sources, set[str]()) if sources else whole_entries(SourcesFile, "sources", listed)
    spatial, texts = view_files(folder, of["views"])
    more_spatial, more_texts = given_views(views, of["views"])
    spatial, texts = [*spatial, *more_spatial], [*texts, *more_texts]
    found: list[View] = [view for view, _ in spatial]
    if known is not None and brought is not None:
        judged = [placed for placed in texts if not reads(placed.text, known[1], brought[1])]
        resolved, wrong = resolve_views(judged, [view for view, _ in spatial], known[0], brought[0])
        found, of["views"] = [*found, *resolved], of["views"] + wrong
    seen: dict[str, int] = {}
    for name in [*(view.name for view, _ in spatial), *(placed.text.name for placed in texts)]:
        seen[name] = seen.get(name, 0) + 1
    of["views"] += [f"views: {name} is defined {n} times" for name, n in seen.items() if n > 1]
    places = {}
    if products is not None:
        for at, product in enumerate(products.products):
            for name in product.parameters:
                path = ("products", at, "parameters", name)
                places[f"{product.product_id}/{name}"] = place_of(folder / "products.yaml", text, path)
        of["units"] += _unit_faults(products.products, places)
        of["parameters"] += _mapping_faults(spatial, products.products)
    everything = [*faults, *(fault for listed in of.values() for fault in listed)]
    if faults or (strict and everything):
        raise config_error(folder, everything)
    return Configuration(
        folder=folder,
        store=store,
        testers=testers.testers if testers is not None else (),
        products=products.products if products is not None else (),
        inputs=inputs.inputs if inputs is not None else (),
        views=tuple(found),
        services=services.services if services is not None else {},
        entities=entities.entities if entities is not None else {},
        sources=sources.sources if sources is not None else {},
        texts=tuple(texts),
        faults={part: tuple(listed) for part, listed in of.items() if listed},
        places=places,
    )


def load_store_config(store_file: str | Path) -> StoreConfig:
    """Reads `conf/store.yaml` alone, for what needs a session but no definitions."""
    faults: list[str] = []
    store, _ = read_part(Path(store_file).expanduser().resolve(), StoreConfig, faults, needed=True)
    if faults:
        raise ConfigError("\n".join(faults))
    return store  # type: ignore[no-any-return]

"""References to features, and services: named lists of them that are trained and served together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_serializer, model_validator

from fs_spark.errors import FeatureNotFoundError, did_you_mean
from fs_spark.features.definition import VIEW_NAME

_REFERENCE: Final = re.compile(
    r"((?P<role>[a-z][a-z0-9_]*)\.)?(?P<view>[a-z][a-z0-9_]*?)(__v(?P<version>\d+\.\d+))?:(?P<feature>[a-z0-9_]+)"
)
SINCE_LAST: Final = "since_last"
"""Of every view of states: seconds from the group's last row to the question."""
Roles = Mapping[str, Mapping[str, str]]
"""Role -> key of a view -> the column that holds it for the role: `{payer: {customer_id: payer_id}}`."""


class FeatureReference(BaseModel):
    """`view:feature` (the promoted version), `view__v2.0:feature` (that version), `payer.view:feature` (of a role).

    As a mapping it also says `as` (another name of the column) and `nulls: skip` (the newest row whose value is known).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^[a-z0-9_.]+:[a-z0-9_]+$"}
        more = {"feature": text, "as": {"type": "string"}, "nulls": {"enum": ["keep", "skip"]}}
        return {"anyOf": [text, {"type": "object", "properties": more, "required": ["feature"],
                                 "additionalProperties": False}]}  # fmt: skip

    view: str
    version: str | None = None
    feature: str
    role: str | None = None
    called: str | None = Field(default=None, alias="as", pattern=r"^[a-z][a-z0-9_]*$")
    nulls: Literal["keep", "skip"] = "keep"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, str):
            return cls._parts(given)
        if isinstance(given, Mapping) and "view" not in given and isinstance(given.get("feature"), str):
            return {**cls._parts(given["feature"]), **{k: v for k, v in given.items() if k != "feature"}}
        return given

    @staticmethod
    def _parts(text: str) -> dict[str, Any]:
        found = _REFERENCE.fullmatch(text)
        if not found or not VIEW_NAME.fullmatch(found["view"]):
            raise ValueError(f"{text!r} is not a feature reference. Hint: write 'view:feature' or 'view__v1.0:feature'")
        return {name: found[name] for name in ("view", "version", "feature", "role")}

    @model_serializer
    def _written(self) -> Any:
        if self.called is None and self.nulls == "keep":
            return self.text
        more = {"as": self.called} if self.called is not None else {}
        return {"feature": self.text, **more, **({"nulls": self.nulls} if self.nulls != "keep" else {})}

    @classmethod
    def parse(cls, text: Any) -> FeatureReference:
        """Raises ValueError where the text is not a reference."""
        return cls.model_validate(text)

    @property
    def text(self) -> str:
        role = f"{self.role}." if self.role else ""
        version = f"__v{self.version}" if self.version else ""
        return f"{role}{self.view}{version}:{self.feature}"


class FeatureService(BaseModel):
    """A named list of feature references that is trained and served together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    features: tuple[str | FeatureReference, ...] = Field(min_length=1)
    """References; one that says more than its text is a `FeatureReference`."""
    roles: dict[str, dict[str, str]] = {}
    defaults: dict[str, bool | int | float | str] = {}
    """Feature, as answers call it -> what is answered online where no row is there, or while the store is down."""
    description: str = ""

    @field_validator("features", mode="before")
    @classmethod
    def _references(cls, features: Any) -> Any:
        if isinstance(features, str) or not isinstance(features, (list, tuple)):
            return features
        read = [one if isinstance(one, FeatureReference) else FeatureReference.parse(one) for one in features]
        return [one.text if one.called is None and one.nulls == "keep" else one for one in read]

    @property
    def references(self) -> list[FeatureReference]:
        return [one if isinstance(one, FeatureReference) else FeatureReference.parse(one) for one in self.features]

    @model_validator(mode="after")
    def _known_roles(self) -> FeatureService:
        unknown = sorted({one.role for one in self.references if one.role is not None and one.role not in self.roles})
        if unknown:
            raise ValueError(
                f"roles {', '.join(unknown)} are not given. Hint: write roles: {{{unknown[0]}: {{customer_id: "
                f"{unknown[0]}_id}}}}"
            )
        return self


Features = Sequence[str | Mapping[str, Any]] | str
"""References and names of services, as a list or as one text with blanks or commas between them."""


def named_service(name: str, services: Mapping[str, FeatureService]) -> FeatureService:
    """Raises FeatureNotFoundError with the nearest name."""
    if name not in services:
        raise FeatureNotFoundError(f"service {name!r} is not configured.\n{did_you_mean(name, services)}")
    return services[name]


def _texts(features: Features) -> list[Any]:
    return re.split(r"[,\s]+", features.strip()) if isinstance(features, str) else list(features)


def _is_service(text: Any) -> bool:
    return isinstance(text, str) and ":" not in text


def names_service(features: Features) -> bool:
    """Whether a service is named among references."""
    return any(map(_is_service, _texts(features)))


@dataclass(frozen=True)
class AskedFeatures:
    """What features are asked for: references alone, and those of services."""

    single: tuple[Any, ...]
    services: tuple[FeatureService, ...]
    references: tuple[Any, ...]
    """All of them, in the order in which they were asked for."""

    @classmethod
    def of(cls, features: Features, services: Mapping[str, FeatureService]) -> AskedFeatures:
        """Raises FeatureNotFoundError for a service that is not configured."""
        single, named, references = [], [], list[Any]()
        for text in _texts(features):
            if _is_service(text):
                service = named_service(text, services)
                named.append(service)
                references += service.features
            else:
                single.append(text)
                references.append(text)
        return cls(tuple(single), tuple(named), tuple(references))

    @property
    def roles(self) -> dict[str, Mapping[str, str]]:
        """The roles of the services."""
        return {role: by for service in self.services for role, by in service.roles.items()}

    @property
    def parts(self) -> dict[str, tuple[Any, ...]]:
        """The references of each service, and of what is asked for beside them."""
        found = {f"service {service.name}": tuple(service.features) for service in self.services}
        return found | ({"what is asked for": self.single} if self.single else {})

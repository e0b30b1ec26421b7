"""`function`: a function of the user's own, by its import path, with the digest of its code and of its files."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict

FUNCTION: Final = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")
PACKAGE: Final = re.compile(r"(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.+!_-]*)")
SHA256: Final = re.compile(r"(sha256:)?(?P<digest>[0-9a-f]{64})")


class FunctionTransform(BaseModel):
    """`function(inputs, **parameters)`, where `inputs` are frames by name; the first one gives the rows.

    code    `package==version`, or the SHA-256 of the module's file
    files   path (from the module's folder on, where it is relative) -> SHA-256
    group   columns of the entity whose rows are computed together, all of a group in one call
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives_states: ClassVar[bool] = False
    kind: Literal["function"] = "function"
    function: str
    parameters: dict[str, Any] = {}
    code: str
    files: dict[str, str] = {}
    repeatable: bool = True
    group: tuple[str, ...]
    names: tuple[str, ...]
    """How the function calls its inputs."""

"""The code of `function` views: imported, and what its text says of it checked, where it runs."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from fs_spark.errors import ConfigError, RequestError
from fs_spark.features.definition import View
from fs_spark.features.kinds.function import FUNCTION, PACKAGE, SHA256, FunctionTransform
from fs_spark.features.table_view import TableView


def check_functions(views: Iterable[View]) -> None:
    """Raises ConfigError with what is wrong with the code of each view that calls a function."""
    faults = []
    for view in views:
        if isinstance(view, TableView) and isinstance(view.transform, FunctionTransform):
            try:
                load_function(view.transform)
            except ConfigError as fault:
                faults.append(f"- {view.qualified}: {fault}")
    if faults:
        raise ConfigError("functions of views cannot be called:\n" + "\n".join(faults))


def load_function(transform: FunctionTransform) -> Callable[..., Any]:
    """The function of a view.

    Raises     ConfigError where it cannot be imported, or its code or a file is another one than the text says
    """
    found = FUNCTION.fullmatch(transform.function)
    assert found is not None
    try:
        spec = importlib.util.find_spec(found["module"])
    except Exception as fault:
        raise ConfigError(f"{found['module']} cannot be imported: {fault}. Hint: install it here") from fault
    if spec is None or spec.origin is None:
        raise ConfigError(f"there is no module {found['module']!r}. Hint: install it, or put its folder on PYTHONPATH")
    file = Path(spec.origin)
    _check_code(transform.code, found["module"], file)
    for name, wanted in transform.files.items():
        _check_file(file.parent / name, wanted)
    try:
        function = getattr(_imported(found["module"], file, transform.code), found["name"], None)
    except ConfigError:
        raise
    except Exception as fault:
        raise ConfigError(f"{found['module']} cannot be imported: {type(fault).__name__}: {fault}") from fault
    if not callable(function):
        raise ConfigError(f"{found['module']} has no function {found['name']!r}. Hint: correct `function`")
    return function  # type: ignore[no-any-return]


_IMPORTED: dict[str, str] = {}
"""Module -> SHA-256 of the file that it was imported from in this process."""


def _imported(module: str, file: Path, code: str) -> ModuleType:
    """The module as its file is now, also where an older one was imported before."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    before = _IMPORTED.get(module)
    if module in sys.modules and before != digest:
        if before is not None and PACKAGE.fullmatch(code):
            raise ConfigError(f"{module} was imported as it was before {code}. Hint: restart the session")
        loaded = importlib.reload(sys.modules[module])
    else:
        loaded = importlib.import_module(module)
    _IMPORTED[module] = digest
    return loaded


def _check_code(code: str, module: str, file: Path) -> None:
    package = PACKAGE.fullmatch(code)
    if package is None:
        _check_file(file, code)
        return
    try:
        installed = version(package["package"])
    except PackageNotFoundError:
        raise ConfigError(f"package {package['package']} is not installed. Hint: pip install {code}") from None
    if installed != package["version"]:
        raise ConfigError(
            f"package {package['package']} is {installed} here, and the text says {package['version']}. "
            "Hint: install that one, or raise the view's version"
        )
    owners = packages_distributions().get(module.split(".")[0], [])
    names = {_normal(owner) for owner in owners}
    if owners and _normal(package["package"]) not in names:
        raise ConfigError(f"{module} is of {', '.join(sorted(set(owners)))}, not of {package['package']}")


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _check_file(file: Path, wanted: str) -> None:
    """Raises ConfigError where a file is gone, or another one."""
    digest = SHA256.fullmatch(wanted)
    assert digest is not None
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as fault:
        raise ConfigError(f"{file.name} cannot be read: {fault.strerror}. Hint: put it where `files` says") from None
    if found != digest["digest"]:
        raise ConfigError(
            f"{file.name} has the SHA-256 {found}, and the text says {digest['digest']}. "
            "Hint: bring the old file back, or raise the view's version"
        )


REFUSED = "refused rows of a function"
"""In the message of an error that Spark raises where a function gives rows that it may not give."""
_REASON = re.compile(rf"{REFUSED}: ([^\n]*?)(?: SQLSTATE|\n|$)")


def raise_of_function(view: View, fault: Exception) -> None:
    """Raises RequestError where a job failed by what a view's function gave or did."""
    if not isinstance(view, TableView) or not isinstance(view.transform, FunctionTransform):
        return
    refused = _REASON.search(str(fault))
    if refused is not None:
        raise RequestError(
            f"{refused[1]}. Hint: return each row that was given at most once, with its own keys and times"
        ) from None
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    told = next(
        (line for line in reversed(lines) if re.match(r"\w*(Error|Exception)\b", line)), lines[0] if lines else ""
    )
    raise RequestError(
        f"{view.qualified}: a job of {view.transform.function} failed: {told}. "
        "Hint: its rows of before stay in force; mend it in a new version"
    ) from fault

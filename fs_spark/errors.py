"""What can go wrong, and what the caller can catch.

FsSparkError
|-- ConfigError            (ValueError)   a configuration file, all its faults at once
|   `-- ExpressionError                   a row expression that cannot be used, and where in its text
|-- SchemaError            (ValueError)   a frame or table without the columns it needs
|-- StdfError              (ValueError)   bytes that are not a readable STDF V4 file
|-- GeometryError          (ValueError)   a wafer map that contradicts itself or its dies
|-- LeakageError           (ValueError)   a request that would let a label see its own future
|-- RequestError           (ValueError)   arguments that cannot be carried out
|-- FeatureNotFoundError   (KeyError)     an unknown view, feature, service or training set
|-- RetentionError         (RuntimeError) a version that is gone, or a table that keeps too little
|-- ReproductionError      (RuntimeError) a rebuilt training set that is not the recorded one
|-- ExpectationError       (RuntimeError) rows that are not what was expected of them
|-- TableConflictError     (RuntimeError) a table, name or commit that something else holds
|-- OnlineStoreError       (RuntimeError) an online store that cannot be reached, or refuses to work
`-- SetupError             (RuntimeError) no JVM, no Delta, no such session

Every text says what is wrong, what was found, and in a `Hint:` what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s'\"`<>]*@")
_IN_QUERY = re.compile(
    r"(?i)([?&;](?:[\w.-]*(?:password|passwd|pwd|secret|token|credential|key|sig|signature))=)[^\s&;,'\"`]+"
)
_SECRET_NAME = re.compile(r"(?i)password|passwd|pwd|secret|token|credential|access.?key|account.?key|sas")


def without_secrets(text: str) -> str:
    """A text whose URLs have neither user nor password, nor keys and signatures in their query."""
    return _IN_QUERY.sub(r"\1***", _LOGIN.sub(r"\1***@", text))


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret, such as spark.hadoop.fs.s3a.secret.key."""
    return _SECRET_NAME.search(name) is not None


class FsSparkError(Exception):
    """Base of everything that fs_spark raises on purpose. No secret of a URL is in its text, repr or traceback."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))

    def __str__(self) -> str:  # KeyError would print its argument quoted
        return str(self.args[0]) if self.args else ""


class ConfigError(FsSparkError, ValueError):
    """A configuration that cannot be used; lists every fault that was found."""


class ExpressionError(ConfigError):
    """A row expression that cannot be used; says where in its text."""


class SchemaError(FsSparkError, ValueError):
    """A frame or table lacks a column, or has it in another type."""


class StdfError(FsSparkError, ValueError):
    """Bytes that cannot be read as STDF V4."""


class GeometryError(FsSparkError, ValueError):
    """A wafer geometry that is impossible or contradicts the dies."""


class LeakageError(FsSparkError, ValueError):
    """A definition or request that would let a row see its own future."""


class RequestError(FsSparkError, ValueError):
    """Arguments that cannot be carried out; nothing was changed."""


class FeatureNotFoundError(FsSparkError, KeyError):
    """A view, feature, service or training set that is not known."""


class RetentionError(FsSparkError, RuntimeError):
    """A table version that is gone, or a table that keeps versions too briefly."""


class ReproductionError(FsSparkError, RuntimeError):
    """A rebuilt training set whose rows are not the recorded ones."""


class ExpectationError(FsSparkError, RuntimeError):
    """Rows that are not what a source or view promises; those of before stay in force."""


class TableConflictError(FsSparkError, RuntimeError):
    """A table, a name or a commit that something else already holds."""


class OnlineStoreError(FsSparkError, RuntimeError):
    """An online store that cannot be reached, or that refuses to work."""


class SetupError(FsSparkError, RuntimeError):
    """The machine or session lacks what fs_spark needs."""


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """The end of an error text: what exists, and the nearest name as a hint."""
    names = sorted(set(known))
    listed = ", ".join(names) if names else "nothing yet"
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    hint = f"\nHint: did you mean {near[0]!r}?" if near else ""
    return f"Registered: {listed}.{hint}"


def zone_hint(utc: str, local: str) -> str:
    """What to do about a time without a zone: `utc` and `local` are code, `zone` in the latter the clock's IANA name.

    It names no city: who copies an example's zone moves all rows by its hours.
    """
    return (
        f"Hint: times that come from the store are UTC, and toPandas() gives them without a zone: {utc}; of the wall "
        f"clock of a tester or a person, such as run_start_local, say the zone: {local}"
    )

"""Paths, globs, folders and URIs -> the delivered files, and a file's bytes.

URIs go to the file systems of Arrow (`s3://`, `gs://`, `abfs://`, `hdfs://`), others to fsspec where it is installed.
No error text holds the password or the query of a URI.
"""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import pyarrow as pa

from fs_spark.errors import FsSparkError, RequestError, StdfError

log = logging.getLogger(__name__)

_PACKED: Final = (".gz", ".bz2", ".xz", ".lzma", ".zst", ".zip")
_STDF_SUFFIXES: Final = tuple(name + packed for name in (".stdf", ".std") for packed in ("", *_PACKED))
_LOCAL: Final = re.compile(r"file:(?://(?:localhost)?)?(?=/)", re.IGNORECASE)
_URI_SIGNS: Final = "%:/?@!$&'()*+,;=~"
_WILD: Final = re.compile(r"[*\[]")
_CONTAINER: Final = re.compile(r"(?:abfss?|wasbs?)://[^:@/]*@[^@/]*(?:/|$)", re.IGNORECASE)
"""Where the name before the @ is a container's."""
_PASSWORD: Final = re.compile(r"[^/]*@|[^/:]*:(?!\d*(?:[/?]|$)).*@", re.DOTALL)
"""Also with a slash in the password, which is no valid URI."""


def _parts(uri: str) -> tuple[str, str, str]:
    """User and password, what is told, and the query."""
    scheme, mark, rest = uri.partition("://")
    found = None if _CONTAINER.match(uri) else _PASSWORD.match(rest)
    bare, _, query = rest[found.end() if found else 0 :].partition("?")
    return found[0][:-1] if found else "", scheme + mark + bare, query


Wanted = Callable[[str], bool]
"""Whether a file of a folder is taken, by its path."""


def without_credentials(source: str) -> str:
    """A URI without its user, password and query, which can hold a key; a path as it is."""
    return _parts(source)[1] if "://" in source else source


def _redacted(text: str, uri: str) -> str:
    """A text of a file system about the URI, which may hold it whole, its path, or the password alone."""
    user, shown, query = _parts(uri)
    text = text.replace(uri, shown)
    text = re.sub(r"[\w+.-]+://[^\s'\"]+", lambda found: without_credentials(found[0]), text)
    values = [value for pair in query.split("&") if len(value := pair.partition("=")[2]) > 4]
    for secret in (user, user.partition(":")[2], query, *values):
        for form in (secret, unquote(secret)):
            text = text.replace(form, "***") if form else text
    return text


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Whatever a file system raises, as a StdfError without credentials, nor a cause that would show them."""
    try:
        yield
    except FsSparkError:
        raise
    except Exception as fault:  # the backends of fsspec have no base class in common
        text = _redacted(str(fault) or type(fault).__name__, source)
        raise StdfError(f"{without_credentials(source)} cannot be read: {text}") from None


def _file_system(uri: str) -> tuple[Any, str]:
    """The Arrow file system of a URI, and the path in it."""
    from pyarrow import fs  # here: it starts threads for S3

    shown = without_credentials(uri)
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    try:
        files, path = fs.FileSystem.from_uri(f"{scheme}://{host}{slash}{quote(path, safe=_URI_SIGNS)}")
        return files, path
    except pa.ArrowNotImplementedError:
        pass  # an Arrow built without it
    except pa.ArrowInvalid as fault:
        if "Cannot parse URI" in str(fault):  # it shows the URI
            raise RequestError(f"{shown}: this is no URI. Hint: percent-encode special characters") from None
        if "Unrecognized filesystem type" not in str(fault):
            raise
    try:
        import fsspec
    except ImportError:
        raise RequestError(
            f"{shown}: Arrow does not know {scheme}://. Hint: `pip install fsspec` and its package for {scheme}"
        ) from None
    try:
        backend, path = fsspec.core.url_to_fs(uri)
    except ValueError as fault:
        if "Protocol not known" not in str(fault):
            raise
        raise RequestError(f"{shown}: neither Arrow nor fsspec knows {scheme}://. Hint: copy the files") from None
    return fs.PyFileSystem(fs.FSSpecHandler(backend)), path


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """As `glob`: `**` is any number of folders, and a wildcard does not begin a hidden name."""
    if not pattern:
        return not parts
    if pattern[0] == "**" and _fits(parts, pattern[1:]):
        return True
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    if pattern[0] == "**":
        return _fits(parts[1:], pattern)
    return fnmatch.fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _behind_uri(uri: str, wanted: Wanted) -> list[str]:
    """The files behind a URI, with its query. Of the wildcards `?` begins the query."""
    from pyarrow import fs

    bare, mark, query = uri.partition("?")
    files, path = _file_system(uri)
    kind = files.get_file_info(path).type
    if kind == fs.FileType.File:
        return [uri]
    pattern: list[str] = []
    if wild := _WILD.search(bare):
        cut = bare.rindex("/", 0, wild.start()) + 1
        bare, pattern = bare[:cut], bare[cut:].split("/")
        files, path = _file_system(bare + mark + query)
    elif kind == fs.FileType.NotFound:
        raise RequestError(f"{without_credentials(uri)}: no such file or folder")
    deep = not pattern or len(pattern) > 1 or pattern == ["**"]
    path = path.rstrip("/")
    inside = files.get_file_info(fs.FileSelector(path, recursive=deep, allow_not_found=True))
    names = [info.path.removeprefix(path).strip("/") for info in inside if info.type == fs.FileType.File]
    if pattern:
        names = [name for name in names if _fits(name.split("/"), pattern)]
    else:
        names = [name for name in names if wanted(f"{path}/{name}")]
    if not isinstance(files, fs.PyFileSystem):  # fsspec takes names as they are
        names = [name.replace("%", "%25").replace("?", "%3F") for name in names]
    folder = bare if bare.endswith("/") else bare + "/"
    return [folder + name + mark + query for name in names]


def _local_path(source: str) -> str | None:
    """A local path, also as file:///path and file:/path."""
    if found := _LOCAL.match(source):
        return unquote(source[found.end() :])
    return None if "://" in source else source


def _inside(paths: Sequence[str], folder: str) -> list[str]:
    """The paths that are in the folder also when links are followed; the others are said."""
    root = os.path.realpath(folder)
    kept = [path for path in paths if os.path.commonpath([root, os.path.realpath(path)]) == root]
    if left := [path for path in paths if path not in set(kept)]:
        log.warning(
            "%s%s: links out of the folder are not followed. Hint: name the file itself, or set `follow_links: true` "
            "in store.yaml", left[0], f" and {len(left) - 1} more" if left[1:] else "",
        )  # fmt: skip
    return kept


def _fixed_part(pattern: str) -> str:
    """The folder of a glob before its first wildcard."""
    return os.path.dirname(pattern[: next((k for k, c in enumerate(pattern) if c in "*?["), len(pattern))]) or "."


def _files_below(folder: str, follow_links: bool) -> Iterator[str]:
    for at, _, names in os.walk(folder, followlinks=follow_links):
        yield from (os.path.join(at, name) for name in names)


def _behind(source: str, wanted: Wanted, follow_links: bool) -> list[str]:
    path = _local_path(source)
    if path is None:
        with _told(source):
            found = _behind_uri(source, wanted)
        folder = not _WILD.search(source)
    elif os.path.isdir(os.path.join(path, "_delta_log")) and wanted(path):
        return [os.path.abspath(path)]
    elif folder := os.path.isdir(path):
        found = [p for p in _files_below(path, follow_links) if wanted(p) and os.path.isfile(p)]
        found = found if follow_links else _inside(found, path)
    else:
        found = [p for p in glob.glob(path, recursive=True) if os.path.isfile(p) and p != path]
        found = found if follow_links else _inside(found, _fixed_part(path))
        found += [path] if os.path.isfile(path) else []
    if found:
        return found if path is None else [os.path.abspath(p) for p in found]
    shown = without_credentials(source)
    if folder:
        raise RequestError(
            f"{shown}: the folder holds no file named .stdf or .std (or these with {', '.join(_PACKED)})"
        )
    raise RequestError(f"{shown}: no such file or folder")


def find_files(
    sources: Sequence[str | Path], *, others: Wanted = lambda path: False, follow_links: bool = False
) -> list[str]:
    """The files behind paths, URIs, globs and folders, sorted, each once.

    Of a folder are taken the files with names of STDF, and those that `others` says yes to; the folder of a Delta
    table that it says yes to stands for itself. Links that lead out of a folder, or out of the folder of a glob, are
    left out unless `follow_links`; a file that is named itself may be a link.

    Raises     RequestError that lists every source which names nothing
    """
    found, faults = set[str](), []

    def wanted(path: str) -> bool:
        return path.lower().endswith(_STDF_SUFFIXES) or others(path)

    for source in map(str, sources):
        try:
            found.update(_behind(source, wanted, follow_links))
        except FsSparkError as fault:
            faults.append(str(fault))
    if faults:
        raise RequestError("nothing was read:\n" + "\n".join(f"- {f}" for f in faults) + "\nHint: check the paths")
    if not found:
        raise RequestError("no file to read. Hint: name files, globs or folders")
    return sorted(found)


def read_bytes(source: str | Path) -> bytes:
    """A file's bytes as they were delivered. Raises StdfError where it cannot be read."""
    path = _local_path(str(source))
    if path is not None:
        try:
            return Path(path).read_bytes()
        except (OSError, ValueError) as fault:
            raise StdfError(f"{source} cannot be read: {getattr(fault, 'strerror', None) or fault}") from fault
    try:
        with _told(str(source)):
            files, path = _file_system(str(source))
            with files.open_input_file(path) as file:
                data: bytes = file.read(file.size())  # at once: each read of an object store is a request
        return data
    except RequestError as fault:
        raise StdfError(str(fault)) from None

"""numba's `njit` with a cache that works on any machine.

Numba keeps compiled functions beside their source or in the user's home, and fails where neither can be written: in a
container with a read-only root, for a service account without a home. Here they lie in the first folder that can be
written: FS_SPARK_CACHE_DIR (store.yaml: `spark: {cache_folder: ...}`), NUMBA_CACHE_DIR, the user's cache, a temporary
folder of the user; where there is none they are compiled anew by each process. Folders that can only be read, such as
the one of an image, are looked up too.

What is kept is keyed by the sources of all compiled modules, since a function holds the code of those that it calls.
Of two processes that need one function at once, one compiles and the other waits for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import numba
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator

from fs_spark.names import CACHE_FOLDER

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: two processes may then compile the same
    fcntl = None

_WAIT_S: Final = 120.0
_COMPILED_IN: Final = ("kernels", "features", "stdf")
_F = TypeVar("_F", bound=Callable[..., Any])


def njit(*, cache: bool = True, inner: bool = False, **options: Any) -> Callable[[_F], _F]:
    """`numba.njit`; with `cache`, compiled functions are kept as this module says.

    An `inner` one is called by compiled functions alone: it has no entry from Python and is kept with its callers,
    which saves a quarter of its compilation.
    """

    def decorate(function: _F) -> _F:
        entries: dict[str, Any] = {"no_cfunc_wrapper": True, "no_cpython_wrapper": inner}
        dispatcher: Any = numba.njit(**entries, **options)(function)
        if cache and not inner and not getattr(config, "DISABLE_JIT", False):
            dispatcher._cache = _Kept(function)
        return dispatcher  # type: ignore[no-any-return]

    return decorate


@cache
def source_digest() -> str:
    """Of the sources of compiled functions and of their constants, wherever they lie (a folder, a zip)."""
    found = hashlib.sha256(numba.__version__.encode())
    for package in _COMPILED_IN:
        for source in sorted(resources.files(f"fs_spark.{package}").iterdir(), key=lambda item: item.name):
            if source.name.endswith(".py") and (package != "features" or b"njit" in source.read_bytes()):
                found.update(source.name.encode() + b"\0" + source.read_bytes())
    return found.hexdigest()[:20]


def _numba_folder() -> str:
    return str(getattr(config, "CACHE_DIR", ""))


def _candidates() -> Iterator[Path]:
    for named in (os.environ.get(CACHE_FOLDER), _numba_folder()):
        if named:
            yield Path(named)
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.path.isabs(user):
        yield Path(user) / "fs_spark"


def _temporary() -> Path | None:
    """A folder of this user alone among the temporary ones: what lies in it is run, so nobody else may write there."""
    own = os.getuid() if hasattr(os, "getuid") else os.getpid()
    folder = Path(tempfile.gettempdir()) / f"fs_spark-{own}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        told = folder.lstat()
        if stat.S_ISDIR(told.st_mode) and told.st_uid == own and not told.st_mode & 0o022:
            return folder
        return Path(tempfile.mkdtemp(prefix="fs_spark-"))
    except (OSError, AttributeError):
        return None


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@cache
def _folders(named: str | None, numba_s: str, home: str | None) -> tuple[Path | None, tuple[Path, ...]]:
    readable: list[Path] = []
    for folder in _candidates():
        kept = folder / source_digest()
        if _is_writable(kept):
            return kept, tuple(readable)
        if kept.is_dir():
            readable.append(kept)
    temporary = _temporary()
    if temporary is not None and _is_writable(temporary / source_digest()):
        return temporary / source_digest(), tuple(readable)
    return None, tuple(readable)


def cache_folders() -> tuple[Path | None, tuple[Path, ...]]:
    """Where compiled functions are kept (None: nowhere), and the further folders in which they are looked up."""
    return _folders(os.environ.get(CACHE_FOLDER), _numba_folder(), os.environ.get("HOME"))


class _Locator(_CacheLocator):  # type: ignore[misc]
    folder: Path

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file, self._line = file, function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> _Locator:
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return str(self._line)


def _cache_in(folder: Path, function: Callable[..., Any]) -> FunctionCache:
    located = type("_Located", (_Locator,), {"folder": folder})
    kind = type("_Kind", (CompileResultCacheImpl,), {"_locator_classes": [located]})
    return type("_Cache", (FunctionCache,), {"_impl_class": kind})(function)


class _Kept(NullCache):  # type: ignore[misc]
    """The cache of one function; opened when it is first asked, so that importing a module touches no disk."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._opened: tuple[FunctionCache | None, list[FunctionCache]] | None = None
        self._lock: int | None = None

    def _caches(self) -> tuple[FunctionCache | None, list[FunctionCache]]:
        if self._opened is None:
            writable, readable = cache_folders()
            own = _cache_in(writable, self._function) if writable is not None else None
            self._opened = own, [_cache_in(folder, self._function) for folder in readable]
        return self._opened

    @property
    def cache_path(self) -> str | None:
        own, _ = self._caches()
        return own.cache_path if own is not None else None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        own, others = self._caches()
        for one in (own, *others):
            found = one.load_overload(sig, target_context) if one is not None else None
            if found is not None:
                return found
        if own is None or self._lock is not None:
            return None
        self._acquire(own)
        found = own.load_overload(sig, target_context)  # another process may have kept it meanwhile
        if found is not None:
            self._release()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        own, _ = self._caches()
        try:
            if own is not None:
                with contextlib.suppress(OSError):  # a full disk: it is compiled again next time
                    own.save_overload(sig, data)
        finally:
            self._release()

    def _acquire(self, own: FunctionCache) -> None:
        """Takes the lock of this function until it is kept.

        The system takes it back from a process that ends. Where locks do not work, none is taken.
        """
        if fcntl is None:
            return
        path = Path(own.cache_path) / f"{own._impl.filename_base}.lock"
        until = time.monotonic() + _WAIT_S
        try:
            self._lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            while time.monotonic() < until:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                time.sleep(0.05)
        except OSError:
            return

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

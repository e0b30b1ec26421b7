"""Where a Redis is, who we are there, and what its faults mean.

URL                                        what it is
redis://[user@]host[:port][/db]            one server, or the port of a proxy before it
redis+unix:///path/to.sock[?db=0]          one server on this machine
redis+sentinel://host[:port][,...]/name    the primary that these sentinels name
redis+cluster://host[:port][,...]          a cluster that one of these nodes knows
rediss...://                               the same over TLS

Options follow a `?`: `prefix` (of all keys, "fs"), `timeout` (seconds, 5), `db`, `ca`, `cert`, `key` (files in PEM
format). The password comes from the environment, FS_SPARK_REDIS_PASSWORD, or from the file that
FS_SPARK_REDIS_PASSWORD_FILE names, and FS_SPARK_SENTINEL_PASSWORD is that of sentinels; it is in no URL, log or report.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from fs_spark.errors import OnlineStoreError, RequestError, SetupError, without_secrets

if TYPE_CHECKING:
    import redis
    import redis.asyncio

PASSWORD: Final = "FS_SPARK_REDIS_PASSWORD"
SENTINEL_PASSWORD: Final = "FS_SPARK_SENTINEL_PASSWORD"
OLDEST: Final = 7
_PORTS: Final = {"sentinel": 26379}
_OPTIONS: Final = ("prefix", "timeout", "db", "ca", "cert", "key")
_TRIES: Final = 3
_LONGEST_S: Final = 3600.0
_HOST_HINT: Final = "write host:port, and [::1]:6379 for an address with colons"
_CONNECTIONS: Final = 1000
"""Of a process, one for each thread that asks at the same time."""


def client_module() -> Any:
    """The client's package. Raises  SetupError where it is not installed"""
    try:
        import redis
    except ModuleNotFoundError:
        raise SetupError(
            "the online store is a Redis, and its client is not installed.\nHint: pip install 'fs_spark[redis]'"
        ) from None
    return redis


def client_faults() -> tuple[type[Exception], ...]:
    """What the client raises, whatever the cause."""
    found = client_module().exceptions
    return found.RedisError, found.RedisClusterException, OSError


def moving_faults() -> tuple[type[Exception], ...]:
    """What a cluster says of several keys at once while their slot moves: some are there already and some not yet."""
    found = client_module().exceptions
    return found.TryAgainError, found.ClusterError


def with_watchers(client: Any) -> Sequence[Any]:
    """A client and those of the sentinels that it asks, which it leaves open when it is closed."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [client, *(manager.sentinels if manager is not None else ())]


_NOT_ALLOWED: Final = ("NOPERM", "The user executing the script")


@dataclass(frozen=True)
class RedisAddress:
    """A Redis and how to log in. It is sent to workers as it is, password included, and shows none of it."""

    shown: str
    kind: str
    """server, unix, sentinel or cluster"""
    hosts: tuple[tuple[str, int], ...]
    path: str = ""
    """Of the socket, or the sentinels' name of the primary."""
    db: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    prefix: str = "fs"
    timeout_s: float = 5.0
    tls: tuple[tuple[str, str], ...] | None = None
    """Files for TLS by the client's names of them; None is without."""

    @property
    def is_cluster(self) -> bool:
        return self.kind == "cluster"

    def connect(self) -> redis.Redis:
        """A client with a pool of connections, for any number of threads. Raises  SetupError"""
        module = client_module()
        from redis.backoff import ExponentialBackoff
        from redis.retry import Retry

        tries = [Retry(ExponentialBackoff(cap=0.5, base=0.02), count) for count in (_TRIES, 0)]
        return self._client(module, module.sentinel.Sentinel, module.cluster, *tries)  # type: ignore[no-any-return]

    def connect_async(self) -> redis.asyncio.Redis:
        """The same for asyncio."""
        client_module()
        import redis.asyncio
        import redis.asyncio.cluster
        import redis.asyncio.sentinel
        from redis.asyncio.retry import Retry
        from redis.backoff import ExponentialBackoff

        tries = [Retry(ExponentialBackoff(cap=0.5, base=0.02), count) for count in (_TRIES, 0)]
        return self._client(redis.asyncio, redis.asyncio.sentinel.Sentinel, redis.asyncio.cluster, *tries)  # type: ignore[no-any-return]

    def _client(self, module: Any, sentinel: Any, cluster: Any, retry: Any, no_retry: Any) -> Any:
        """The sentinels are not asked again for each try: that is tried again too."""
        options: dict[str, Any] = {
            "username": self.user, "password": self.password, "socket_timeout": self.timeout_s,
            "socket_connect_timeout": self.timeout_s, "retry": retry, "health_check_interval": 30, "protocol": 2,
            "client_name": "fs_spark", "max_connections": _CONNECTIONS,
        }  # fmt: skip
        tls: dict[str, Any] = {"ssl": True, **dict(self.tls)} if self.tls is not None else {}
        if self.kind == "unix":
            return module.Redis(unix_socket_path=self.path, db=self.db, **options)
        if self.kind == "sentinel":
            timeouts = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "protocol")}
            watchers = {"password": self.sentinel_password, "retry": no_retry, **timeouts, **tls}
            found = sentinel(list(self.hosts), sentinel_kwargs=watchers)
            return found.master_for(self.path, db=self.db, **options, **tls)
        if self.kind == "cluster":
            nodes = [cluster.ClusterNode(host, port) for host, port in self.hosts]
            return cluster.RedisCluster(startup_nodes=nodes, **options, **tls)
        ((host, port),) = self.hosts
        return module.Redis(host=host, port=port, db=self.db, **options, **tls)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Says what a fault of the client means and what to do."""
        found = client_module().exceptions
        try:
            yield
        except (found.RedisError, found.RedisClusterException) as fault:
            raise OnlineStoreError(f"{self._meaning(fault, found)}") from fault
        except OSError as fault:
            raise OnlineStoreError(f"{self._unreachable(fault)}") from fault

    def _meaning(self, fault: Exception, found: Any) -> str:
        text = str(fault)
        refused = isinstance(fault, found.AuthenticationError | found.AuthenticationWrongNumberOfArgsError)
        if refused or "WRONGPASS" in text or "NOAUTH" in text:
            who = f"user {self.user!r}" if self.user else "the default user"
            given = "was not accepted" if self.password else "is needed and none was given"
            return f"{self.shown}: the password of {who} {given}.\nHint: set {PASSWORD}, or {PASSWORD}_FILE to a file."
        if isinstance(fault, found.NoPermissionError) or text.startswith(_NOT_ALLOWED):
            user = self.user or "default"
            return f"{self.shown} does not let {user!r} do this: {text}.\nHint: {self._rights(user)}"
        if isinstance(fault, found.OutOfMemoryError) or text.startswith("OOM"):
            return (
                f"{self.shown} is at its memory limit; what was published stands.\n"
                "Hint: an export needs room for the rows of before and the new ones; raise maxmemory, or serve less."
            )
        if isinstance(fault, found.MovedError | found.AskError):
            return (
                f"{self.shown} is a node of a cluster.\nHint: write redis+cluster in place of redis, or rediss+cluster"
            )
        if isinstance(fault, found.ReadOnlyError):
            return f"{self.shown} is a replica, which takes no writes.\nHint: name the primary, or its sentinels."
        if isinstance(fault, found.BusyLoadingError):
            return f"{self.shown} is still loading its data from disk.\nHint: try again in a moment."
        if isinstance(fault, found.ClusterDownError | found.SlotNotCoveredError):
            return (
                f"{self.shown}: the cluster does not serve all its slots now: {text}.\n"
                "Hint: redis-cli cluster info tells more"
            )
        if isinstance(fault, found.ConnectionError | found.TimeoutError | found.RedisClusterException):
            return self._unreachable(fault)
        return f"{self.shown} refused: {text.rstrip('.')}.\nHint: the server's log may tell more"

    def _rights(self, user: str) -> str:
        """The command that gives a user all that is needed, and no more keys."""
        more = " +cluster|slots +cluster|shards" if self.is_cluster else ""
        return f"ACL SETUSER {user} ~{self.prefix}:* +@read +@write +@scripting +@connection -@dangerous +info{more}"

    def _unreachable(self, fault: Exception) -> str:
        cause: BaseException | None = fault
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None or "CERTIFICATE_VERIFY_FAILED" in str(fault):
            return (
                f"{self.shown}: the connection is not trusted: {fault}.\n"
                "Hint: name the authority that signed the server's certificate, ?ca=/path/ca.pem"
            )
        if isinstance(fault, client_module().exceptions.TimeoutError):
            return (
                f"{self.shown} did not answer within {self.timeout_s:g} s.\n"
                "Hint: is it busy? `timeout` in the URL says how long to wait"
            )
        return f"{self.shown} cannot be reached: {str(fault).rstrip('.')}.\nHint: is the server up, and `online` right?"


def redis_address(url: str, environment: Mapping[str, str] | None = None) -> RedisAddress:
    """What a URL names. Raises  RequestError"""
    environment = os.environ if environment is None else environment
    shown = without_secrets(url)

    def fault(what: str, hint: str) -> RequestError:
        return RequestError(f"{shown!r}: {what}.\nHint: {hint}")

    try:
        parts = urlsplit(url)
    except ValueError as met:
        raise fault(f"what stands for the host is no host: {met}", _HOST_HINT) from None
    scheme, _, kind = parts.scheme.partition("+")
    if parts.netloc and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise fault("its password has characters that end it", f"set {PASSWORD} instead, or write / as %2F, # as %23")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := [name for name in options if name not in _OPTIONS]:
        raise fault(f"unknown option {', '.join(unknown)}", f"the options are {', '.join(_OPTIONS)}")
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = (unquote(part) for part in login.partition(":"))
    hosts = tuple(_host(place, _PORTS.get(kind, 6379), fault) for place in places.split(",") if place)
    path = unquote(parts.path)
    if kind == "unix":
        if len(path) < 2:
            raise fault("it names no socket", "redis+unix:///run/redis/redis.sock")
    elif not hosts:
        raise fault("it names no host", f"{parts.scheme}://localhost" + ("/mymaster" if kind == "sentinel" else ""))
    elif len(hosts) > 1 and not kind:
        raise fault("it names several hosts", "redis+cluster:// or redis+sentinel:// has several")
    if kind == "sentinel" and len(path) < 2:
        raise fault("it does not say what the sentinels call the primary", f"{shown}/mymaster")
    db = options.get("db", path.strip("/") if not kind else "")
    if db and not (db.isascii() and db.isdigit()):
        raise fault(f"the database is {db!r}", "it is a number: redis://localhost/0")
    if kind == "cluster" and db not in ("", "0"):
        raise fault(f"the database is {db!r}, and a cluster has one database", "leave `db` out")
    prefix = options.get("prefix", "fs")
    if not prefix or set("{}:") & set(prefix) or not prefix.isprintable():
        raise fault(f"the prefix is {prefix!r}", "it is some letters, without braces and colons")
    try:
        timeout_s = float(options.get("timeout", "5"))
    except ValueError:
        timeout_s = 0.0
    if not 0 < timeout_s <= _LONGEST_S:
        raise fault(f"the timeout is {options['timeout']!r}", f"it is seconds, up to {_LONGEST_S:g}: ?timeout=5")
    files = {"ca": "ssl_ca_certs", "cert": "ssl_certfile", "key": "ssl_keyfile"}
    tls = tuple((files[name], options[name]) for name in files if name in options)
    if tls and scheme != "rediss":
        raise fault("it names certificates, but is without TLS", "write rediss in place of redis")
    return RedisAddress(
        shown=shown,
        kind=kind or "server",
        hosts=hosts,
        path=path.strip("/") if kind == "sentinel" else path,
        db=int(db or 0),
        user=user or None,
        password=password or _secret(PASSWORD, environment),
        sentinel_password=_secret(SENTINEL_PASSWORD, environment),
        prefix=prefix,
        timeout_s=timeout_s,
        tls=tls if scheme == "rediss" else None,
    )


def _host(place: str, port: int, fault: Any) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{place}")
        return parts.hostname or "localhost", parts.port or port
    except ValueError:
        raise fault(f"{place!r} is no host", _HOST_HINT) from None


def _secret(name: str, environment: Mapping[str, str]) -> str | None:
    """A secret from the environment, or from the file that it names there."""
    if environment.get(name):
        return environment[name]
    path = environment.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as fault:
        why = fault.strerror if isinstance(fault, OSError) else "it is not text in UTF-8"
        raise RequestError(f"{name}_FILE: {path} cannot be read: {why}.\nHint: set it anew.") from None

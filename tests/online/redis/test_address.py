"""URLs of a Redis: what they name, what is refused, and where the password is never seen."""

from __future__ import annotations

import logging
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fs_spark.errors import OnlineStoreError, RequestError
from fs_spark.online import open_online
from fs_spark.online.redis_address import PASSWORD, RedisAddress, redis_address
from fs_spark.online.redis_source import RedisSource
from fs_spark.online.redis_writer import RedisOnline
from tests.online.contract.kinds import SERVICE, reading, readings
from tests.online.servers import Server, running

SECRET = "s3cr3t-W0rd"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", {"hosts": (("localhost", 6379),), "db": 0, "kind": "server", "tls": None, "user": None}),
        ("redis://me@h:7000/3?prefix=a_b&timeout=0.5",
         {"hosts": (("h", 7000),), "db": 3, "user": "me", "prefix": "a_b", "timeout_s": 0.5}),
        ("redis://h?db=2", {"db": 2}),
        ("redis://[::1]:7000", {"hosts": (("::1", 7000),)}),
        ("rediss://h?ca=/ca.pem&cert=/c.pem&key=/k.pem",
         {"tls": (("ssl_ca_certs", "/ca.pem"), ("ssl_certfile", "/c.pem"), ("ssl_keyfile", "/k.pem"))}),
        ("rediss://h", {"tls": ()}),
        ("redis+unix:///run/r%20s.sock?db=1", {"kind": "unix", "path": "/run/r s.sock", "db": 1}),
        ("redis+sentinel://a,b:1,[::2]:3/main?db=4",
         {"kind": "sentinel", "hosts": (("a", 26379), ("b", 1), ("::2", 3)), "path": "main", "db": 4}),
        ("rediss+cluster://a:1,b", {"kind": "cluster", "hosts": (("a", 1), ("b", 6379)), "is_cluster": True}),
    ],
)  # fmt: skip
def test_what_a_url_names(url: str, expected: dict[str, Any]) -> None:
    address = redis_address(url, {})
    assert {name: getattr(address, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://h?colour=red", "unknown option colour"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://a,b", "several hosts"),
        ("redis://h:port", "is no host"),
        ("redis://h:70000", "is no host"),
        ("redis://[::1", "is no host"),
        ("redis://h/main", "the database is 'main'"),
        ("redis://h?db=-1", "the database is '-1'"),
        ("redis+cluster://h?db=1", "a cluster has one database"),
        ("redis+unix://", "names no socket"),
        ("redis+unix:///", "names no socket"),
        ("redis+sentinel://a", "what the sentinels call the primary"),
        ("redis+sentinel:///main", "names no host"),
        ("redis://h?prefix=", "the prefix is ''"),
        ("redis://h?prefix=a:b", "the prefix is 'a:b'"),
        ("redis://h?prefix={a}", "the prefix is '{a}'"),
        ("redis://h?timeout=soon", "the timeout is 'soon'"),
        ("redis://h?timeout=0", "the timeout is '0'"),
        ("redis://h?timeout=-1", "the timeout is '-1'"),
        ("redis://h?timeout=nan", "the timeout is 'nan'"),
        ("redis://h?timeout=inf", "the timeout is 'inf'"),
        ("redis://h?ca=/ca.pem", "without TLS"),
    ],
)
def test_a_url_that_names_no_redis_is_refused(url: str, text: str) -> None:
    with pytest.raises(RequestError) as fault:
        redis_address(url.replace("redis://h", f"redis://me:{SECRET}@h"), {})
    assert text in str(fault.value)
    assert "\nHint: " in str(fault.value)
    assert SECRET not in str(fault.value)


def test_where_the_password_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    assert redis_address("redis://h", {}).password is None
    assert redis_address("redis://h", {PASSWORD: SECRET}).password == SECRET
    assert redis_address("redis://h", {f"{PASSWORD}_FILE": str(path)}).password == SECRET
    assert redis_address("redis://h", {PASSWORD: "other", f"{PASSWORD}_FILE": str(path)}).password == "other"
    assert redis_address("redis+sentinel://h/m", {"FS_SPARK_SENTINEL_PASSWORD": SECRET}).sentinel_password == SECRET
    with pytest.raises(RequestError, match=r"PASSWORD_FILE: .*cannot be read") as fault:
        redis_address("redis://h", {f"{PASSWORD}_FILE": str(tmp_path / "none")})
    assert "Hint: " in str(fault.value)


def test_a_password_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match=r"PASSWORD_FILE: .*cannot be read"):
        redis_address("redis://h", {f"{PASSWORD}_FILE": str(path)})


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server that wants a password of its default user, and knows `feature`, who may do what the hint says."""
    options = ["--requirepass", SECRET]
    server = Server(tmp_path_factory.mktemp("guarded"), options, more={"password": SECRET})
    with running(server):
        yield server


def test_the_password_is_seen_nowhere(
    guarded: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PASSWORD, SECRET)
    caplog.set_level(logging.DEBUG)
    address = redis_address(f"redis://127.0.0.1:{guarded.port}?prefix=seen")
    store = RedisOnline(address)
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)]))
    source = RedisSource(address)
    shown = [repr(one) + str(one) for one in (address, store, source, store.client, source.client)]
    shown.append(repr(store._target(1, SERVICE, 0)))
    shown += [record.getMessage() for record in caplog.records]
    shown.append(subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=False).stdout)
    store.close()
    source.close()
    with guarded.client() as client:
        shown.append(repr(client.client_list()))
        shown.append(repr([client.hgetall("seen:{readings_v1}:about"), client.smembers("seen:services")]))
    shown = [line for text in shown for line in text.splitlines() if "--requirepass" not in line]  # our own server
    assert not [line for line in shown if SECRET in line]
    assert pickle.loads(pickle.dumps(address)) == address  # workers log in with it


def test_a_wrong_password_says_what_to_set(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"redis://127.0.0.1:{guarded.port}"
    monkeypatch.delenv(PASSWORD, raising=False)
    with pytest.raises(OnlineStoreError, match="the default user is needed and none was given") as fault:
        open_online(url)
    assert f"Hint: set {PASSWORD}, or {PASSWORD}_FILE" in str(fault.value)
    monkeypatch.setenv(PASSWORD, "wr0ng-W0rd")
    with pytest.raises(OnlineStoreError, match="the default user was not accepted") as fault:
        open_online(url)
    assert "wr0ng" not in str(fault.value)
    with pytest.raises(OnlineStoreError, match="user 'me' was not accepted"):
        RedisOnline(redis_address(f"redis://me@127.0.0.1:{guarded.port}")).publish(SERVICE, readings(SERVICE, []))


def test_the_rights_that_the_hint_names_suffice(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "feature-word")
    url = f"redis://feature@127.0.0.1:{guarded.port}?prefix=acl"
    with guarded.client() as client:
        client.execute_command("ACL", "SETUSER", "feature", "on", ">feature-word", "~other:*", "+@connection")
        with pytest.raises(OnlineStoreError, match="does not let 'feature' do this") as fault:
            RedisOnline(redis_address(url)).publish(SERVICE, readings(SERVICE, []))
        hint = str(fault.value).partition("Hint: ")[2]
        client.execute_command("ACL", "SETUSER", "feature", "reset")
        client.execute_command("ACL", "SETUSER", "feature", "on", ">feature-word")
        client.execute_command(*hint.split())
        store = RedisOnline(redis_address(url), grace_s=0.01)
        everything(store, url)
        store.close()
        for command in (["FLUSHALL"], ["KEYS", "*"], ["CONFIG", "GET", "requirepass"], ["GET", "other"]):
            answer = client.execute_command("ACL", "DRYRUN", "feature", *command)
            assert answer != b"OK", command


def everything(store: RedisOnline, url: str) -> None:
    """Each verb of the store and of readers, once."""
    from tests.online.contract.kinds import at_version, many, pushed, stored_keys, xs

    store.publish(SERVICE, many(SERVICE, 300, 1.0))
    record = at_version(SERVICE, 2)
    store.publish(record, many(record, 300, 2.0), seen=0)
    based_on = store.published(SERVICE.service)
    assert based_on is not None
    newer = at_version(SERVICE, 3)
    store.update(newer, readings(newer, [reading("k1", 3.0)]), based_on=based_on)
    store.push(based_on, [pushed("k2", 4.0, event=99)], expires_s=60)
    assert xs(url, ["k0", "k1", "k2"]) == [2.0, 3.0, 4.0]
    assert len(stored_keys(store)) == 300


def test_an_address_shows_no_login() -> None:
    address = redis_address(f"redis://me:{SECRET}@h:1", {})
    assert isinstance(address, RedisAddress)
    assert SECRET not in repr(address)
    assert address.password == SECRET
    assert address.shown == "redis://***@h:1"


@pytest.mark.parametrize("url", ["redis://:hunter2/x@host", "redis://me:hun?ter2@host:1", "redis://me:hunter2#x@host"])
def test_a_password_that_ends_its_place_is_in_no_error(url: str) -> None:
    with pytest.raises(RequestError, match="FS_SPARK_REDIS_PASSWORD") as fault:
        redis_address(url)
    assert "hun" not in str(fault.value)

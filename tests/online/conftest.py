"""Redis servers that tests share, and a part of one for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.online.servers import Server, running

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that only need some; it has a unix socket and a port."""
    server = Server(tmp_path_factory.mktemp("redis"))
    with running(server):
        yield server


@pytest.fixture
def prefix() -> str:
    """What no other test's keys begin with."""
    return f"t{next(_NUMBERS)}"


@pytest.fixture
def redis_url(redis_server: Server, prefix: str) -> str:
    return f"redis+unix://{redis_server.socket}?prefix={prefix}"

"""An empty store of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fs_spark.online.protocol import OnlineStore
from tests.online.contract.kinds import KINDS, Place


@pytest.fixture(params=list(KINDS))
def place(request: pytest.FixtureRequest) -> Place:
    return KINDS[request.param](request)


@pytest.fixture
def store(place: Place) -> Iterator[OnlineStore]:
    store = place.open()
    yield store
    store.close()

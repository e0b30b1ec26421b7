"""Every route and every error, against a published file."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import struct
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from fs_spark.errors import OnlineStoreError, RequestError
from fs_spark.online.records import DemandRecord, Published, ServiceRecord
from fs_spark.online.sqlite import SqliteOnline
from fs_spark.serving import Limits, create_app
from tests.online.samples import DEVICE, LOTS, at_version, few_rows, lot_batch, rows_of
from tests.serving.samples import KEYS, KINDS, MOMENT, ONE, ROWS, Reader, publish_device, publish_every

ARROW = "application/vnd.apache.arrow.stream"
FEATURES = "/services/device_v1/features"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Served = Callable[..., TestClient]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return publish_device(tmp_path / "online.db")


@pytest.fixture
def served() -> Iterator[Served]:
    """Starts an app, and ends it with the test."""
    open_clients: list[TestClient] = []

    def start(store: Any, **named: Any) -> TestClient:
        client = TestClient(create_app(store, **named), raise_server_exceptions=True)
        client.__enter__()
        open_clients.append(client)
        return client

    yield start
    for client in open_clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(served: Served, url: str) -> TestClient:
    return served(url)


def sample(client: TestClient, name: str, **labels: str) -> float | None:
    text = client.get("/metrics").text
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == name and labels.items() <= one.labels.items():
                return float(one.value)
    return None


def bits(rows: list[Any]) -> list[Any]:
    """Floats as their bytes, so that NaN equals NaN and 0.0 is not -0.0."""

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return struct.pack("<d", value) if isinstance(value, float) else value

    return [plain(row) for row in rows]


def test_features_by_key(client: TestClient) -> None:
    answer = client.post(FEATURES, json={"keys": [{**ONE, "die_x": 1, "die_y": 11}, {**ONE, "lot_id": "L2"}, ONE]})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    lot = {"wafers_done": 4, "tester": "µFlex"}
    names = ["fail__neighbor_frac", "bin", "seen_at", "wafers_done", "tester"]
    assert answer.json() == {
        "service": "device_v1",
        "generation": 1,
        "rows": [
            {**ONE, "die_x": 1, "die_y": 11, "fail__neighbor_frac": 0.25, "bin": None, "seen_at": None, **lot},
            {**ONE, "lot_id": "L2", **dict.fromkeys(names)},
            {**ONE, "fail__neighbor_frac": -0.0, "bin": 1, "seen_at": "2023-11-14T22:13:20.123456Z", **lot},
        ],
    }
    assert client.post(FEATURES, json={"keys": []}).json()["rows"] == []


def test_some_features_with_times_and_status(client: TestClient) -> None:
    asked = {"keys": [ONE], "features": ["wafers_done"], "with_times": True, "at": "2025-03-03T12:00:00+02:00"}
    (row,) = client.post(FEATURES, json=asked).json()["rows"]
    assert row == {**ONE, "wafers_done": 4, "lots__v2.1__event_timestamp": "1970-01-01T00:00:05.000000Z"}
    (row,) = client.post(FEATURES, json={"keys": [ONE], "features": ["wafers_done"], "status": True}).json()["rows"]
    assert row["lots__v2.1__status"] == "present"
    (row,) = client.post(FEATURES, json={"keys": [ONE], "features": []}).json()["rows"]
    assert row == ONE


def test_json_has_texts_for_what_it_lacks(served: Served, tmp_path: Path) -> None:
    client = served(publish_every(tmp_path / "online.db"))
    rows = client.post("/services/every/features", json={"keys": KEYS}).json()["rows"]
    values = [[row[name] for name in KINDS] for row in rows]
    assert values[:4] == [
        ["NaN", 0.5, 2**63 - 1, -(2**31), True, "2025-03-03T12:00:00.000000Z", "2025-03-03", "µ",
         [1.0, "NaN", None, "-Infinity"]],
        ["Infinity", "NaN", -(2**63), 2**31 - 1, False, "2025-03-03T12:00:00.000001Z", "0001-01-01", "", []],
        [-0.0, "-Infinity", 0, 0, None, None, None, None, None],
        [5e-324, 1.5, 1, 1, True, "2025-03-03T12:00:00.000000Z", "9999-12-31", '"\\\n\x00', [-0.0]],
    ]  # fmt: skip
    assert bits(values[2]) == bits([-0.0, "-Infinity", 0, 0, *[None] * 5])
    assert values[4] == [None] * len(KINDS)


def test_arrow_is_bit_for_bit(served: Served, tmp_path: Path) -> None:
    client = served(publish_every(tmp_path / "online.db"))
    keys = [*KEYS, {"name": None, "number": 2**40, "since": None}]
    asked = {"keys": keys, "status": True, "with_times": True}
    answer = client.post("/services/every/features", json=asked, headers={"Accept": ARROW})
    assert answer.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.schema.metadata == {b"service": b"every", b"generation": b"1"}
    assert table.schema.names[:3] == ["name", "number", "since"]
    types = {field.name: field.type for field in table.schema}
    assert [types[name] for name in ("name", "number", "since")] == [pa.string(), pa.int64(), pa.date32()]
    assert [types[name] for name in KINDS] == [kind for _, kind in KINDS.values()]
    assert types["every__v1.0__event_timestamp"] == pa.timestamp("us", "UTC")
    assert types["every__v1.0__status"] == pa.string()
    found = table.to_pylist()
    assert bits([[row[name] for name in KINDS] for row in found]) == bits([*ROWS, (None,) * len(KINDS)])
    assert [row["number"] for row in found] == [0, 1, 2, 3, 4, 2**40]
    assert found[0]["since"] == date(2025, 1, 1)
    assert [row["every__v1.0__status"] for row in found] == ["present"] * 5 + ["missing"]
    assert found[0]["every__v1.0__event_timestamp"] == MOMENT
    plain = client.post("/services/every/features", json={"keys": KEYS[:1]}, headers={"Accept": f"{ARROW}, */*"})
    assert pa.ipc.open_stream(plain.content).schema.names == ["name", "number", "since", *KINDS]


def test_arrow_without_rows_has_its_types(served: Served, tmp_path: Path) -> None:
    client = served(publish_every(tmp_path / "online.db"))
    answer = client.post("/services/every/features", json={"keys": []}, headers={"Accept": ARROW})
    table = pa.ipc.open_stream(answer.content).read_all()
    assert (table.num_rows, table.schema.field("a").type) == (0, pa.list_(pa.float64()))


def test_a_key_that_arrow_cannot_hold_is_named(served: Served, tmp_path: Path) -> None:
    client = served(publish_every(tmp_path / "online.db"))
    asked = {"keys": [{**KEYS[0], "number": 2**63}]}
    assert client.post("/services/every/features", json=asked).status_code == 200
    answer = client.post("/services/every/features", json=asked, headers={"Accept": ARROW})
    assert (answer.status_code, "'number'" in answer.json()["message"]) == (422, True)


DEMAND = DemandRecord(
    "now__v1.0",
    (("much", "amount * wafers_done"), ("later", "event_timestamp > paid")),
    (("wafers_done", "wafers_done"),),
    (("amount", "amount"), ("paid", "paid"), ("event_timestamp", "event_timestamp")),
    (("amount", "double"), ("wafers_done", "bigint"), ("paid", "timestamp"), ("event_timestamp", "timestamp")),
)


def test_features_on_demand(served: Served, tmp_path: Path) -> None:
    record = ServiceRecord("demanded", (LOTS,), (DEMAND,))
    SqliteOnline(tmp_path / "online.db").publish(record, [rows_of(LOTS, [lot_batch([("L1", 0, 0, 4, None)])])])
    client = served(f"sqlite:///{tmp_path}/online.db")
    path = "/services/demanded/features"
    told = {"amount": 1.5, "paid": "2025-03-03T12:00:00+02:00"}
    asked = {"keys": [{"lot_id": "L1"}], "features": ["much", "later"], "at": "2025-03-03T11:00:00Z", "request": told}
    assert client.post(path, json=asked).json()["rows"] == [{"lot_id": "L1", "much": 6.0, "later": True}]
    by_key = {**asked, "keys": [{"lot_id": "L1", **told}], "request": None}
    (row,) = client.post(path, json=by_key).json()["rows"]
    assert row == {"lot_id": "L1", "amount": 1.5, "paid": "2025-03-03T10:00:00.000000Z", "much": 6.0, "later": True}
    stream = client.post(path, json=by_key, headers={"Accept": ARROW}).content
    assert pa.ipc.open_stream(stream).read_all().to_pylist() == [{**row, "paid": datetime(2025, 3, 3, 10, tzinfo=UTC)}]
    infinite = {**asked, "keys": [{"lot_id": "L1", **told, "amount": "-Infinity"}], "request": [{}]}
    (row,) = client.post(path, json=infinite).json()["rows"]
    assert row["amount"] == "-Infinity"
    for wrong, text in (
        ({"amount": "much", "paid": None}, "request 0, column 'amount' is double, found 'much'"),
        ({"amount": 1, "paid": "2025-03-03T12:00:00"}, "column 'paid' is timestamp, with a zone"),
        ({"amount": 1}, "lacks paid"),
        ({**told, "colour": 1}, "request 0 has colour"),
    ):
        answer = client.post(path, json={**asked, "request": wrong})
        assert (answer.status_code, text in answer.json()["message"]) == (422, True), answer.text
    assert client.get("/services/demanded").json()["request"] == {"amount": "double", "paid": "timestamp"}


def test_probes_services_and_their_records(client: TestClient, url: str) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready", "services": 1}
    assert client.get("/services").json() == {"services": ["device_v1"]}
    told = client.get("/services/device_v1").json()
    assert (told["service"], told["generation"]) == ("device_v1", 1)
    assert told["keys"] == {"lot_id": "string", "wafer_id": "string", "die_x": "integer", "die_y": "integer"}
    assert told["features"]["seen_at"] == "timestamp"
    assert [(view["view"], view["delta_version"], view["keys"]) for view in told["views"]] == [
        ("dies__v1.0", 3, ["lot_id", "wafer_id", "die_x", "die_y"]),
        ("lots__v2.1", 5, ["lot_id"]),
    ]


def test_the_routes_describe_themselves_without_a_network(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    assert set(told["paths"]) == {
        "/healthz", "/readyz", "/metrics", "/services", "/services/{service}", "/services/{service}/features",
    }  # fmt: skip
    route = told["paths"]["/services/{service}/features"]["post"]
    assert route["requestBody"]["content"]["application/json"]["schema"]["required"] == ["keys"]
    assert ARROW in route["responses"]["200"]["content"]
    assert {"400", "404", "413", "422", "429", "500", "503"} <= set(route["responses"])
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/services/{service}/features" in page.text
    assert "http://" not in page.text.replace("http://...", "")
    assert "https://" not in page.text
    assert "<script" not in page.text


WRONG: list[tuple[Any, int, str]] = [
    ({"keys": [{**ONE, "wafer": "W1"}]}, 422, "key 0 has an unknown column 'wafer'"),
    ({"keys": [ONE, {"lot_id": "L1"}]}, 422, "key 1 lacks wafer_id, die_x, die_y; found lot_id"),
    ({"keys": [{}]}, 422, "key 0 lacks lot_id"),
    ({"keys": [{**ONE, "die_x": "0"}]}, 422, "key 0, column 'die_x' is integer, found '0'"),
    ({"keys": [{**ONE, "die_x": 0.5}]}, 422, "column 'die_x': a key is text or an integer, found 0.5"),
    ({"keys": [{**ONE, "die_x": 10**30}]}, 422, "column 'die_x'"),
    ({"keys": [{**ONE, "die_x": [1]}]}, 422, "column 'die_x': a key is text or an integer, found [1]"),
    ({"keys": [{**ONE, "lot_id": 1}]}, 422, "column 'lot_id' is string, found 1"),
    ({"keys": [ONE], "features": ["bim"]}, 422, "no feature 'bim'"),
    ({"keys": [ONE], "features": "bin"}, 422, "`features` must be a list of names or null, found text"),
    ({"keys": [ONE], "features": [1]}, 422, "`features` must be a list of names"),
    ({"keys": [ONE], "at": "soon"}, 422, "`at` is 'soon', which is not a moment"),
    ({"keys": [ONE], "at": "2025-03-03T12:00:00"}, 422, "`at` is '2025-03-03T12:00:00', without a zone"),
    ({"keys": [ONE], "at": "0001-01-01T00:00:00+05:00"}, 422, "outside of the years 1 to 9999"),
    ({"keys": [ONE], "at": 5}, 422, "`at` must be text or null, found a number"),
    ({"keys": [ONE], "status": "yes"}, 422, "`status` must be a boolean, found text"),
    ({"keys": [ONE], "with_times": 1}, 422, "`with_times` must be a boolean, found a number"),
    ({"keys": [ONE], "request": [1]}, 422, "`request` must be an object or a list of objects"),
    ({"keys": [ONE], "request": {"amount": 1}}, 422, "request 0 has amount, which nothing reads"),
    ({"keys": [ONE], "feature": ["bin"]}, 422, "the body has an unknown field 'feature'"),
    ({"keys": ONE}, 422, "`keys` must be a list of objects, found an object"),
    ({"keys": ["L1"]}, 422, "key 0 must be an object, found text"),
    ({}, 422, "`keys` must be a list of objects, found nothing"),
    ([ONE], 422, "the body must be an object, found a list"),
    ({"keys": [ONE] * 1001}, 413, "1001 keys, at most 1000 are answered at once"),
]


@pytest.mark.parametrize(("body", "status", "text"), WRONG)
def test_a_question_that_cannot_be_answered_is_refused(client: TestClient, body: Any, status: int, text: str) -> None:
    answer = client.post(FEATURES, content=json.dumps(body))
    told = answer.json()
    assert (answer.status_code, text in told["message"]) == (status, True), told
    assert told["hint"]
    assert set(told) == {"error", "message", "hint"}
    assert sample(client, "fs_spark_errors_total", kind=told["error"]) == 1


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"keys": [NaN]}', b'{"keys": ["\\ud800"]}', b"\xff", b"[" * 2000 + b"]" * 2000]
)
def test_what_is_not_json_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post(FEATURES, content=body)
    assert (answer.status_code, "not JSON" in answer.json()["message"]) == (400, True)


def test_the_nearest_names_are_hinted(client: TestClient) -> None:
    def hint(body: Any, path: str = FEATURES) -> str:
        return str(client.post(path, json=body).json()["hint"])

    assert "did you mean 'wafer_id'?" in hint({"keys": [{**ONE, "waferid": "W1"}]})
    assert "A key takes lot_id, wafer_id, die_x, die_y" in hint({"keys": [{**ONE, "waferid": "W1"}]})
    assert "did you mean 'features'?" in hint({"keys": [ONE], "feature": []})
    assert "did you mean 'wafers_done'?" in hint({"keys": [ONE], "features": ["wafer_done"]})
    assert "GET /services" in hint({"keys": [ONE], "features": ["other"]})
    assert "did you mean 'device_v1'?" in hint({"keys": [ONE]}, "/services/device_v2/features")


def test_what_is_not_there(client: TestClient) -> None:
    for answer in (client.get("/services/device_v2"), client.post("/services/device_v2/features", json={"keys": []})):
        assert (answer.status_code, answer.json()["error"]) == (404, "FeatureNotFoundError")
    answer = client.get("/elsewhere")
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")
    answer = client.get(FEATURES)
    assert (answer.status_code, answer.json()["error"]) == (405, "MethodNotAllowed")
    assert sample(client, "fs_spark_request_seconds_count", service="device_v2") is None  # callers make no series


def test_a_body_that_is_too_large_is_not_read(served: Served, url: str) -> None:
    client = served(url, limits=Limits(body_bytes=200))
    assert client.post(FEATURES, json={"keys": [ONE]}).status_code == 200
    answer = client.post(FEATURES, content=b" " * 201)
    assert (answer.status_code, answer.json()["message"]) == (413, "the body has more than 200 bytes.")


def test_a_body_without_a_length_is_read_up_to_the_limit(url: str) -> None:
    read: list[int] = []
    sent: list[Any] = []

    async def receive() -> Any:
        read.append(1)
        return {"type": "http.request", "body": b" " * 150, "more_body": len(read) < 100}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": FEATURES, "headers": [], "query_string": b""}
    asyncio.run(create_app(url, limits=Limits(body_bytes=200))(scope, receive, send))
    assert (sent[0]["status"], len(read)) == (413, 2)


def test_a_token_is_asked_for(served: Served, url: str) -> None:
    client = served(url, token="s3cret")
    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 200)
    paths = ("/metrics", "/services", "/services/device_v1", "/docs", "/openapi.json", "/elsewhere")
    for path in paths:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert answer.json()["error"] == "Unauthorized"
        assert "s3cret" not in answer.text
    right = {"Authorization": "Bearer s3cret"}
    for path in paths[:-1]:
        assert client.get(path, headers=right).status_code == 200, path
    assert client.post(FEATURES, json={"keys": [ONE]}).status_code == 401
    assert client.post(FEATURES, json={"keys": [ONE]}, headers=right).status_code == 200
    for wrong in (b"Bearer s3cre", b"Bearer s3crets", b"Basic s3cret", b"s3cret", b"Bearer", b"Bearer \xc2\xb5"):
        assert client.post(FEATURES, json={"keys": [ONE]}, headers={b"Authorization": wrong}).status_code == 401, wrong
    told = client.get("/openapi.json", headers=right).json()
    assert told["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert told["paths"]["/services"]["get"]["security"] == [{"token": []}]
    assert "security" not in told["paths"]["/healthz"]["get"]


def test_too_many_at_once_are_sent_away(served: Served, url: str) -> None:
    going, go_on = threading.Event(), asyncio.Event()

    async def wait() -> None:
        going.set()
        await go_on.wait()

    client = served(lambda: Reader(url, wait), limits=Limits(concurrent=1))
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(client.post(FEATURES, json={"keys": [ONE]}).status_code))
    thread.start()
    try:
        assert going.wait(10)
        answer = client.post(FEATURES, json={"keys": [ONE]})
        assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1")
        assert "1 requests are under way" in answer.json()["message"]
        assert client.get("/healthz").status_code == 200
        assert sample(client, "fs_spark_requests_in_flight") == 2  # it and the scrape
    finally:
        client.portal.call(go_on.set)  # type: ignore[union-attr]
        thread.join(10)
    assert first == [200]
    assert client.post(FEATURES, json={"keys": [ONE]}).status_code == 200


def test_a_pace_is_kept(served: Served, url: str) -> None:
    client = served(url, limits=Limits(per_second=0.5))
    assert client.post(FEATURES, json={"keys": [ONE]}).status_code == 200
    answer = client.post(FEATURES, json={"keys": [ONE]})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    assert answer.json()["error"] == "TooManyRequests"
    assert client.get("/readyz").status_code == 200


def test_a_request_ends_when_it_takes_too_long(served: Served, url: str) -> None:
    client = served(lambda: Reader(url, lambda: asyncio.sleep(30)), limits=Limits(seconds=0.05))
    answer = client.post(FEATURES, json={"keys": [ONE]})
    assert (answer.status_code, answer.json()["error"]) == (503, "Timeout")
    assert answer.headers["retry-after"] == "1"


def test_a_fault_of_ours_shows_a_reference_and_no_trace(
    served: Served, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("redis://me:hunter2@host is at fault")

    client = served(lambda: Reader(url, fail))
    with caplog.at_level(logging.ERROR, "fs_spark.serving"):
        answer = client.post(FEATURES, json={"keys": [ONE]})
    assert answer.status_code == 500
    for secret in ("Traceback", "ZeroDivision", "fault of", "hunter2", "samples.py", "raise"):
        assert secret not in answer.text.replace("a fault of the server", "")
    (record,) = caplog.records
    reference = record.getMessage().split()[1].strip(":")
    assert len(reference) == 16
    assert reference in answer.json()["message"]
    assert "ZeroDivisionError" in record.getMessage()
    assert "hunter2" not in caplog.text
    assert sample(client, "fs_spark_errors_total", kind="InternalError") == 1


def test_a_store_that_is_down(served: Served, url: str) -> None:
    def fail() -> None:
        raise OnlineStoreError("redis://me:hunter2@host cannot be reached.\nHint: start it")

    client = served(lambda: Reader(url, fail))
    answer = client.post(FEATURES, json={"keys": [ONE]})
    assert (answer.status_code, answer.json()["hint"], answer.headers["retry-after"]) == (503, "start it", "1")
    assert answer.json()["error"] == "OnlineStoreError"
    assert "hunter2" not in answer.text


def test_a_store_that_comes_later(served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = served(f"sqlite:///{tmp_path}/online.db")
    assert "the server is not ready: there is no online store" in caplog.text
    answer = client.get("/readyz")
    assert (answer.status_code, "there is no online store" in answer.json()["message"]) == (503, True)
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert client.post(FEATURES, json={"keys": [ONE]}).status_code == 503
    publish_device(tmp_path / "online.db")
    assert client.get("/readyz").status_code == 200
    assert client.post(FEATURES, json={"keys": [ONE]}).status_code == 200


def test_not_ready_without_services_and_while_stopping(served: Served, url: str) -> None:
    class Empty(Reader):
        async def services(self) -> list[str]:
            return []

    answer = served(lambda: Empty(url)).get("/readyz")
    assert (answer.status_code, answer.json()["message"]) == (503, "no service is published.")
    client = served(url)
    client.app.state.stopping = True  # type: ignore[attr-defined]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["message"]) == (503, "the server is stopping.")
    assert client.get("/healthz").status_code == 200


def test_the_reader_is_opened_once_and_closed(url: str) -> None:
    opened: list[Reader] = []

    async def opener() -> Reader:
        opened.append(Reader(url))
        return opened[-1]

    with TestClient(create_app(opener)) as client:
        for _ in range(3):
            assert client.post(FEATURES, json={"keys": [ONE]}).status_code == 200
        assert not opened[0].closed
    assert (len(opened), opened[0].closed) == (1, True)


def test_answers_bear_the_generation_that_they_are_of(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    url = publish_device(path)
    reader = Reader(url)
    client = served(lambda: reader)
    slim = ServiceRecord("device_v1", (LOTS,))

    def publish(lots: int) -> None:
        reader.before = lambda: None
        SqliteOnline(path).publish(slim, [rows_of(LOTS, [lot_batch([("L1", 0, 0, lots, None)])])])

    asked = {"keys": [{"lot_id": "L1"}], "features": ["wafers_done"]}
    for lots in (5, 6, 7):  # published while the question is under way; the first has other views
        asked["keys"] = [ONE] if lots == 5 else [{"lot_id": "L1"}]
        reader.before = lambda lots=lots: publish(lots)  # type: ignore[misc]
        answer = client.post(FEATURES, json=asked, headers={"Accept": ARROW})
        if lots == 5:
            assert (answer.status_code, "unknown column 'wafer_id'" in answer.json()["message"]) == (422, True)
            continue
        table = pa.ipc.open_stream(answer.content).read_all()
        assert table.to_pylist() == [{"lot_id": "L1", "wafers_done": lots}]
        held = client.get("/services/device_v1").json()["generation"]
        assert table.schema.metadata[b"generation"] == str(held).encode()


def test_a_key_column_of_a_new_publication_is_known_at_once(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    SqliteOnline(path).publish(slim := ServiceRecord("device_v1", (LOTS,)), [rows_of(LOTS, [])])
    client = served(f"sqlite:///{path}")
    assert client.post(FEATURES, json={"keys": [{"lot_id": "L1"}]}).status_code == 200
    assert slim.service == "device_v1"
    publish_device(path)
    (row,) = client.post(FEATURES, json={"keys": [ONE]}).json()["rows"]
    assert row["wafers_done"] == 4


def test_a_service_that_never_rests_is_said(served: Served, url: str) -> None:
    number = iter(range(1, 1000))

    class Restless(Reader):
        async def published(self, service: str) -> Published:
            found = await super().published(service)
            return Published(found.record, next(number), found.key_types)

    answer = served(lambda: Restless(url)).post(FEATURES, json={"keys": [ONE]})
    assert (answer.status_code, "published anew" in answer.json()["message"]) == (503, True)


def test_defaults_are_answered_while_the_store_is_down(served: Served, url: str) -> None:
    class Down(Reader):
        """Knows what it gives while the store is down, and no more."""

        down = False

        async def published(self, service: str) -> Published:
            if self.down:
                raise OnlineStoreError("the store is down.\nHint: wait")
            return await super().published(service)

    reader = Down(url)
    client = served(lambda: reader)
    reader.down = True
    answer = client.post(FEATURES, json={"keys": [ONE]})
    assert (answer.status_code, answer.json()["generation"]) == (200, 1)
    assert client.get("/services/device_v1").status_code == 503


def test_a_reader_that_refuses_to_say_what_is_published(served: Served, url: str) -> None:
    class Closed(Reader):
        async def published(self, service: str) -> Published:
            raise RequestError("this reader is closed.\nHint: open another")

    answer = served(lambda: Closed(url)).get("/services/device_v1")
    assert (answer.status_code, answer.json()["error"]) == (503, "OnlineStoreError")


def test_the_counts(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    url = publish_device(path)
    SqliteOnline(path).publish(at_version(DEVICE, 8, "a_device"), few_rows(at_version(DEVICE, 8)))
    client = served(url)
    client.post(FEATURES, json={"keys": [ONE, ONE, {**ONE, "die_x": 5}, {**ONE, "lot_id": "L2"}]})
    client.post(FEATURES, json={"keys": [ONE], "features": ["wafers_done"]})
    text = client.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text.text)}
    assert families["fs_spark_request_seconds"].type == "histogram"
    keys = {
        (one.labels["view"], one.labels["status"]): one.value
        for one in families["fs_spark_keys"].samples
        if one.name == "fs_spark_keys_total" and one.labels["service"] == "device_v1"
    }
    assert keys == {
        ("dies__v1.0", "present"): 2, ("dies__v1.0", "missing"): 2,
        ("lots__v2.1", "present"): 4, ("lots__v2.1", "missing"): 1,
    }  # fmt: skip
    route = {"route": "/services/{service}/features", "service": "device_v1"}
    assert sample(client, "fs_spark_request_seconds_count", **route) == 2
    assert sample(client, "fs_spark_request_seconds_bucket", **route, le="0.00025") is not None
    assert sample(client, "fs_spark_request_seconds_bucket", **route, le="+Inf") == 2
    assert sample(client, "fs_spark_generation", service="device_v1") == 1
    assert sample(client, "fs_spark_generation", service="a_device") == 2
    assert sample(client, "fs_spark_requests_in_flight") == 1
    assert sample(client, "fs_spark_data_age_seconds") is None
    other = served(url)
    assert sample(other, "fs_spark_keys_total") is None  # of its own app alone


def test_old_rows_are_counted_as_stale_and_their_age_is_told(served: Served, tmp_path: Path) -> None:
    fresh_us = time.time_ns() // 1000 - 100_000_000
    old = dataclasses.replace(LOTS, boundary="at_or_before", sla_us=50_000_000, fresh_us=fresh_us)
    older = dataclasses.replace(old, view="lots__v2.2", fresh_us=fresh_us - 1_000_000, features=())
    rows = [lot_batch([("L1", 0, 0, 4, None)])]
    record = ServiceRecord("old", (old, older))
    SqliteOnline(tmp_path / "online.db").publish(record, [rows_of(old, rows), rows_of(older, rows)])
    client = served(f"sqlite:///{tmp_path}/online.db")
    answer = client.post("/services/old/features", json={"keys": [{"lot_id": "L1"}], "status": True}).json()
    assert answer["rows"][0]["lots__v2.1__status"] == "stale"
    assert sample(client, "fs_spark_keys_total", service="old", view="lots__v2.1", status="stale") == 1
    before = {"keys": [{"lot_id": "L1"}], "status": True, "at": "1969-12-31T23:59:59Z"}
    (row,) = client.post("/services/old/features", json=before).json()["rows"]
    assert (row["wafers_done"], row["lots__v2.1__status"]) == (None, "missing")
    age = sample(client, "fs_spark_data_age_seconds", service="old")
    assert age is not None
    assert 101 <= age < 161
    told = client.get("/services/old").json()
    assert 101 <= told["age_seconds"] < 161
    assert told["views"][0]["sla_seconds"] == 50
    assert datetime.fromisoformat(told["views"][0]["up_to_date_at"]) == EPOCH + timedelta(microseconds=fresh_us)

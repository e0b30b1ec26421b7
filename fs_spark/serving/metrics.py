"""What a server counts, as Prometheus reads it. Nothing is global: each app has a registry of its own.

With several processes prometheus-client adds up what each of them writes in the folder `PROMETHEUS_MULTIPROC_DIR`.
"""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from fs_spark.online.records import Published
from fs_spark.online.request import Answer
from fs_spark.serving.served_store import age_s

CONTENT_TYPE: Final = prometheus.CONTENT_TYPE_LATEST
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
_BUCKETS: Final = (
    0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10,
)  # fmt: skip


class Metrics:
    """Counts of one app."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self._seconds = prometheus.Histogram(
            "fs_spark_request_seconds", "Seconds from the first byte of a request to the end of its answer",
            ["route", "service"], registry=self.registry, buckets=_BUCKETS,
        )  # fmt: skip
        self._keys = prometheus.Counter(
            "fs_spark_keys_total", "Keys answered, by the status of each view: present is a hit, missing a miss",
            ["service", "view", "status"], registry=self.registry,
        )  # fmt: skip
        self._errors = prometheus.Counter(
            "fs_spark_errors_total", "Requests that got an error, by its name", ["kind"], registry=self.registry
        )
        self.under_way = prometheus.Gauge(
            "fs_spark_requests_in_flight", "Requests under way", registry=self.registry, multiprocess_mode="livesum"
        )
        self._known: dict[tuple[str, str], prometheus.Histogram] = {}  # `labels` takes 3 us each time

    def took(self, route: str, service: str, seconds: float) -> None:
        known = self._known.get((route, service))
        if known is None:
            known = self._known[route, service] = self._seconds.labels(route, service)
        known.observe(seconds)

    def failed(self, kind: str) -> None:
        self._errors.labels(kind).inc()

    def answered(self, service: str, rows: list[Answer], statuses: Mapping[str, str]) -> None:
        """Counts the answers' statuses; `statuses` are the columns that tell them and their views."""
        for column, view in statuses.items():
            for status, count in Tally([row[column] for row in rows]).items():
                self._keys.labels(service, view, status).inc(count)

    def text(self, published: Iterable[Published]) -> bytes:
        """All of it, and what is published now."""
        held = prometheus.CollectorRegistry()
        held.register(_Held(published))
        counted = self.registry
        if FOLDER in os.environ:
            counted = prometheus.CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        return prometheus.generate_latest(counted) + prometheus.generate_latest(held)


class _Held:
    """Generations and ages; a service that is gone is gone here too."""

    def __init__(self, published: Iterable[Published]) -> None:
        self._published = list(published)

    def collect(self) -> Iterator[Metric]:
        generation = GaugeMetricFamily("fs_spark_generation", "Number of the publication", labels=["service"])
        age = GaugeMetricFamily(
            "fs_spark_data_age_seconds", "Seconds since the oldest view was up to date", labels=["service"]
        )
        for one in self._published:
            generation.add_metric([one.record.service], one.generation)
            seconds = age_s(one)
            if seconds is not None:
                age.add_metric([one.record.service], seconds)
        yield generation
        yield age

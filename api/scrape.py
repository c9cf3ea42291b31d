"""The answer to a Prometheus scrape.

Requests are counted in each process and summed over all of them through prometheus-client's shared
directory (``PROMETHEUS_MULTIPROC_DIR``). Tasks by state and the queue are read at the moment of the
question, so they are true whichever process answers.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.services import Services
from ingest.errors import ServiceError
from storage.records import lookups, sending
from storage.signals import INGEST_QUEUE, WEBHOOK_QUEUE, Role

CONTENT_TYPE = CONTENT_TYPE_LATEST


def collect(services: Services) -> bytes:
    """Return everything in Prometheus' text format."""
    shown = CollectorRegistry()
    if services.settings.metrics_dir is None:
        own = services.metrics.registry
    else:
        own = CollectorRegistry()
        MultiProcessCollector(  # type: ignore[no-untyped-call]  # it has no annotations
            own, path=str(services.settings.metrics_dir)
        )
    shown.register(_LookedUp(services))
    return generate_latest(own) + generate_latest(shown)


class _LookedUp(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily(
            "headrace_service_up", "Whether a service answered this scrape.", labels=["service"]
        )
        try:
            with self._services.database.transaction() as connection:
                counts = lookups.count_by_status(connection)
                waiting = sending.count_waiting(connection)
            by_state = GaugeMetricFamily("headrace_tasks", "Tasks by state.", labels=["status"])
            for status, count in counts.items():
                by_state.add_metric([status], count)
            yield by_state
            yield GaugeMetricFamily(
                "headrace_deliveries_waiting",
                "Webhooks that wait for an attempt, be it the first or another.",
                value=waiting,
            )
            up.add_metric(["postgresql"], 1)
        except ServiceError:
            up.add_metric(["postgresql"], 0)
        try:
            depth = GaugeMetricFamily(
                "headrace_queue_depth", "Wake-ups that wait in Redis.", labels=["queue"]
            )
            for queue in (INGEST_QUEUE, WEBHOOK_QUEUE):
                depth.add_metric([queue], self._services.signals.count_queued(queue))
            yield depth
            yield GaugeMetricFamily(
                "headrace_workers",
                "Workers that gave a sign of life lately.",
                value=len(self._services.signals.list_workers()),
            )
            yield GaugeMetricFamily(
                "headrace_senders",
                "Senders that gave a sign of life lately.",
                value=len(self._services.signals.list_workers(Role.SENDER)),
            )
            up.add_metric(["redis"], 1)
        except ServiceError:
            up.add_metric(["redis"], 0)
        yield up

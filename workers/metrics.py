"""What a worker and a sender count, each in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from ingest.errors import ConfigError


class ServedMetrics:
    """A registry that can be asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def serve(self, bind: str, setting: str) -> None:
        """Answer ``/metrics`` on ``ip:port`` from a thread.

        Args:
            setting: the variable that named it, for the error.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        host, _, port = bind.rpartition(":")
        try:
            start_http_server(int(port), host.strip("[]"), registry=self.registry)
        except OSError as error:
            raise ConfigError(f"{setting} {bind}: {error.strerror}.") from error


class WorkerMetrics(ServedMetrics):
    """Counters of one worker process.

    Args:
        slots: ingests it may run at once, shown beside how many it runs.
    """

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.attempts = Counter(
            "headrace_attempts",
            "Attempts that ended, by outcome: complete, or the code of the error.",
            ["outcome"],
            registry=self.registry,
        )
        self.bytes = Counter(
            "headrace_transferred_bytes", "Bytes read from sources.", registry=self.registry
        )
        self.copied_bytes = Counter(
            "headrace_copied_bytes",
            "Bytes of sources that the object store copied itself.",
            registry=self.registry,
        )
        self.seconds = Histogram(
            "headrace_attempt_seconds",
            "Duration of attempts.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, float("inf")),
            registry=self.registry,
        )
        self.running = Gauge(
            "headrace_running_attempts", "Attempts that run now.", registry=self.registry
        )
        Gauge(
            "headrace_worker_slots", "Attempts that can run at once.", registry=self.registry
        ).set(slots)


class SenderMetrics(ServedMetrics):
    """Counters of one sender process.

    Args:
        slots: deliveries it may make at once, shown beside how many it makes.
    """

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.attempts = Counter(
            "headrace_deliveries",
            "Attempts at deliveries, by outcome: delivered, or the code of the error.",
            ["outcome"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "headrace_delivery_seconds",
            "Duration of attempts at deliveries.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, float("inf")),
            registry=self.registry,
        )
        self.running = Gauge(
            "headrace_running_deliveries", "Attempts that run now.", registry=self.registry
        )
        Gauge(
            "headrace_sender_slots", "Attempts that can run at once.", registry=self.registry
        ).set(slots)

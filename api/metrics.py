"""What one API process counts; ``api.scrape`` sums it up over all of them."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram


@dataclass(frozen=True, slots=True)
class ApiMetrics:
    """Counters of one API process."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram


def build_metrics() -> ApiMetrics:
    """Make the counters of this process."""
    registry = CollectorRegistry()
    return ApiMetrics(
        registry,
        Counter(
            "headrace_requests",
            "Requests answered, by route and status.",
            ["method", "route", "status"],
            registry=registry,
        ),
        Histogram(
            "headrace_request_seconds",
            "Time to answer.",
            ["method", "route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, float("inf")),
            registry=registry,
        ),
    )

"""docs/operations.md against the metrics, events and formulas of the code."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, Metric

from api.metrics import build_metrics
from ingest.config import MIB
from ingest.environ import load_settings
from storage.signals import BEAT_LOOPS
from tests.support.pages import ROOT, find_table, read_page
from workers.batch_jobs import MOST_JOBS
from workers.metrics import SenderMetrics, WorkerMetrics
from workers.moving import MOVES_AT_ONCE

_PAGE = read_page("docs/operations.md")
_REQUIRED = {
    "HEADRACE_DATABASE_URL": "postgresql://headrace@127.0.0.1/headrace",
    "HEADRACE_REDIS_URL": "redis://127.0.0.1:6379/0",
    "HEADRACE_S3_BUCKET": "media",
}
_UNITS = {"GiB": 1024**3, "TiB": 1024**4}


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _list_registered(registry: CollectorRegistry) -> set[str]:
    return {_name(metric) for metric in registry.collect()}


def _list_described(column: str) -> set[str]:
    return {row[0].strip("`") for row in find_table(_PAGE, column).rows}


def test_every_metric_of_the_api_is_listed() -> None:
    source = read_page("api/scrape.py")
    looked_up = set(re.findall(r"GaugeMetricFamily\(\s*\"(\w+)\"", source))

    assert looked_up
    registered = _list_registered(build_metrics().registry)
    assert _list_described("API metric") == registered | looked_up


def test_every_metric_of_a_worker_is_listed() -> None:
    assert _list_described("worker metric") == _list_registered(WorkerMetrics(1).registry)


def test_every_metric_of_a_sender_is_listed() -> None:
    assert _list_described("sender metric") == _list_registered(SenderMetrics(1).registry)


def test_every_event_that_is_listed_is_logged_somewhere() -> None:
    sources = "".join(
        file.read_text()
        for room in ("api", "storage", "workers")
        for file in (ROOT / room).rglob("*.py")
    )

    events = _list_described("event")
    assert events
    assert all(f'"{event}"' in sources for event in events)


@pytest.mark.parametrize("row", find_table(_PAGE, "slots").rows, ids=lambda row: str(row[2]))
def test_the_table_of_memory_follows_from_the_settings(row: list[str]) -> None:
    slots, parts_in_flight, longest, part_size, buffers = row
    number, unit = longest.split()[:2]
    settings = load_settings(
        {
            **_REQUIRED,
            "HEADRACE_WORKER_SLOTS": slots,
            "HEADRACE_PARTS_IN_FLIGHT": parts_in_flight,
            "HEADRACE_MAX_BYTES": str(int(number) * _UNITS[unit]),
        }
    )

    part_bytes = settings.part_bytes_for(None)
    assert part_size == f"{part_bytes // MIB} MiB"
    held = settings.worker_slots * (settings.parts_in_flight + 1) * part_bytes
    assert buffers.startswith(f"{held // MIB:,} MiB")


def test_the_connections_of_the_defaults_are_what_the_page_says() -> None:
    settings = load_settings(_REQUIRED)
    api = settings.api_processes * 2 * settings.api_threads
    # The keeper of leases, and the jobs of batches.
    worker = 2 * (settings.worker_slots + 1 + MOST_JOBS)

    sender = 2 * (settings.webhook_slots + 1)
    beat = 2 * (len(BEAT_LOOPS) + MOVES_AT_ONCE)

    assert f"{api} + {worker} + {sender} + {beat} with the defaults" in _PAGE
    assert int(re.findall(r"max_connections=(\d+)", read_page("docker-compose.yml"))[0]) == 200


@pytest.mark.parametrize(("slots", "said"), [("8", "That is 512"), ("16", "16 slots fit")])
def test_the_descriptors_of_a_worker_are_what_the_page_says(slots: str, said: str) -> None:
    settings = load_settings({**_REQUIRED, "HEADRACE_WORKER_SLOTS": slots})
    count = settings.worker_slots
    buffers = count * (settings.parts_in_flight + 1)
    idle = 2 * count * max(count, settings.source_connections)
    checks = MOST_JOBS * settings.check_connections
    descriptors = idle + 2 * buffers + 12 * count + checks + 112

    assert said in _PAGE
    assert descriptors == {"8": 512, "16": 976}[slots]


def test_only_settings_that_exist_are_named_in_the_pages() -> None:
    settings = {row[0].strip("`") for row in find_table(read_page("README.md"), "Variable").rows}
    client = {"HEADRACE_URL", "HEADRACE_KEY", "HEADRACE_HOME"}
    for page in (
        "README.md",
        "docs/api.md",
        "docs/architecture.md",
        "docs/operations.md",
        "docs/webhooks.md",
    ):
        named = set(re.findall(r"\bHEADRACE_[A-Z0-9_]+\b", read_page(page)))
        assert named <= settings | client

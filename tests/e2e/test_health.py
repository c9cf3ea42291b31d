"""Signs of life and numbers: ``/healthz``, ``/readyz``, and what a scrape finds."""

from __future__ import annotations

from collections.abc import Mapping

import requests
from prometheus_client.parser import text_string_to_metric_families

from cli.local import LocalStack
from tests.support.api import Api, read_object
from tests.support.origin import Origin, Stall
from tests.support.waiting import wait_until

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def _scrape(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = requests.get(f"{url}/metrics", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _read(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def _scrape_idle(worker: str) -> Samples | None:
    samples = _scrape(worker)
    return None if _read(samples, "headrace_running_attempts") else samples


def _find_worker(stack: LocalStack) -> str:
    port = stack.home.read_state().ports["worker-metrics"]
    return f"http://127.0.0.1:{port}"


def test_a_stack_that_runs_is_alive_and_ready(api: Api) -> None:
    with Api(api.url, None) as anybody:
        assert anybody.get("/healthz").json() == {"status": "ok"}
        answer = anybody.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {"postgresql": "ok", "redis": "ok", "s3": "ok", "worker": "ok"},
    }


def test_the_api_counts_its_requests_over_all_its_processes(stack: LocalStack, api: Api) -> None:
    asked = {"method": "GET", "route": "/files/<file_id>", "status": "404"}
    before = _read(_scrape(stack.api_url), "headrace_requests_total", **asked)
    for _ in range(20):
        # A new connection each time, so that every process gets some.
        with Api(api.url, api.key) as opened:
            opened.get("/files/file_none")
    after = _scrape(stack.api_url)
    assert _read(after, "headrace_requests_total", **asked) == before + 20
    timed = {"method": "GET", "route": "/files/<file_id>"}
    assert _read(after, "headrace_request_seconds_count", **timed) >= 20
    # Nobody can fill the memory with made-up paths or methods.
    api.send("BREW", "/coffee")
    routes = {dict(labels).get("route") for name, labels in _scrape(stack.api_url)}
    assert "/coffee" not in routes


def test_the_api_shows_tasks_by_state_the_queue_and_what_answers(
    stack: LocalStack, api: Api, origin: Origin, picture: bytes
) -> None:
    stall = Stall()
    url = origin.serve("/health/running.jpg", picture, stall=stall)
    before = _scrape(stack.api_url)
    read_object(api.post("/tasks", {"kind": "ingest", "url": url}), 201)
    assert stall.reached.wait(10)

    during = _scrape(stack.api_url)

    running = {"status": "processing"}
    assert (
        _read(during, "headrace_tasks", **running) == _read(before, "headrace_tasks", **running) + 1
    )
    for status in ("pending", "complete", "failed", "cancelled"):
        assert ("headrace_tasks", frozenset({("status", status)})) in during
    assert ("headrace_queue_depth", frozenset({("queue", "ingest")})) in during
    for service in ("postgresql", "redis"):
        assert _read(during, "headrace_service_up", service=service) == 1
    assert _read(during, "headrace_workers") >= 1
    stall.released.set()


def test_a_worker_counts_attempts_bytes_and_seconds(
    stack: LocalStack, api: Api, origin: Origin, picture: bytes, picture_url: str
) -> None:
    worker = _find_worker(stack)
    # What other tests have begun must have ended, or it would be counted here.
    before = wait_until(lambda: _scrape_idle(worker), "an idle worker")

    read_object(api.post("/files", {"url": picture_url}), 201)
    api.post("/files", {"url": origin.url("/health/nothing")})

    def look() -> Samples | None:
        samples = _scrape(worker)
        ended = _read(samples, "headrace_attempt_seconds_count")
        return samples if ended >= _read(before, "headrace_attempt_seconds_count") + 2 else None

    after = wait_until(look, "two attempts in the metrics")
    for outcome, grown in (("complete", 1), ("source_not_found", 1)):
        name = "headrace_attempts_total"
        was = _read(before, name, outcome=outcome)
        assert _read(after, name, outcome=outcome) == was + grown
    read_bytes = _read(before, "headrace_transferred_bytes_total")
    assert _read(after, "headrace_transferred_bytes_total") == read_bytes + len(picture)
    assert _read(after, "headrace_worker_slots") == 8
    assert _read(after, "headrace_running_attempts") == 0

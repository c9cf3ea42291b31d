"""A real worker whose connection breaks: it holds no more than it runs, and is deaf for seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.local import LocalStack
from ingest.config import Settings
from ingest.environ import make_child_environ
from ingest.states import Status
from storage import wakes
from storage.records import lookups
from storage.records.database import Database
from storage.signals import Signals
from storage.wakes import RUN
from tests.integration.examples import MakeTask, find_spare_redis
from tests.support.faults import FaultProxy
from tests.support.media import make_media
from tests.support.origin import Origin, Stall
from tests.support.waiting import wait_until

SLOTS = 2
HEARD_WITHIN_S = 20.0

Wake = Callable[[str], None]


@pytest.fixture
def proxy(settings: Settings) -> Iterator[FaultProxy]:
    """The way to Redis, to be broken."""
    with FaultProxy(_find_port(settings)) as running:
        yield running


@pytest.fixture
def wake(signals: Signals) -> Wake:
    """Sends a wake-up to the worker's queue, past the proxy."""
    return lambda task_id: wakes.wake(signals, RUN, [task_id])


@pytest.fixture
def picture(media_folder: Path) -> bytes:
    """A small JPEG."""
    return make_media("jpeg", media_folder).read_bytes()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture
def worker(
    stack: LocalStack,
    settings: Settings,
    records: Database,
    records_url: str,
    signals: Signals,
    proxy: FaultProxy,
    log: Path,
) -> Iterator[psutil.Popen]:
    """A worker of two slots on these tests' own database and Redis, which it reaches by proxy."""
    redis_url = find_spare_redis(settings)
    environ = {
        **stack.environ,
        "HEADRACE_DATABASE_URL": records_url.replace("postgresql+psycopg", "postgresql"),
        "HEADRACE_REDIS_URL": redis_url.replace(f":{_find_port(settings)}/", f":{proxy.port}/"),
        "HEADRACE_WORKER_SLOTS": str(SLOTS),
        "HEADRACE_FIRST_BYTE_TIMEOUT_S": "60",
        "HEADRACE_LOWEST_BPS": "0",
        "HEADRACE_LEASE_S": "30",
    }
    environ.pop("HEADRACE_WORKER_METRICS_BIND", None)
    with log.open("wb") as output:
        process = psutil.Popen(
            [sys.executable, "-m", "workers", "worker"],
            env=make_child_environ(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "ready." in log.read_text(), "the worker", 20)
        yield process
    finally:
        process.terminate()
        process.wait(40)


def test_a_full_worker_leaves_messages_to_others_also_after_a_reconnect(
    worker: psutil.Popen,
    proxy: FaultProxy,
    wake: Wake,
    signals: Signals,
    records: Database,
    make_task: MakeTask,
    origin: Origin,
    picture: bytes,
) -> None:
    stalls = [Stall() for _ in range(SLOTS)]
    urls = [
        origin.serve(f"/slots/{number}.jpg", picture, stall=stall)
        for number, stall in enumerate(stalls)
    ]
    running = [make_task(url=url, woken=True) for url in urls]
    for task in running:
        wake(task.id)
    for stall in stalls:
        assert stall.reached.wait(10)
    others = [make_task(url=origin.serve("/slots/free.jpg", picture), woken=True) for _ in "abc"]
    for task in others:
        wake(task.id)

    used_s = sum(worker.cpu_times()[:2])
    before = proxy.accepted_count
    proxy.cut()
    wait_until(lambda: proxy.accepted_count >= before + 2, "the worker to connect again")
    # What it must not do takes it no time: a second's patience shows it.
    time.sleep(1.5)
    assert signals.count_queued("ingest") == len(others)
    assert sum(worker.cpu_times()[:2]) - used_s < 1.0

    for stall in stalls:
        stall.released.set()
    for task in (*running, *others):
        _wait_complete(records, task.project_id, task.id, 20)


def test_a_frozen_connection_deafens_a_worker_for_seconds_and_what_it_runs_goes_on(
    worker: psutil.Popen,
    proxy: FaultProxy,
    wake: Wake,
    signals: Signals,
    records: Database,
    make_task: MakeTask,
    origin: Origin,
    picture: bytes,
    log: Path,
) -> None:
    stall = Stall()
    running = make_task(url=origin.serve("/deaf/runs.jpg", picture, stall=stall), woken=True)
    wake(running.id)
    assert stall.reached.wait(10)
    proxy.freeze(new=False)
    # Redis would still hand a message to a wait that began before.
    wait_until(lambda: not _list_waits(signals), "the worker's wait to end")
    waiting = make_task(url=origin.serve("/deaf/waits.jpg", picture), woken=True)
    began = time.monotonic()
    wake(waiting.id)

    _wait_complete(records, waiting.project_id, waiting.id, HEARD_WITHIN_S)
    took_s = time.monotonic() - began
    stall.released.set()
    _wait_complete(records, running.project_id, running.id, 10)

    assert took_s < HEARD_WITHIN_S
    assert '"remedy": "reconnect"' in log.read_text()
    with records.transaction() as connection:
        attempts = lookups.list_attempts(connection, [running.id])[running.id]
    assert [one.error for one in attempts] == [None]
    assert worker.is_running()


def _find_port(settings: Settings) -> int:
    return int(settings.redis_url.get_secret_value().rpartition(":")[2].partition("/")[0])


def _list_waits(signals: Signals) -> list[str]:
    """Return who waits for a message in this Redis database."""
    return [
        one["addr"]
        for one in signals._redis.client_list()
        if one["db"] == "9" and "b" in one["flags"]
    ]


def _wait_complete(records: Database, project_id: str, task_id: str, timeout_s: float) -> None:
    def look() -> bool:
        with records.transaction() as connection:
            task = lookups.get(connection, project_id, task_id)
        return task is not None and task.status is Status.COMPLETE

    wait_until(look, "a task to complete", timeout_s)

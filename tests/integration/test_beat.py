"""A real beat: it sweeps without Redis, says that it goes round, and ends when it is told to."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.local import LocalStack
from ingest.config import Settings
from ingest.environ import make_child_environ
from ingest.states import Status
from storage.records import lookups
from storage.records.database import Database
from storage.signals import BEAT_LOOPS, INGEST_QUEUE, Signals
from tests.integration.examples import Claim, MakeTask, find_spare_redis
from tests.support.waiting import wait_until

StartBeat = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start_beat(
    stack: LocalStack, records: Database, records_url: str, tmp_path: Path
) -> Iterator[StartBeat]:
    """Starts a beat on these tests' own database and the Redis at a URL."""
    started: list[subprocess.Popen[bytes]] = []

    def start(redis_url: str) -> subprocess.Popen[bytes]:
        environ = {
            **stack.environ,
            "HEADRACE_DATABASE_URL": records_url.replace("postgresql+psycopg", "postgresql"),
            "HEADRACE_REDIS_URL": redis_url,
        }
        with (tmp_path / "beat.log").open("wb") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "workers", "beat"],
                    env=make_child_environ(environ),
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_beat_wakes_what_is_ready_says_that_it_lives_and_ends_within_seconds(
    number: signal.Signals,
    start_beat: StartBeat,
    settings: Settings,
    signals: Signals,
    make_task: MakeTask,
) -> None:
    make_task()
    process = start_beat(find_spare_redis(settings))
    wait_until(lambda: signals.count_queued(INGEST_QUEUE) == 1, "the wake-up", 20)
    wait_until(lambda: set(signals.list_beats()) == set(BEAT_LOOPS), "each loop's word", 10)
    # A nudge is answered before the next second begins.
    make_task()
    signals.nudge()
    wait_until(lambda: signals.count_queued(INGEST_QUEUE) == 2, "the second wake-up")

    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 0
    assert time.monotonic() - began < 3


def test_a_beat_sweeps_without_redis(
    start_beat: StartBeat,
    closed_port: int,
    records: Database,
    make_task: MakeTask,
    claim: Claim,
    tmp_path: Path,
) -> None:
    task = make_task(max_attempts=1)
    claim(task, lease_s=-1)
    process = start_beat(f"redis://127.0.0.1:{closed_port}/0")

    def look() -> bool:
        with records.transaction() as connection:
            found = lookups.get(connection, task.project_id, task.id)
        return found is not None and found.status is Status.FAILED

    wait_until(look, "the sweep", 20)
    assert process.poll() is None

    # A server that stays away is told of once by each loop that asks it.
    def list_put_off() -> list[str]:
        lines = (tmp_path / "beat.log").read_text().splitlines()
        told = [json.loads(line) for line in lines]
        return sorted(one["loop"] for one in told if one["event"] == "beat.put_off")

    wait_until(lambda: set(list_put_off()) == {"dispatch", "webhooks"}, "their word")
    assert list_put_off() == ["dispatch", "webhooks"]

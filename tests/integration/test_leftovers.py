"""What a killed supervisor left behind is stopped, and nobody else's process is touched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.home import StackState
from cli.leftovers import stop_leftovers
from cli.processes import ProcessMark, is_alive, mark_process

LIMIT_S = 20.0


@pytest.fixture
def orphan() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session of its own, as every child of a stack does."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("name", ["worker", "valkey"])
def test_a_process_that_is_known_is_stopped_and_said(
    orphan: subprocess.Popen[bytes], name: str
) -> None:
    said: list[str] = []
    stop_leftovers(StackState(processes={name: _mark(orphan.pid)}), said.append)
    assert orphan.wait(LIMIT_S) != 0
    assert name in said[0]


def test_a_process_that_only_has_the_same_pid_is_left_alone(
    orphan: subprocess.Popen[bytes],
) -> None:
    mark = _mark(orphan.pid)
    earlier = ProcessMark(pid=mark.pid, created=mark.created - 100)
    said: list[str] = []
    stop_leftovers(StackState(processes={"worker": earlier, "valkey": earlier}), said.append)
    assert is_alive(mark)
    assert said == []


def test_a_process_that_has_ended_is_not_alive(orphan: subprocess.Popen[bytes]) -> None:
    mark = _mark(orphan.pid)
    orphan.kill()
    orphan.wait()
    assert not is_alive(mark)


def _mark(pid: int) -> ProcessMark:
    mark = mark_process(pid)
    assert mark is not None
    return mark

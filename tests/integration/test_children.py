"""Supervised processes, real ones: restarted, given up, stopped, told about."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.child import CRASHES_UNTIL_GIVEN_UP, ChildPlan
from cli.problems import Interrupted, SetupProblem
from cli.supervisor import Supervisor

LIMIT_S = 20.0
LIVES = "import sys, time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LIVES
CRASHES = "import sys; print('no such luck', flush=True); sys.exit(3)"
SILENT = "import time; time.sleep(600)"
FORKS = (
    "import subprocess, sys; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print(child.pid, flush=True); child.wait()"
)


class Kept:
    """Lines that were said, and a way to wait for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._more:
            self.lines.append(line)
            self._more.notify_all()

    def wait_for(self, *words: str) -> str:
        """Return the first line that has all these words."""

        def find() -> str | None:
            return next((line for line in self.lines if all(word in line for word in words)), None)

        with self._more:
            assert self._more.wait_for(lambda: find() is not None, LIMIT_S), (words, self.lines)
        return find() or ""


@pytest.fixture
def said() -> Kept:
    """What the supervisor said."""
    return Kept()


@pytest.fixture
def supervisor(said: Kept) -> Iterator[Supervisor]:
    """A supervisor whose children are gone after the test."""
    made = Supervisor(said, lambda: None)
    yield made
    made.ask_stop()
    made.ask_stop()
    made.stop(list(made.children))


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., ChildPlan]:
    """Makes plans of children that run a line of Python and are ready once they wrote a log."""

    def make(code: str, name: str = "child", grace_s: float = LIMIT_S) -> ChildPlan:
        log = tmp_path / f"{name}.log"
        return ChildPlan(
            name=name,
            arguments=[sys.executable, "-c", code],
            environ=dict(os.environ),
            log=log,
            is_ready=lambda _: code is not CRASHES and log.stat().st_size > 0,
            grace_s=grace_s,
        )

    return make


def test_a_crashed_child_is_restarted_and_said_so(
    supervisor: Supervisor, said: Kept, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(LIVES)])
    child = supervisor.children["child"]
    first = child.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    line = said.wait_for("child", "SIGKILL", "restarting")
    supervisor.wait_ended("child", first, LIMIT_S)
    supervisor.wait_ready(["child"], LIMIT_S)

    assert str(child.plan.log) in line
    assert child.pid not in {None, first}


def test_a_child_that_ends_at_once_is_given_up_with_the_last_lines_of_its_log(
    supervisor: Supervisor, said: Kept, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(CRASHES)])
    with pytest.raises(SetupProblem, match="no such luck"):
        supervisor.wait_ready(["child"], LIMIT_S)
    said.wait_for("child", "code 3", "giving it up")
    assert len(said.lines) == CRASHES_UNTIL_GIVEN_UP


def test_a_child_that_says_its_settings_cannot_work_is_not_tried_again(
    supervisor: Supervisor, said: Kept, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan("import sys; sys.exit(5)")])
    said.wait_for("child", "code 5", "giving it up")
    assert len(said.lines) == 1


def test_a_child_killed_on_purpose_is_never_given_up(
    supervisor: Supervisor, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(LIVES)])
    child = supervisor.children["child"]
    for _ in range(CRASHES_UNTIL_GIVEN_UP + 1):
        supervisor.wait_ready(["child"], LIMIT_S)
        pid = child.pid
        child.kill()
        supervisor.wait_ended("child", pid, LIMIT_S)
    supervisor.wait_ready(["child"], LIMIT_S)
    supervisor.check()


def test_a_stopped_child_stays_stopped_until_it_is_started(
    supervisor: Supervisor, said: Kept, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(LIVES)])
    supervisor.wait_ready(["child"], LIMIT_S)
    supervisor.stop(["child"])
    child = supervisor.children["child"]
    assert child.pid is None
    assert said.lines == []

    child.start()
    supervisor.wait_ready(["child"], LIMIT_S)
    assert child.pid is not None


def test_a_child_deaf_to_its_stop_signal_is_killed_when_its_grace_is_over(
    supervisor: Supervisor, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(DEAF, grace_s=0.2)])
    supervisor.wait_ready(["child"], LIMIT_S)
    pid = supervisor.children["child"].pid
    supervisor.stop(["child"])
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_a_second_request_to_stop_takes_the_grace_away(
    supervisor: Supervisor, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(DEAF, grace_s=600)])
    supervisor.wait_ready(["child"], LIMIT_S)
    supervisor.ask_stop()
    supervisor.ask_stop()
    supervisor.stop(["child"])
    assert supervisor.children["child"].pid is None


def test_what_a_child_started_dies_with_it(
    supervisor: Supervisor, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(FORKS)])
    supervisor.wait_ready(["child"], LIMIT_S)
    grandchild = psutil.Process(int(supervisor.children["child"].read_log_tail()))
    supervisor.stop(["child"])
    assert psutil.wait_procs([grandchild], timeout=LIMIT_S)[1] == []


def test_a_request_to_stop_ends_the_wait_for_readiness(
    supervisor: Supervisor, plan: Callable[..., ChildPlan]
) -> None:
    supervisor.start([plan(SILENT)])
    supervisor.ask_stop()
    with pytest.raises(Interrupted):
        supervisor.wait_ready(["child"], LIMIT_S)


def test_a_command_that_is_not_there_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    plan = ChildPlan("child", [tmp_path / "missing"], {}, tmp_path / "child.log", lambda _: True)
    with pytest.raises(SetupProblem, match="missing cannot be run"):
        supervisor.start([plan])


def test_a_log_that_has_grown_long_is_moved_aside(
    supervisor: Supervisor, plan: Callable[..., ChildPlan]
) -> None:
    made = plan(LIVES)
    with made.log.open("wb") as log:
        log.truncate(17 * 1024 * 1024)
    supervisor.start([made])
    assert made.log.stat().st_size < 1024
    assert made.log.with_suffix(".log.1").exists()

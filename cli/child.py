"""One child process under supervision: started, watched, restarted, stopped.

Invariants: a child leads its own session, so that a Ctrl-C at the terminal reaches only the
supervisor and a whole group can be killed at once; a child that ends by itself is started again and
that is said; one that keeps ending within seconds is given up, loudly.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from cli.problems import ExitCode

# A child that lives this long was healthy; its next end counts as the first again.
HEALTHY_AFTER_S = 5.0
CRASHES_UNTIL_GIVEN_UP = 5
_FIRST_BACKOFF_S = 0.1
_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_TAIL_LINES = 15
_TAIL_BYTES = 8192


class Stage(Enum):
    """Where a child is in its life."""

    IDLE = auto()
    RUNNING = auto()
    WAITING = auto()
    STOPPED = auto()
    GIVEN_UP = auto()


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """How a child is run.

    Args:
        name: as people and log files call it.
        arguments: the command.
        environ: its whole environment.
        log: the file its output is appended to.
        is_ready: asks the process of this pid for a sign of life.
        stop_signal: what makes it end in good order.
        grace_s: how long it may take over that.
        before_start: called before each start, such as to clear a directory.
    """

    name: str
    arguments: Sequence[str | Path]
    environ: Mapping[str, str] = field(repr=False)
    log: Path
    is_ready: Callable[[int], bool]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    before_start: Callable[[], None] = lambda: None


class Child:
    """A supervised process. Its methods may be called from any thread.

    Args:
        plan: how it is run.
        say: takes one line for a person.
        changed: called after each start and end, from the watching thread.
    """

    def __init__(
        self, plan: ChildPlan, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.plan = plan
        self._say = say
        self._changed = changed
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._stage = Stage.IDLE
        self._end_asked = False
        self._was_ready = False

    @property
    def stage(self) -> Stage:
        """Where the child is in its life."""
        return self._stage

    def is_ready(self) -> bool:
        """Return whether it runs and answers."""
        pid = self.pid
        ready = pid is not None and self.plan.is_ready(pid)
        self._was_ready = self._was_ready or ready
        return ready

    @property
    def pid(self) -> int | None:
        """The pid, or None while it is not running."""
        process = self._process
        return process.pid if process is not None and self._stage is Stage.RUNNING else None

    def start(self) -> None:
        """Start the process and watch it, unless it is watched already.

        Raises:
            OSError: it cannot be run at all.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        self._stop.clear()
        self._ended.clear()
        process = self._spawn()
        if process is None:
            return
        self._thread = threading.Thread(
            target=self._watch, args=(process,), name=f"watch-{self.plan.name}", daemon=True
        )
        self._thread.start()

    def kill(self) -> None:
        """Kill the child's whole group. It is started again, and this counts as no crash of its."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._end_asked = True
                os.killpg(self._process.pid, signal.SIGKILL)

    def restart(self) -> None:
        """Ask the running process to end in good order; it is then started again."""
        with self._lock:
            if self._process is not None:
                self._end_asked = True
                self._process.send_signal(self.plan.stop_signal)

    def begin_stop(self) -> None:
        """Ask the child to end and not to be started again; returns at once."""
        with self._lock:
            self._stop.set()
            if self._process is not None:
                self._process.send_signal(self.plan.stop_signal)

    def finish_stop(self, in_hurry: Callable[[], bool]) -> None:
        """Wait for the end that :meth:`begin_stop` asked for; past the grace, or in a hurry, kill.

        Args:
            in_hurry: once it says so, there is no more grace.
        """
        if self._thread is None:
            return
        deadline = time.monotonic() + self.plan.grace_s
        while not self._ended.wait(0.05):
            if in_hurry() or time.monotonic() > deadline:
                self.kill()
        self._thread.join()

    def read_log_tail(self) -> str:
        """Return the last lines the child wrote."""
        return read_tail(self.plan.log)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stop.is_set():
                return None
            self.plan.before_start()
            rotate(self.plan.log)
            with self.plan.log.open("ab") as log:
                process = subprocess.Popen(
                    self.plan.arguments,
                    env=dict(self.plan.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._process = process
            self._stage = Stage.RUNNING
        self._changed()
        return process

    def _watch(self, first: subprocess.Popen[bytes]) -> None:
        process: subprocess.Popen[bytes] | None = first
        crashes = 0
        while process is not None:
            started = time.monotonic()
            status = process.wait()
            kill_group(process.pid)
            with self._lock:
                asked, self._end_asked = self._end_asked, False
                self._stage = Stage.WAITING
            if not self._stop.is_set():
                healthy = asked or time.monotonic() - started >= HEALTHY_AFTER_S
                crashes = 0 if healthy else crashes + 1
                # A role says so itself when its settings can never work.
                hopeless = status == ExitCode.SETUP and not self._was_ready
                if hopeless or crashes >= CRASHES_UNTIL_GIVEN_UP:
                    self._end(Stage.GIVEN_UP)
                    self._say(f"{self._describe_end(status)}; giving it up.")
                    return
                self._say(f"{self._describe_end(status)}; restarting it.")
                self._changed()
                self._stop.wait(_FIRST_BACKOFF_S * 2**crashes)
            process = self._spawn()
        self._end(Stage.STOPPED)

    def _end(self, stage: Stage) -> None:
        self._stage = stage
        self._ended.set()
        self._changed()

    def _describe_end(self, status: int) -> str:
        return f"{self.plan.name} {describe_status(status)} (log: {self.plan.log})"


def describe_status(status: int) -> str:
    """Return how a process ended, in words, from what `Popen.wait` returned."""
    if status >= 0:
        return f"exited with code {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def kill_group(leader_pid: int) -> None:
    """Kill what is left of a group whose leader has ended."""
    try:
        os.killpg(leader_pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group of zombies.
        return


def rotate(log: Path) -> None:
    """Move a log aside that has grown past 16 MiB; one older copy is kept."""
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))


def read_tail(log: Path) -> str:
    """Return the last lines of a log, or an empty text if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])

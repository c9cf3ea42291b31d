"""Processes that may not be our children, named so that a pid used again is not mistaken for them.

Invariant: nothing is signalled unless pid and time of creation are both the ones remembered.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from pydantic import BaseModel

from cli.binaries import INSTALL_LOCAL
from cli.problems import SetupProblem

if TYPE_CHECKING:
    import psutil

# A clock set right while a stack runs moves what the system says a process was created at.
_CREATED_TOLERANCE_S = 1.0


class ProcessMark(BaseModel):
    """A process, told apart from a later one with its pid. ``created`` is seconds since 1970."""

    pid: int
    created: float


def mark_process(pid: int) -> ProcessMark | None:
    """Return the mark of a process, or None if it is gone."""
    process = _find(pid)
    return None if process is None else ProcessMark(pid=pid, created=process.create_time())


def is_alive(mark: ProcessMark) -> bool:
    """Return whether that very process still runs."""
    return _find_marked(mark) is not None


def send_signal(mark: ProcessMark, number: signal.Signals) -> None:
    """Signal that very process, if it still runs."""
    import psutil

    process = _find_marked(mark)
    if process is not None:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return


def _find_marked(mark: ProcessMark) -> psutil.Process | None:
    import psutil

    process = _find(mark.pid)
    if process is None:
        return None
    try:
        same = abs(process.create_time() - mark.created) < _CREATED_TOLERANCE_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _find(pid: int) -> psutil.Process | None:
    try:
        import psutil
    except ImportError:
        raise SetupProblem(f"A local stack needs psutil. Run: {INSTALL_LOCAL}") from None
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None

"""Waiting for what must become true, with a deadline; never a sleep that hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_S = 0.02


def wait_until(
    ask: Callable[[], T | None], what: str, timeout_s: float = 10.0, pause_s: float = _PAUSE_S
) -> T:
    """Return the first answer that is neither None, False nor empty.

    Args:
        ask: called again and again.
        what: what is waited for, to be named if it never comes.
        pause_s: how long to wait before asking again; more where asking costs something.

    Raises:
        TimeoutError: it did not come in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)


def await_next_millisecond() -> None:
    """Return in a later millisecond: ids made from then on sort behind those there are.

    Within one millisecond ids have no order (:mod:`ingest.ids`).
    """
    now_ms = _read_ms()
    wait_until(lambda: _read_ms() > now_ms, "the next millisecond", pause_s=0.0002)


def _read_ms() -> int:
    return time.time_ns() // 1_000_000

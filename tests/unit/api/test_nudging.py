"""Many nudges are one, and none is taken for an earlier one."""

from __future__ import annotations

import threading

import pytest

from api.nudging import Nudger
from ingest.errors import RedisUnavailable

_LONG_S = 10.0


def test_nudges_that_come_together_are_sent_as_one() -> None:
    sent: list[int] = []
    first = threading.Event()

    def send() -> None:
        sent.append(1)
        first.set()

    nudger = Nudger(send, pause_s=_LONG_S)
    nudger.nudge()
    assert first.wait(_LONG_S)
    for _ in range(100):
        nudger.nudge()
    nudger.close()
    assert len(sent) == 1 + 1


def test_who_nudges_while_one_is_sent_is_heard_by_another() -> None:
    began, goes_on = threading.Event(), threading.Semaphore(0)
    sent: list[int] = []

    def send() -> None:
        began.set()
        assert goes_on.acquire(timeout=_LONG_S)
        sent.append(1)

    nudger = Nudger(send, pause_s=0)
    nudger.nudge()
    assert began.wait(_LONG_S)
    nudger.nudge()
    goes_on.release(2)
    nudger.close()
    assert len(sent) == 2


@pytest.mark.parametrize("error", [RedisUnavailable("Redis does not answer."), ValueError("odd")])
def test_a_nudge_that_is_not_taken_is_not_the_last(error: Exception) -> None:
    tries: list[int] = []
    failed = threading.Event()

    def send() -> None:
        tries.append(1)
        if len(tries) == 1:
            failed.set()
            raise error

    nudger = Nudger(send, pause_s=0)
    nudger.nudge()
    assert failed.wait(_LONG_S)
    nudger.nudge()
    nudger.close()
    assert len(tries) == 2


def test_what_never_nudged_closes() -> None:
    Nudger(lambda: None).close()

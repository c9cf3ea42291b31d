"""A call's deadline, under a clock that the test moves, on connections of the kernel's."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.unit.workers.test_leases import Clock
from workers.watchdog import Call, Watchdog


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_late_call_is_cut_and_knows_it(pair: tuple[socket.socket, socket.socket]) -> None:
    clock = Clock()
    call = Call(clock)
    call.attach(pair[0])
    call.allow(5)
    seen = []
    for moment in (clock.now + 5, clock.now + 5.1):
        call.look(moment)
        seen.append(call.expired)
    assert seen == [False, True]
    assert pair[0].recv(1) == b""
    call.close()


def test_a_call_that_nobody_waits_on_is_never_late(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    call = Call(Clock())
    call.attach(pair[0])
    call.allow(5)
    call.pause()
    call.look(1e9)
    assert not call.expired
    call.close()


def test_a_connection_that_comes_after_the_deadline_is_cut_as_well(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    call = Call(Clock())
    call.allow(5)
    call.look(1e9)
    call.attach(pair[0])
    assert pair[1].recv(1) == b""
    call.close()


def test_a_watchdog_that_is_stopped_and_calls_that_are_forgotten_leave_nothing() -> None:
    watchdog = Watchdog()
    calls = [watchdog.open() for _ in range(3)]
    for call in calls:
        watchdog.forget(call)
        watchdog.forget(call)
    watchdog.stop()

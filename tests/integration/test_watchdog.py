"""A call's deadline and its cancellation, on connections of the kernel's; the test moves time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from tests.unit.workers.test_leases import Clock
from workers.watchdog import Call, Cancellation, Watchdog


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


def test_a_call_that_waits_anew_by_the_time_it_is_cut_is_not(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    clock = Clock()
    call = Call(clock)
    call.attach(pair[0])
    call.allow(5)

    class Late:
        """Comes to the lock when the caller has set its next deadline."""

        def __enter__(self) -> None:
            call.allow(100)

        def __exit__(self, *_: object) -> None:
            """Hold nothing."""

    call._lock = cast("threading.Lock", Late())
    call.look(clock.now + 6)
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


def test_a_cancellation_cuts_what_is_there_and_what_comes(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    cancellation = Cancellation()
    calls = [Call(Clock()) for _ in range(3)]
    calls[0].attach(pair[0])
    for call in calls[:2]:
        cancellation.cover(call)
    cancellation.abort()
    assert pair[0].recv(1) == b""
    cancellation.cover(calls[2])
    assert all(call.aborted and not call.expired for call in calls)

    ours, theirs = socket.socketpair()
    with ours, theirs:
        calls[2].attach(ours)
        assert theirs.recv(1) == b""
    for call in calls:
        call.close()


def test_a_call_that_is_over_is_out_of_reach(pair: tuple[socket.socket, socket.socket]) -> None:
    cancellation = Cancellation()
    call = Call(Clock())
    cancellation.cover(call)
    call.attach(pair[0])
    call.close()
    cancellation.abort()
    cancellation.abort()
    pair[1].sendall(b"x")
    assert pair[0].recv(1) == b"x"


def test_a_watchdog_that_is_stopped_and_calls_that_are_forgotten_leave_nothing() -> None:
    watchdog = Watchdog()
    calls = [watchdog.open() for _ in range(3)]
    for call in calls:
        watchdog.forget(call)
        watchdog.forget(call)
    watchdog.stop()

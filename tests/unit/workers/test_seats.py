"""Seats for connections: never more than are wanted, and who comes back goes first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from workers.ramp import Ramp
from workers.seats import Seats
from workers.watchdog import Cancellation


class Watched(Cancellation):
    """Tells when somebody has begun to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Event()

    def pause(self, seconds: float) -> None:
        self.waiting.set()
        super().pause(seconds)


def make_ramp(target: int) -> Ramp:
    ramp = Ramp(0.0, 1.0, lambda: target)
    ramp.ask(0.0)
    ramp.look(0.0, 0, 0)
    assert ramp.target == target
    return ramp


def test_there_are_as_many_seats_as_are_wanted() -> None:
    seats = Seats()
    assert [seats.take(2) for _ in range(3)] == [True, True, False]
    assert seats.take(3)
    seats.leave()
    seats.leave()
    assert seats.take(2)
    assert not seats.take(2)


def test_who_comes_back_goes_before_who_comes() -> None:
    seats, ramp, cancellation = Seats(), make_ramp(2), Watched()
    assert seats.take(2)
    assert seats.take(2)
    with ThreadPoolExecutor(1) as pool:
        # Two sat when it was refused, and one place is left.
        ramp.slow_down(2)
        returning = pool.submit(seats.return_later, 0.0, ramp, cancellation)
        assert cancellation.waiting.wait(10)
        assert not seats.take(10)
        assert not returning.done()
        seats.leave()
        assert returning.result(10)
    assert not seats.take(1)


def test_who_waits_for_a_seat_is_let_go_when_all_is_cancelled() -> None:
    seats, ramp, cancellation = Seats(), make_ramp(1), Cancellation()
    assert seats.take(2)
    assert seats.take(2)
    with ThreadPoolExecutor(1) as pool:
        returning = pool.submit(seats.return_later, 60.0, ramp, cancellation)
        cancellation.abort()
        assert returning.result(10) is False
    # The one who left sits nowhere, and nobody waits.
    assert seats.take(2)
    assert not seats.take(2)

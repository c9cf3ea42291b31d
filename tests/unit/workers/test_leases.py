"""A lease as its holder sees it, under a clock that the test moves."""

from __future__ import annotations

import pytest

from ingest.errors import LeaseLost
from tests.unit.workers.test_placement import make_lease
from workers.leases import HeldLease


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_holds_until_it_has_run_out_by_our_own_clock() -> None:
    clock = Clock()
    held = HeldLease(make_lease(1), clock, good_until=130.0)
    clock.now = 130.0
    held.check()
    clock.now = 130.001
    with pytest.raises(LeaseLost):
        held.check()


def test_a_lease_that_was_extended_holds_on() -> None:
    clock = Clock()
    held = HeldLease(make_lease(1), clock, good_until=130.0)
    held.good_until = 160.0
    clock.now = 150.0
    held.check()


def test_a_lease_that_was_taken_over_is_lost_at_once() -> None:
    held = HeldLease(make_lease(1), Clock(), good_until=130.0)
    held.lose()
    with pytest.raises(LeaseLost):
        held.check()


def test_progress_tells_bytes_total_and_mean_rate() -> None:
    clock = Clock()
    held = HeldLease(make_lease(1), clock, good_until=130.0)
    clock.now = 102.0
    held.report(500, 1000)
    transfer = held.transfer
    assert (transfer.transferred_bytes, transfer.total_bytes) == (500, 1000)
    assert transfer.rate_bps == pytest.approx(250)

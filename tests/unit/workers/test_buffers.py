"""Buffers: never more than the worker has, never none for who has none, used again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from workers.buffers import OWN_BUFFERS, BufferPool, Buffers

PART_BYTES = 16


def take_all(buffers: Buffers) -> list[bytearray]:
    """Take buffers until one would have to be waited for."""
    taken: list[bytearray] = []
    while (buffer := buffers.take_now()) is not None:
        taken.append(buffer)
    return taken


@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("parts_in_flight", [1, 2, 4])
def test_one_ingest_may_have_its_own_and_all_that_nobody_owns(
    slots: int, parts_in_flight: int
) -> None:
    pool = BufferPool(slots, parts_in_flight, PART_BYTES)
    with pool.open(PART_BYTES) as buffers:
        taken = take_all(buffers)
    assert len(taken) == OWN_BUFFERS + slots * (parts_in_flight + 1 - OWN_BUFFERS)
    assert len(taken) + (slots - 1) * OWN_BUFFERS == pool.count


def test_each_ingest_has_its_own_whatever_the_first_has_taken() -> None:
    pool = BufferPool(3, 2, PART_BYTES)
    with pool.open(PART_BYTES) as first, pool.open(8) as second, pool.open(8) as third:
        taken = [len(take_all(one)) for one in (first, second, third)]
    assert taken == [OWN_BUFFERS + 3, OWN_BUFFERS, OWN_BUFFERS]
    assert sum(taken) == pool.count


def test_what_one_had_borrowed_is_there_for_the_next() -> None:
    pool = BufferPool(2, 3, PART_BYTES)
    for _ in range(3):
        with pool.open(PART_BYTES) as buffers:
            taken = take_all(buffers)
            assert len(taken) == OWN_BUFFERS + 4
            for one in taken:
                buffers.give(one)


def test_memory_of_the_usual_size_is_used_again_and_no_other_is_kept() -> None:
    pool = BufferPool(1, 1, PART_BYTES)
    with pool.open(PART_BYTES) as buffers:
        usual = buffers.take()
        buffers.give(usual)
        assert buffers.take() is usual
        buffers.give(usual)
    with pool.open(PART_BYTES + 1) as buffers:
        other = buffers.take()
        assert len(other) == PART_BYTES + 1
        buffers.give(other)
    with pool.open(PART_BYTES) as buffers:
        assert buffers.take() is usual
        assert buffers.take() is not other


def test_what_was_not_given_back_is_not_given_out_again() -> None:
    pool = BufferPool(1, 1, PART_BYTES)
    with pool.open(PART_BYTES) as buffers:
        lost = buffers.take()
    with pool.open(PART_BYTES) as buffers:
        assert all(one is not lost for one in take_all(buffers))


def test_who_has_all_of_his_own_waits_until_one_is_given_back() -> None:
    pool = BufferPool(1, 1, PART_BYTES)
    got: list[bytearray] = []
    with pool.open(PART_BYTES) as buffers:
        first, _ = take_all(buffers)
        waiting = threading.Thread(target=lambda: got.append(buffers.take()))
        waiting.start()
        waiting.join(0.05)
        assert got == []
        buffers.give(first)
        waiting.join(10)
    assert got[0] is first


@dataclass
class Ingest:
    """One ingest's buffers, and those it has not given back."""

    buffers: Buffers
    out: list[bytearray] = field(default_factory=list)


class MixedIngests(RuleBasedStateMachine):
    """Ingests of all sizes come and go in a worker of three slots."""

    SLOTS, LONGEST_PART_BYTES = 3, 24

    def __init__(self) -> None:
        super().__init__()
        self.pool = BufferPool(self.SLOTS, 2, PART_BYTES)
        self.ingests: list[Ingest] = []

    @precondition(lambda self: len(self.ingests) < self.SLOTS)
    @rule(part_bytes=st.sampled_from([1, 15, PART_BYTES, PART_BYTES, 17, 24]))
    def begin(self, part_bytes: int) -> None:
        self.ingests.append(Ingest(self.pool.open(part_bytes)))

    @precondition(lambda self: self.ingests)
    @rule(choice=st.integers(0))
    def take(self, choice: int) -> None:
        one = self._choose(choice)
        taken = one.buffers.take_now()
        if taken is None:
            assert len(one.out) >= OWN_BUFFERS
        else:
            assert len(taken) == one.buffers.part_bytes
            one.out.append(taken)

    @precondition(lambda self: self.ingests)
    @rule(choice=st.integers(0))
    def give(self, choice: int) -> None:
        one = self._choose(choice)
        if one.out:
            one.buffers.give(one.out.pop())

    @precondition(lambda self: self.ingests)
    @rule(choice=st.integers(0), loses=st.booleans())
    def end(self, choice: int, *, loses: bool) -> None:
        one = self._choose(choice)
        self.ingests.remove(one)
        while one.out and not loses:
            one.buffers.give(one.out.pop())
        one.buffers.__exit__(None, None, None)

    @invariant()
    def what_is_out_and_what_is_idle_is_within_the_bound(self) -> None:
        held = list(self.pool._idle)
        for one in self.ingests:
            held += one.out + one.buffers._free
        assert len({id(buffer) for buffer in held}) == len(held)
        assert len(held) <= self.pool.count
        assert sum(map(len, held)) <= self.pool.count * self.LONGEST_PART_BYTES

    @invariant()
    def a_worker_that_is_idle_has_all_its_places(self) -> None:
        if not self.ingests:
            assert self.pool._spare == self.pool.count - self.SLOTS * OWN_BUFFERS

    def _choose(self, choice: int) -> Ingest:
        return self.ingests[choice % len(self.ingests)]


def test_ingests_of_all_sizes_in_any_order_stay_within_the_bound() -> None:
    run_state_machine_as_test(
        MixedIngests, settings=settings(max_examples=100, stateful_step_count=50, deadline=None)
    )


def test_memory_that_lies_idle_makes_room_for_other_sizes() -> None:
    pool = BufferPool(2, 1, PART_BYTES)
    with pool.open(PART_BYTES) as first, pool.open(PART_BYTES) as second:
        for one in (first, second):
            for buffer in take_all(one):
                one.give(buffer)
    assert len(pool._idle) == pool.count
    with pool.open(PART_BYTES - 1) as first, pool.open(PART_BYTES + 1) as second:
        assert len(take_all(first) + take_all(second)) == pool.count
        assert pool._idle == []

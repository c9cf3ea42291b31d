"""Buffers: never more than the worker has, never none for who has none, used again."""

from __future__ import annotations

import threading

import pytest

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

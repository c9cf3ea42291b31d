"""The tap in front of a worker's slots."""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from workers.slots import Slots


@dataclass
class Celery:
    """Celery's consumer and its loop, one turn at a time."""

    said: list[str] = field(default_factory=list)
    soon: list[Callable[[], None]] = field(default_factory=list)
    watched: dict[int, Callable[[], None]] = field(default_factory=dict)

    @property
    def hub(self) -> Celery:
        return self

    @property
    def task_consumer(self) -> Celery:
        return self

    def consume(self) -> None:
        self.said.append("consume")

    def cancel(self) -> None:
        self.said.append("cancel")

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def add_reader(self, fds: int, callback: Callable[[], None]) -> None:
        self.watched[fds] = callback

    def turn(self) -> None:
        while self.soon:
            self.soon.pop()()
        for one in select.select(list(self.watched), [], [], 0)[0]:
            self.watched[one]()


@pytest.fixture
def celery() -> Celery:
    return Celery()


@pytest.fixture
def slots(celery: Celery) -> Slots:
    made = Slots(2)
    made.watch(celery)
    celery.turn()
    return made


def test_the_tap_is_closed_by_the_last_slot_and_opened_by_the_first_that_is_free(
    slots: Slots, celery: Celery
) -> None:
    slots.take()
    assert (celery.said, slots.wants_more) == ([], True)
    slots.take()
    assert (celery.said, slots.wants_more) == (["cancel"], False)
    slots.free()
    # The other thread only asks for a turn.
    assert celery.said == ["cancel"]
    celery.turn()
    slots.free()
    celery.turn()
    assert celery.said == ["cancel", "consume"]
    assert slots.taken_count == 2


def test_a_new_connection_finds_the_tap_as_full_as_the_slots_are(slots: Slots) -> None:
    slots.take()
    slots.take()
    again = Celery()
    slots.watch(again)
    again.turn()
    assert again.said == ["cancel"]


def test_a_connection_is_given_up_in_the_loop_as_if_it_were_lost(
    slots: Slots, celery: Celery
) -> None:
    slots.reconnect()
    slots.take()
    with pytest.raises(ConnectionResetError):
        celery.turn()
    celery.turn()

"""When a worker counts as deaf, and what is done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from ingest.errors import RedisUnavailable
from storage.signals import INGEST_QUEUE, Signals
from workers.hearing import GIVE_UP_AFTER, RECONNECT_AFTER, Hearing


@dataclass
class Ward:
    """A worker and its Redis, as a test wants them."""

    queued: int | None = 1
    taken_count: int = 0
    wants_more: bool = True
    done: list[str] = field(default_factory=list)

    def count_queued(self, queue: str) -> int:
        assert queue == INGEST_QUEUE
        if self.queued is None:
            raise RedisUnavailable("Redis does not answer.")
        return self.queued

    def reconnect(self) -> None:
        self.done.append("reconnect")

    def give_up(self) -> None:
        self.done.append("give up")


@pytest.fixture
def ward() -> Ward:
    return Ward()


@pytest.fixture
def hearing(ward: Ward) -> Hearing:
    return Hearing(cast("Signals", ward), "ingest", ward, ward.give_up)


def test_who_takes_nothing_although_messages_wait_connects_anew_and_then_gives_up(
    ward: Ward, hearing: Hearing
) -> None:
    seen = []
    for _ in range(GIVE_UP_AFTER):
        hearing.look()
        seen.append(list(ward.done))
    assert seen[RECONNECT_AFTER - 2] == []
    assert seen[RECONNECT_AFTER - 1] == ["reconnect"]
    assert seen[GIVE_UP_AFTER - 2] == ["reconnect"]
    assert seen[GIVE_UP_AFTER - 1] == ["reconnect", "give up"]


@pytest.mark.parametrize(
    "state",
    [{"queued": 0}, {"queued": None}, {"wants_more": False}],
    ids=["idle", "no Redis", "full"],
)
def test_who_has_nothing_to_take_is_not_deaf(
    state: dict[str, int | bool | None], ward: Ward, hearing: Hearing
) -> None:
    for name, value in state.items():
        setattr(ward, name, value)
    for _ in range(5 * GIVE_UP_AFTER):
        hearing.look()
    assert ward.done == []


def test_one_message_that_was_taken_begins_the_count_anew(ward: Ward, hearing: Hearing) -> None:
    for _ in range(10):
        for _ in range(RECONNECT_AFTER - 1):
            hearing.look()
        ward.taken_count += 1
        hearing.look()
    assert ward.done == []

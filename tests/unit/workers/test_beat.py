"""The beat's loops: whatever becomes of a round, the next one comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from ingest.errors import DatabaseUnavailable, RedisUnavailable
from storage.signals import Signals
from workers.beat import Loop


@dataclass
class Told:
    """What a loop says through Redis."""

    silent: bool = False
    words: list[str] = field(default_factory=list)

    def report_beat(self, loop: str, ttl_s: float) -> None:
        assert ttl_s > 3
        if self.silent:
            raise RedisUnavailable("Redis does not answer.")
        self.words.append(loop)


@pytest.fixture
def told() -> Told:
    return Told()


def _make_loop(
    action: Callable[[], object], told: Told, stopped: threading.Event | None = None
) -> Loop:
    return Loop(
        "sweep",
        action,
        cast("Signals", told),
        stopped or threading.Event(),
        every_s=0.001,
    )


def test_a_round_that_fails_is_not_the_last_and_only_good_ones_are_told(told: Told) -> None:
    ends: Iterator[Exception | None] = iter(
        [
            DatabaseUnavailable("gone"),
            ValueError("a fault"),
            None,
            DatabaseUnavailable("gone"),
            None,
        ]
    )
    stopped = threading.Event()
    rounds = []

    def act() -> None:
        rounds.append(1)
        if len(rounds) == 5:
            stopped.set()
        error = next(ends)
        if error is not None:
            raise error

    _make_loop(act, told, stopped).run("beat-1")
    assert (len(rounds), told.words) == (5, ["sweep"] * 2)


def test_a_round_went_well_although_redis_does_not_hear_of_it(told: Told) -> None:
    told.silent = True
    assert _make_loop(lambda: None, told).go_round()

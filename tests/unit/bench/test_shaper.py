"""When bytes arrive at the end of a long, thin line."""

from __future__ import annotations

import pytest

from bench.shaper import Shape, Way

_SHAPE = Shape(rate_bps=1000, round_trip_s=0.04)


def test_bytes_take_their_time_and_half_a_round_trip() -> None:
    assert Way(_SHAPE, free_at=0).send(10.0, 500) == pytest.approx(10.52)


def test_what_follows_waits_until_the_line_is_free() -> None:
    way = Way(_SHAPE, free_at=0)
    way.send(10.0, 500)

    assert way.send(10.0, 500) == pytest.approx(11.02)


def test_an_idle_line_saves_nothing_up() -> None:
    way = Way(_SHAPE, free_at=0)
    way.send(10.0, 100)

    assert way.send(20.0, 1000) == pytest.approx(21.02)


def test_a_new_connection_shakes_hands_first() -> None:
    assert Way(_SHAPE, free_at=10.04).send(10.0, 0) == pytest.approx(10.06)

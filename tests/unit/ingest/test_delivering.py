"""W2: ten attempts at their times, and what a receiver's answer changes of that."""

from __future__ import annotations

import pytest

from ingest.delivering import DELAYS_S, JITTER, plan_next

HOUR_S = 3600.0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_only_a_2xx_arrives(status: int) -> None:
    plan = plan_next(status, 1)
    assert (plan.arrived, plan.retry_after_s, plan.disables, plan.pause_s) == (True, None, False, 0)


@pytest.mark.parametrize("status", [None, 101, 301, 302, 304, 307, 308, 400, 401, 404, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    plan = plan_next(status, 1, draw=lambda: 0.0)
    assert (plan.arrived, plan.retry_after_s, plan.disables) == (False, 5.0, False)
    assert plan.pause_s == 0


def test_ten_attempts_come_at_their_times() -> None:
    waits = [plan_next(500, made, draw=lambda: 0.0).retry_after_s for made in range(1, 10)]
    assert waits == list(DELAYS_S[1:])
    assert [wait and wait / HOUR_S for wait in waits[3:]] == [2, 5, 10, 14, 20, 24]
    assert plan_next(500, 10).retry_after_s is None
    assert plan_next(500, 11).retry_after_s is None


@pytest.mark.parametrize("made", range(1, 10))
def test_a_wait_is_spread_and_never_shorter(made: int) -> None:
    draws = iter((0.0, 0.5, 0.999))
    drawn = [plan_next(None, made, draw=lambda: next(draws)).retry_after_s for _ in range(3)]
    base = DELAYS_S[made]
    assert drawn == pytest.approx([base, base * (1 + JITTER / 2), base * (1 + JITTER * 0.999)])


def test_gone_is_gone() -> None:
    plan = plan_next(410, 1)
    assert (plan.arrived, plan.retry_after_s, plan.disables) == (False, None, True)


@pytest.mark.parametrize("status", [429, 502, 504])
def test_a_busy_receiver_is_left_alone_by_all(status: int) -> None:
    assert plan_next(status, 1).pause_s == 60
    assert plan_next(status, 1, retry_after_s=300).pause_s == 300
    assert plan_next(status, 10).pause_s == 60


@pytest.mark.parametrize(
    ("said", "made", "wait"),
    [(0, 1, 5), (2, 1, 5), (100, 1, 100), (7200, 3, 7200), (10**9, 1, 24 * HOUR_S)],
)
def test_who_says_when_to_come_again_is_believed_up_to_a_day(
    said: float, made: int, wait: float
) -> None:
    for status in (429, 503):
        plan = plan_next(status, made, retry_after_s=said, draw=lambda: 0.0)
        assert plan.retry_after_s == wait

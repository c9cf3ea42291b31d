"""The table of moves, written out a second time so that a change to it is a decision."""

from __future__ import annotations

import itertools

import pytest

from ingest.states import ENDED, TRANSITIONS, Status, find_sources

ALLOWED = {
    ("pending", "processing"),
    ("pending", "cancelled"),
    ("processing", "complete"),
    ("processing", "failed"),
    ("processing", "cancelled"),
    ("processing", "pending"),
    ("failed", "pending"),
    ("cancelled", "pending"),
}


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(Status, Status)), ids=lambda status: status.value
)
def test_a_move_is_allowed_if_and_only_if_it_is_drawn(before: Status, after: Status) -> None:
    allowed = (before.value, after.value) in ALLOWED
    assert (after in TRANSITIONS[before]) is allowed
    assert (before in find_sources(after)) is allowed


def test_every_state_has_a_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_what_ended_moves_only_when_a_person_asks_again() -> None:
    for status in ENDED:
        assert TRANSITIONS[status] <= {Status.PENDING}


def test_what_is_complete_stays_complete() -> None:
    assert TRANSITIONS[Status.COMPLETE] == frozenset()


def test_a_task_ends_only_from_an_open_state() -> None:
    for status in ENDED:
        assert not find_sources(status) & ENDED


def test_only_a_claim_makes_a_task_process() -> None:
    assert find_sources(Status.PROCESSING) == {Status.PENDING}


def test_every_open_state_can_be_cancelled() -> None:
    assert find_sources(Status.CANCELLED) == set(Status) - ENDED


def test_the_table_cannot_be_changed_while_running() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[Status.COMPLETE] = frozenset(Status)  # type: ignore[index]

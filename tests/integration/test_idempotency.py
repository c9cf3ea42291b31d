"""Keys of requests on real PostgreSQL: one request has one, and its answer is kept for a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from ingest.config import Settings
from ingest.model import Project
from storage.objects.memory import MemoryObjectStore
from storage.records import idempotency
from storage.records.database import Database
from storage.records.idempotency import Busy, IdempotencyKey, Kept, Mine
from storage.signals import Signals
from workers.sweep import Sweeper

ASKED, ANOTHER = b"a" * 32, b"b" * 32
ANSWER = Kept(ASKED, 201, {"Location": "/x"}, b"{}", is_sealed=False)


@pytest.fixture
def mine(project: Project) -> IdempotencyKey:
    return IdempotencyKey(project.id, "key-1", "req_1")


def _take(
    records: Database, mine: IdempotencyKey, fingerprint: bytes = ASKED, lease_s: float = 60
) -> Mine | Kept | Busy:
    with records.transaction() as connection:
        return idempotency.take(connection, mine, fingerprint, lease_s)


def _keep(records: Database, mine: IdempotencyKey) -> None:
    with records.transaction() as connection:
        idempotency.keep(connection, mine, ANSWER)


def test_one_request_has_a_key_and_its_answer_is_for_all(
    records: Database, mine: IdempotencyKey
) -> None:
    other = replace(mine, request_id="req_2")
    assert _take(records, mine) == Mine(None)
    assert _take(records, other) == Busy(ASKED)
    assert _take(records, other, ANOTHER) == Busy(ASKED)
    _keep(records, other)
    assert _take(records, other) == Busy(ASKED)
    _keep(records, mine)
    assert _take(records, other) == ANSWER
    assert _take(records, other, ANOTHER) == ANSWER
    assert _take(records, replace(other, key="key-2"), ANOTHER) == Mine(None)


def test_whoever_comes_after_one_that_died_finds_what_it_made(
    records: Database, mine: IdempotencyKey
) -> None:
    other = replace(mine, request_id="req_2")
    assert _take(records, mine, lease_s=-1) == Mine(None)
    with records.transaction() as connection:
        assert idempotency.note_made(connection, mine, "task_1")
    assert _take(records, other, ANOTHER) == Busy(ASKED)
    assert _take(records, other) == Mine("task_1")
    with records.transaction() as connection:
        assert not idempotency.note_made(connection, mine, "task_2")
    _keep(records, mine)
    assert _take(records, mine) == Busy(ASKED)


@pytest.mark.parametrize("made", [None, "task_1"])
def test_a_request_that_came_to_nothing_lets_the_next_one_be_answered(
    made: str | None, records: Database, mine: IdempotencyKey
) -> None:
    assert _take(records, mine) == Mine(None)
    with records.transaction() as connection:
        if made is not None:
            idempotency.note_made(connection, mine, made)
        idempotency.let_go(connection, mine)
    assert _take(records, replace(mine, request_id="req_2")) == Mine(made)


def test_answers_are_forgotten_after_a_day(
    records: Database, mine: IdempotencyKey, signals: Signals, settings: Settings
) -> None:
    young = replace(mine, key="key-2")
    for one in (mine, young):
        _take(records, one)
        _keep(records, one)
    with records.transaction() as connection:
        age = text("UPDATE idempotency_keys SET created = now() - :age WHERE key = 'key-1'")
        connection.execute(age, {"age": timedelta(hours=24, seconds=1)})
    sweeper = Sweeper(records, signals, MemoryObjectStore(), settings)
    assert (sweeper.forget_keys(), sweeper.forget_keys()) == (1, 0)
    assert _take(records, young) == ANSWER
    assert _take(records, mine) == Mine(None)

"""The pool, its limits, and questions that go to psycopg, on real PostgreSQL."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import (
    ARRAY,
    Connection,
    String,
    bindparam,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError, NoResultFound

from ingest.config import Settings
from ingest.errors import DatabaseUnavailable
from storage.migrations import migrate
from storage.records import projects
from storage.records.asking import ask, ask_one, write_query
from storage.records.database import Database
from storage.records.tables import tasks as table
from tests.integration.examples import MakeTask
from tests.support.waiting import wait_until

ONE = write_query("SELECT 1 AS one")
NOTHING = write_query("SELECT 1 AS one WHERE false")
PID = write_query("SELECT pg_backend_pid() AS pid")


def test_a_database_that_is_not_there_is_unavailable_within_seconds(closed_port: int) -> None:
    url = f"postgresql+psycopg://user:secret@127.0.0.1:{closed_port}/none"
    database = Database(url)
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as caught:
        database.check()
    with pytest.raises(DatabaseUnavailable):
        migrate(url)
    assert time.monotonic() - began < 5
    assert "secret" not in str(caught.value)
    database.close()


def test_a_connection_that_died_in_the_pool_is_noticed(records_url: str) -> None:
    database = Database(records_url, pool_size=1, trusted_s=0)
    database.check()
    killer = Database(records_url, pool_size=1)
    with killer.transaction() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    database.check()
    for one in (database, killer):
        one.close()


def test_one_that_broke_under_a_question_takes_the_trust_from_all(records_url: str) -> None:
    database = Database(records_url, pool_size=2, trusted_s=60)
    killer = Database(records_url, pool_size=1)
    with database.look() as one, database.look() as another:
        pids = [ask_one(it, PID, {}).pid for it in (one, another)]
    with killer.look() as connection:
        for pid in pids:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    with pytest.raises(DatabaseUnavailable), database.look() as connection:
        ask_one(connection, ONE, {})
    with database.look() as connection:
        assert ask_one(connection, ONE, {}).one == 1
    for it in (database, killer):
        it.close()


def test_of_two_transactions_that_wait_for_each_other_one_is_told_to_come_again(
    records: Database,
) -> None:
    both_hold_one = threading.Barrier(2)
    lock = text("SELECT pg_advisory_xact_lock(:number)")

    def take(first: int, second: int) -> str:
        try:
            with records.transaction() as connection:
                connection.execute(lock, {"number": first})
                both_hold_one.wait(10)
                connection.execute(lock, {"number": second})
        except DatabaseUnavailable as error:
            return error.message
        return "done"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(take, (1, 2), (2, 1)))
    assert sorted(outcomes) == ["PostgreSQL did not get to it in time.", "done"]


def test_a_question_without_an_answer_has_none(connection: Connection) -> None:
    assert ask(connection, NOTHING, {}) is None
    with pytest.raises(NoResultFound):
        ask_one(connection, NOTHING, {})


def test_what_is_given_twice_and_what_has_a_type_reach_the_server_as_they_are(
    connection: Connection,
) -> None:
    asked = text("""
        SELECT :word || ', ' || :word || ' 100%' AS said, array_length(:words, 1) AS count,
            '://' AS way
    """).bindparams(bindparam("words", type_=ARRAY(String)), bindparam("word", type_=String))
    row = ask_one(connection, write_query(asked), {"words": ["a", "b"], "word": "x", "more": 1})
    assert (row.said, row.count, row.way) == ("x, x 100%", 2, "://")


def test_a_connection_that_was_in_use_a_moment_ago_is_not_asked_whether_it_lives(
    records_url: str, records: Database
) -> None:
    def read_last_query(database: Database) -> str:
        with database.transaction() as connection:
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with database.transaction():
            pass
        # Nothing is said in an empty transaction; a ping is an empty query.
        with records.transaction() as connection:
            query = text("SELECT query FROM pg_stat_activity WHERE pid = :pid")
            return str(connection.execute(query, {"pid": pid}).scalar_one())

    for trusted_s, pings in ((60.0, False), (0.0, True)):
        database = Database(records_url, pool_size=1, trusted_s=trusted_s)
        assert (read_last_query(database) == "") is pings
        database.close()


def test_a_statement_that_takes_too_long_is_ended(
    monkeypatch: pytest.MonkeyPatch, records_url: str
) -> None:
    monkeypatch.setattr("storage.records.database.STATEMENT_TIMEOUT_MS", 200)
    database = Database(records_url)
    with pytest.raises(DatabaseUnavailable), database.transaction() as connection:
        connection.execute(text("SELECT pg_sleep(5)"))
    database.check()
    database.close()


def test_who_falls_asleep_in_a_transaction_keeps_no_row_from_others(
    records_url: str, records: Database, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.records.database.IDLE_TIMEOUT_MS", 200)
    task = make_task()
    sleeper = Database(records_url)

    def count_free() -> int:
        with records.transaction() as connection:
            free = select(table.c.id).where(table.c.id == task.id)
            return len(connection.execute(free.with_for_update(skip_locked=True)).all())

    def sleep_on_it() -> None:
        with sleeper.transaction() as connection:
            connection.execute(update(table).where(table.c.id == task.id).values(ref="asleep"))
            # As a sweep finds it while a worker is frozen between two of its statements.
            assert count_free() == 0
            wait_until(lambda: count_free() == 1, "the row to be let go of", 10)
            connection.execute(select(table.c.id))

    with pytest.raises(DatabaseUnavailable):
        sleep_on_it()
    with sleeper.transaction() as connection:
        ref = connection.execute(select(table.c.ref).where(table.c.id == task.id)).scalar_one()
    assert ref is None
    sleeper.close()


def test_more_callers_than_connections_are_told_within_seconds(records_url: str) -> None:
    database = Database(records_url, pool_size=1)
    with database.transaction(), database.transaction():
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            database.check()
        assert time.monotonic() - began < 4
    database.check()
    database.close()


def test_a_mistake_of_our_own_is_not_taken_for_an_outage(connection: Connection) -> None:
    project = projects.ensure_project(connection, "tests", "prefix")
    with pytest.raises(IntegrityError), connection.begin_nested():
        connection.execute(text("INSERT INTO projects SELECT * FROM projects"))
    assert projects.ensure_project(connection, "tests", "prefix") == project


def test_of_the_connections_that_are_free_the_one_used_last_is_taken(settings: Settings) -> None:
    database = Database(settings.sqlalchemy_url, pool_size=2)

    def read_pid(connection: Connection) -> int:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    try:
        with database.look() as first, database.look() as second:
            assert read_pid(first) != read_pid(second)
            last = read_pid(first)
        for _ in range(3):
            with database.look() as connection:
                assert read_pid(connection) == last
    finally:
        database.close()

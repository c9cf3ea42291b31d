"""A database and a Redis of these tests' own: on the stack's servers, out of its roles' sight."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, text

from cli.postgres import create_database
from ingest.config import Settings, make_sqlalchemy_url
from ingest.model import Lease, Order, Project, Task
from storage.migrations import migrate
from storage.records import claims, projects, tasks
from storage.records.database import Database
from storage.records.tables import metadata
from storage.signals import Signals
from tests.integration.examples import Claim, MakeTask, find_spare_redis
from tests.support.origin import Origin
from tests.support.waiting import await_next_millisecond
from workers.egress import Egress, Policy


def replace_database(settings: Settings, name: str) -> str:
    """Return the URL of another database on the stack's PostgreSQL."""
    return settings.database_url.get_secret_value().rpartition("/")[0] + f"/{name}"


@pytest.fixture(scope="session")
def make_empty_database(settings: Settings) -> Callable[[], str]:
    """Makes a database without tables; returns its SQLAlchemy URL."""

    def make() -> str:
        name = f"tests_{secrets.token_hex(4)}"
        create_database(replace_database(settings, "postgres"), name)
        return make_sqlalchemy_url(replace_database(settings, name))

    return make


@pytest.fixture(scope="session")
def records_url(make_empty_database: Callable[[], str]) -> str:
    """A database with tables and nothing in them."""
    url = make_empty_database()
    migrate(url)
    return url


@pytest.fixture(scope="session")
def opened_records(records_url: str) -> Iterator[Database]:
    """The pool to it."""
    opened = Database(records_url, pool_size=12)
    yield opened
    opened.close()


@pytest.fixture
def records(opened_records: Database) -> Database:
    """The database, empty."""
    with opened_records.transaction() as connection:
        names = ", ".join(table.name for table in metadata.sorted_tables)
        connection.execute(text(f"TRUNCATE {names}"))
    return opened_records


@pytest.fixture
def connection(records: Database) -> Iterator[Connection]:
    """An open transaction on it, which commits in the end."""
    with records.transaction() as opened:
        yield opened


@pytest.fixture
def signals(settings: Settings) -> Iterator[Signals]:
    """A Redis database that the stack does not use, empty."""
    url = find_spare_redis(settings)
    opened = Signals(url)
    opened._redis.flushdb()
    yield opened
    opened.close()


@pytest.fixture
def project(records: Database) -> Project:
    """A project."""
    with records.transaction() as connection:
        return projects.ensure_project(connection, "tests", "prefix")


@pytest.fixture
def make_task(records: Database, project: Project) -> MakeTask:
    """Makes a pending task, named if a filename is given; later ones have higher ids."""

    def make(
        filename: str | None = None,
        *,
        url: str = "http://source.invalid/a",
        max_attempts: int = 5,
        woken: bool = False,
    ) -> Task:
        order = Order(url, "folder", filename, None, None, None, None)
        await_next_millisecond()
        with records.transaction() as connection:
            return tasks.create(
                connection,
                project,
                order,
                object_key=None if filename is None else f"prefix/folder/{filename}",
                max_attempts=max_attempts,
                request_id="req_tests",
                woken=woken,
            )

    return make


@pytest.fixture
def claim(records: Database) -> Claim:
    """Claims a task; a negative lease has run out already."""

    def take(task: Task, worker: str = "worker-1", lease_s: float = 60) -> Lease:
        with records.look() as connection:
            lease = claims.claim(connection, task.id, worker, lease_s)
        assert lease is not None
        return lease

    return take


@pytest.fixture
def egress(origin: Origin) -> Iterator[Egress]:
    """A door to the origin alone, for many connections."""
    opened = Egress(Policy(5, 30, frozenset({f"127.0.0.1:{origin.port}"})), pool_size=8)
    yield opened
    opened.close()


@pytest.fixture
def executor() -> Iterator[Executor]:
    """Threads enough for any number of them."""
    with ThreadPoolExecutor(16) as running:
        yield running

"""The door to PostgreSQL: a pool, and transactions whose failures speak our own language.

Invariants: every statement, every wait for a lock and every pause within a transaction runs under a
time limit of the server's; a server that vanished from the network, or hangs, is noticed within
seconds; a connection that died in the pool is noticed before it is used, unless it was in use a
moment ago.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from ingest.errors import DatabaseUnavailable

CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT_MS = 10_000
LOCK_TIMEOUT_MS = 5_000
# A process that is frozen between two statements must not keep its rows from the sweep for ever.
IDLE_TIMEOUT_MS = 5_000
# For a server that hangs without a word: its own limits end nothing then, and its kernel still
# answers for it. A ping is answered at once by any other.
_PING_LIMIT_S = 2.0
_STATEMENT_LIMIT_S = STATEMENT_TIMEOUT_MS / 1000 + 1
_USED = "used"
# query_canceled (by statement_timeout), lock_not_available, and deadlock_detected: who came second
# to what it needs, and can come again.
_LATE = frozenset({"57014", "55P03", "40P01"})
# idle_in_transaction_session_timeout.
_ENDED_IDLE = "25P03"
# undefined_table, undefined_column and undefined_function.
_ANOTHER_SCHEMA = frozenset({"42P01", "42703", "42883"})
_OF_ANOTHER_VERSION = "The database has not the schema of this version; run `headrace migrate`."


T = TypeVar("T")


class _BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than its limits; `Any` is psycopg's row."""

    limit_s = _STATEMENT_LIMIT_S

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Consume a generator of psycopg's, as its own `wait` does."""
        try:
            return super().wait(gen, interval, self.limit_s if timeout is None else timeout)
        except errors._WaitTimeout:  # noqa: SLF001 - psycopg raises it, and gave it no other name
            # What state the connection is in will never be known.
            self.pgconn.finish()
            raise

    def ping(self) -> None:
        """Make sure that the server answers; raises psycopg's errors."""
        self.limit_s = _PING_LIMIT_S
        try:
            # In no transaction, and without the words that would open one.
            self.autocommit = True
            self.execute("")
            self.autocommit = False
        finally:
            self.limit_s = _STATEMENT_LIMIT_S


class Database:
    """A pool of connections to one database; safe to share between threads, not between processes.

    Args:
        url: a SQLAlchemy URL (:attr:`ingest.config.Settings.sqlalchemy_url`).
        pool_size: connections kept; as many again may be opened for a while.
        trusted_s: how long a connection that has answered need not be asked whether it does.
    """

    def __init__(self, url: str, *, pool_size: int = 5, trusted_s: float = 0.1) -> None:
        self._trusted_s = trusted_s
        # Whoever was used before that may have failed with it.
        self._failed = -math.inf
        self._engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_recycle=1800,
            # Of more connections than are needed, each would lie idle long enough to be pinged.
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": f"-c timezone=UTC -c statement_timeout={STATEMENT_TIMEOUT_MS}"
                f" -c lock_timeout={LOCK_TIMEOUT_MS}"
                f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_MS}",
                # The server keeps the time limits above; these are for a server that vanished.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
                "application_name": "headrace",
            },
        )

        event.listen(self._engine, "do_connect", _connect)
        event.listen(self._engine, "checkout", self._check_idle)
        event.listen(self._engine, "checkin", _note_use)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction; it commits when the block ends and rolls back when it raises.

        Raises:
            DatabaseUnavailable: the server cannot be reached, went away in between, or lacks a
                table, a column or a function, as before a migration.
        """
        with self._translate(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Open a connection on which each statement is a transaction of its own.

        For one that needs no other: it is one way to the server and back, and not three.

        Raises:
            DatabaseUnavailable: as for :meth:`transaction`.
        """
        with self._translate(), self._engine.connect() as connection:
            # Past SQLAlchemy's isolation levels, which cost a quarter of such a statement.
            driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]  # it knows no driver
            driver.autocommit = True
            try:
                yield connection
            finally:
                if not driver.closed:
                    driver.autocommit = False

    def check(self) -> None:
        """Ask the server for a sign of life, and whether it has what every claim needs.

        Raises:
            DatabaseUnavailable: there was none, or the database was never migrated, or not to this
                version.
        """
        # The youngest of what a claim needs.
        query = text("SELECT to_regclass('tasks'), to_regproc('count_running_of_project')")
        with self.transaction() as connection:
            table, function = connection.execute(query).one()
        if table is None:
            raise DatabaseUnavailable("The database has no tables yet; run `headrace migrate`.")
        if function is None:
            raise DatabaseUnavailable(_OF_ANOTHER_VERSION)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()

    def _check_idle(
        self,
        connection: _BoundedConnection,
        record: ConnectionPoolEntry,
        fairy: PoolProxiedConnection,
    ) -> None:
        """Ping a connection that lay in the pool; SQLAlchemy takes a fresh one where that fails."""
        del fairy
        used = record.info.get(_USED, math.inf)
        if used > self._failed and time.monotonic() - used < self._trusted_s:
            return
        try:
            connection.ping()
        except psycopg.Error as error:
            # The others are of the same age.
            raise InvalidatePoolError from error

    @contextmanager
    def _translate(self) -> Iterator[None]:
        """Say what PostgreSQL's errors mean in our own, psycopg's and SQLAlchemy's of them."""
        try:
            yield
        except PoolTimeout as error:
            raise DatabaseUnavailable("All connections to PostgreSQL are in use.") from error
        except (DBAPIError, psycopg.Error) as error:
            told = self._explain(error)
            if told is None:
                raise
            raise DatabaseUnavailable(told) from error

    def _explain(self, error: DBAPIError | psycopg.Error) -> str | None:
        """Return what an error says of the server, None if it is a mistake of our own."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        if state in _LATE:
            return "PostgreSQL did not get to it in time."
        if state in _ANOTHER_SCHEMA:
            return _OF_ANOTHER_VERSION
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            self._failed = time.monotonic()
            return "PostgreSQL does not answer."
        if state == _ENDED_IDLE or (isinstance(error, DBAPIError) and error.connection_invalidated):
            return "PostgreSQL closed the connection."
        return None


def _connect(
    dialect: object, record: object, arguments: list[Any], options: dict[str, Any]
) -> _BoundedConnection:
    del dialect, record
    return _BoundedConnection.connect(*arguments, **options)


def _note_use(connection: _BoundedConnection | None, record: ConnectionPoolEntry) -> None:
    del connection
    record.info[_USED] = time.monotonic()

"""What is asked with nearly every request, handed to psycopg as it stands.

SQLAlchemy's way from a statement to a row costs a request more than everything else that is done
for it: four times what psycopg and the wire take for a row of ``tasks``. Its pool, its transactions
and the limits of ``database`` hold here as for any other statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from psycopg import Connection as DriverConnection
from psycopg import RawCursor
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import NoResultFound


@dataclass(frozen=True, slots=True)
class Query:
    """A statement in PostgreSQL's own form, ``$1`` for the first of ``names``.

    In psycopg's form it would be taken apart with each use: those of more than 4 KiB it does not
    keep.
    """

    statement: bytes
    names: tuple[str, ...]


class NamedRow(Protocol):
    """A row, of this module or of SQLAlchemy's, by the names of its columns."""

    def __getattr__(self, name: str) -> Any:  # a value of the column's type
        """Return a column's value."""


def write_query(statement: str | TextClause) -> Query:
    """Return a statement, ``:name`` for what is given, with a cast where a parameter has a type.

    Values go to psycopg as they are then: JSON is to be wrapped.
    """
    clause = text(statement) if isinstance(statement, str) else statement
    dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # it has no annotations
    compiled = clause.compile(dialect=dialect)
    return Query(str(compiled).encode(), tuple(compiled.positiontup or ()))


def ask(connection: Connection, query: Query, given: Mapping[str, object]) -> NamedRow | None:
    """Run one statement that returns one row at most, in the transaction of a connection.

    Args:
        given: values that psycopg knows the types of; JSON is wrapped.

    Raises:
        psycopg.Error: as it came; :class:`storage.records.database.Database` knows it.
    """
    return _run(connection, query, given).fetchone()


def ask_one(connection: Connection, query: Query, given: Mapping[str, object]) -> NamedRow:
    """Run one statement that returns one row, as :func:`ask` does."""
    row = ask(connection, query, given)
    if row is None:
        raise NoResultFound
    return row


def ask_all(
    connection: Connection, query: Query, given: Mapping[str, object]
) -> Sequence[NamedRow]:
    """Run one statement that returns any number of rows, as :func:`ask` does."""
    return _run(connection, query, given).fetchall()


def _run(connection: Connection, query: Query, given: Mapping[str, object]) -> RawCursor[NamedRow]:
    driver = cast("DriverConnection[Any]", connection.connection.driver_connection)
    cursor = RawCursor(driver, row_factory=namedtuple_row)
    cursor.execute(query.statement, [given[name] for name in query.names])
    # mypy does not see that a NamedTuple answers to the names of its columns.
    return cast("RawCursor[NamedRow]", cursor)

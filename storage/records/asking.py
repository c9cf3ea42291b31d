"""What is asked with nearly every request, handed to psycopg as it stands.

SQLAlchemy's way from a statement to a row costs a request more than everything else that is done
for it: four times what psycopg and the wire take for a row of ``tasks``. Its pool, its transactions
and the limits of ``database`` hold here as for any other statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, TextClause
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import NoResultFound

if TYPE_CHECKING:
    from psycopg import Connection as DriverConnection
    from psycopg import Cursor


class NamedRow(Protocol):
    """A row, of this module or of SQLAlchemy's, by the names of its columns."""

    def __getattr__(self, name: str) -> Any:  # a value of the column's type
        """Return a column's value."""


def write_query(statement: TextClause) -> bytes:
    """Return a statement in psycopg's form, with a cast for each type that a parameter was given.

    Values go to psycopg as they are then: JSON is to be wrapped.
    """
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # it has no annotations
    return str(statement.compile(dialect=dialect)).encode()


def ask(connection: Connection, query: bytes, given: Mapping[str, object]) -> NamedRow | None:
    """Run one statement that returns one row at most, in the transaction of a connection.

    Args:
        query: in psycopg's form, ``%(name)s`` for what is given.
        given: values that psycopg knows the types of; JSON is wrapped.

    Raises:
        psycopg.Error: as it came; :class:`storage.records.database.Database` knows it.
    """
    with _open(connection) as cursor:
        return cursor.execute(query, given).fetchone()


def ask_one(connection: Connection, query: bytes, given: Mapping[str, object]) -> NamedRow:
    """Run one statement that returns one row, as :func:`ask` does."""
    row = ask(connection, query, given)
    if row is None:
        raise NoResultFound
    return row


def ask_all(
    connection: Connection, query: bytes, given: Mapping[str, object]
) -> Sequence[NamedRow]:
    """Run one statement that returns any number of rows, as :func:`ask` does."""
    with _open(connection) as cursor:
        return cursor.execute(query, given).fetchall()


def _open(connection: Connection) -> Cursor[NamedRow]:
    driver = cast("DriverConnection[Any]", connection.connection.driver_connection)
    # mypy does not see that a NamedTuple answers to the names of its columns.
    return cast("Cursor[NamedRow]", driver.cursor(row_factory=namedtuple_row))

"""The database as the commands for operators use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.problems import CommandProblem, ExitCode, Unreachable
from cli.target import find_database_url
from ingest.config import make_sqlalchemy_url
from ingest.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingest.model import Project


class NoSuchProject(CommandProblem):
    """There is no such project."""

    exit_code = ExitCode.REFUSED


@contextmanager
def open_database() -> Iterator[Connection]:
    """Yield a transaction on the database of the settings or of the running stack.

    Raises:
        Unreachable: PostgreSQL does not answer.
    """
    from storage.records.database import Database

    database = Database(make_sqlalchemy_url(find_database_url()), pool_size=1)
    try:
        with database.transaction() as connection:
            yield connection
    except DatabaseUnavailable as error:
        raise Unreachable(f"{error.message} Check HEADRACE_DATABASE_URL.") from None
    finally:
        database.close()


def choose_project(connection: Connection, name: str | None) -> Project:
    """Return a project by its name or its id; without one the default project.

    Raises:
        NoSuchProject: there is none of this name.
    """
    from storage.records import projects

    if name is None:
        return projects.ensure_project(connection)
    found = projects.find_project(connection, name)
    if found is None:
        raise NoSuchProject(f"There is no project '{name}'. See `headrace projects list`.")
    return found

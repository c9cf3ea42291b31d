"""The stack's project and the key that speaks for it.

Invariant: the key kept in the home is one that the database still takes; otherwise a new one is
made, so a revoked key or an emptied database never leaves a stack that nobody can use.
"""

from __future__ import annotations

from cli.home import Home
from ingest.access import Scope
from ingest.config import Settings

_KEY_NAME = "local stack"


def ensure_key(home: Home, settings: Settings) -> str:
    """Return a working key, making the project, the key and the home's copy where missing.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
    """
    from storage.records import keys, projects
    from storage.records.database import Database

    database = Database(settings.sqlalchemy_url, pool_size=1)
    try:
        with database.transaction() as connection:
            kept = home.read_key()
            if kept is not None and keys.find_access(connection, kept) is not None:
                return kept
            project = projects.ensure_project(connection)
            _, secret = keys.create_key(connection, project.id, _KEY_NAME, scopes=Scope)
        home.write_private("key", secret + "\n")
    finally:
        database.close()
    return secret

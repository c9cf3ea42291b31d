"""Alembic's migrations, and the one call that runs them.

The schema has no other maker: `headrace up`, the tests and production all migrate.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import OperationalError

from ingest.errors import DatabaseUnavailable


def make_config(url: str) -> Config:
    """Return Alembic's configuration for a SQLAlchemy URL."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config


def migrate(url: str) -> None:
    """Bring a database to the newest schema; safe to call by several processes at once.

    Args:
        url: a SQLAlchemy URL (:attr:`ingest.config.Settings.sqlalchemy_url`).

    Raises:
        DatabaseUnavailable: the server cannot be reached.
    """
    try:
        command.upgrade(make_config(url), "head")
    except OperationalError as error:
        raise DatabaseUnavailable("PostgreSQL does not answer; nothing was migrated.") from error

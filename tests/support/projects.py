"""Projects that are a test's own, each with a key and a place in the bucket."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from ingest.access import USUAL_SCOPES, Scope
from ingest.model import Limits, Project
from storage.records import keys, projects
from storage.records.database import Database


def make_project(
    database: Database,
    *,
    scopes: Iterable[Scope] = USUAL_SCOPES,
    limits: Limits | None = None,
) -> tuple[Project, str]:
    """Make a new, empty project; return it and the secret of a key that has these scopes in it."""
    name = f"project-{secrets.token_hex(4)}"
    with database.transaction() as connection:
        project = projects.create_project(connection, name, name, limits or Limits())
        _, secret = keys.create_key(connection, project.id, "tests", scopes=scopes)
    return project, secret

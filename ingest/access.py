"""Who may do what: the scopes of a key, and the access it gives to its project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ingest.model import Project


class Scope(StrEnum):
    """What a key may do in its project.

    ``read`` looks at tasks and files; ``write`` makes, changes and deletes them; ``admin`` does
    all of that and keeps the project's keys.
    """

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Access:
    """What one key opens. ``is_full``: the project stores as much as it may."""

    project: Project
    key_id: str
    scopes: frozenset[Scope]
    is_full: bool = False

    def may(self, scope: Scope) -> bool:
        """Return whether the key has this scope, by its name or as an admin's."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown: the secret itself is kept nowhere.

    ``last_used`` is right to a minute; ``expires`` is when the key ends by itself.
    """

    id: str
    project_id: str
    name: str
    shown_prefix: str
    scopes: tuple[Scope, ...]
    created: datetime
    last_used: datetime | None
    expires: datetime | None
    revoked: datetime | None


# What a key can do that nobody has said more of: all but keeping keys.
USUAL_SCOPES = (Scope.READ, Scope.WRITE)


def sort_scopes(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return each scope once, the weaker ones first."""
    given = set(scopes)
    return tuple(scope for scope in Scope if scope in given)

"""Who asks: a bearer key, and the project it speaks for.

No key, a wrong key, a revoked key and a malformed header get one and the same answer.
"""

from __future__ import annotations

from flask import g, request

from api.services import get_services
from ingest.errors import Unauthorized
from ingest.model import Project
from storage.records import keys

_REFUSAL = "Send a valid key as 'Authorization: Bearer <key>'."
_LONGEST_KEY = 256


def require_project() -> Project:
    """Return the project of the key this request carries.

    Raises:
        Unauthorized: there is none.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or len(secret) > _LONGEST_KEY:
        raise Unauthorized(_REFUSAL)
    with get_services().database.transaction() as connection:
        project = keys.find_project_by_secret(connection, secret)
    if project is None:
        raise Unauthorized(_REFUSAL)
    g.project = project
    return project


def get_project() -> Project:
    """Return the project that :func:`require_project` found for this request."""
    project: Project = g.project
    return project

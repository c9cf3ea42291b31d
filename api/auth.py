"""Who asks: a bearer key, the project it speaks for, and what it may do there.

No key, a wrong key, a revoked key, one that has ended and a malformed header get one and the same
answer.
"""

from __future__ import annotations

from flask import g, request

from api.services import get_services
from ingest.access import Access, Scope
from ingest.errors import Forbidden, RateLimited, Unauthorized
from ingest.model import Project, TriedTask
from storage.records import keys

_REFUSAL = "Send a valid key as 'Authorization: Bearer <key>'."
_LONGEST_KEY = 256
LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})


def require_access(scope: Scope | None = None, task_id: str | None = None) -> Access:
    """Return what the key of this request opens.

    Args:
        scope: what it must have; None for what the request's method takes.
        task_id: of a task to be found on the same way, for :func:`get_task`.

    Raises:
        Unauthorized: there is no such key.
        RateLimited: it has made as many requests as it may.
        Forbidden: it has not the scope.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or len(secret) > _LONGEST_KEY:
        raise Unauthorized(_REFUSAL)
    services = get_services()
    with services.database.look() as connection:
        if task_id is None:
            access = keys.find_access(connection, secret)
        else:
            access, g.task = keys.find_access_and_task(connection, secret, task_id)
    if access is None:
        raise Unauthorized(_REFUSAL)
    if services.request_limit is not None:
        g.standing = standing = services.request_limit.count(access.key_id)
        if standing is not None and standing.is_over:
            amount, _, unit = str(services.settings.rate_limit).partition("/")
            raise RateLimited(
                f"This key may send {amount} requests per {unit}.", retry_after_s=standing.reset_s
            )
    wanted = scope or (Scope.READ if request.method in LOOKS else Scope.WRITE)
    if not access.may(wanted):
        raise Forbidden(f"This takes a key with the scope '{wanted}', which this one has not.")
    g.access = access
    return access


def get_project() -> Project:
    """Return the project that :func:`require_access` found for this request."""
    access: Access = g.access
    return access.project


def get_task() -> TriedTask | None:
    """Return the task that :func:`require_access` was asked for, if the project has it."""
    task: TriedTask | None = g.get("task")
    return task

"""The secret of a project, which signs for the ``webhook_url`` of its tasks.

Invariant: two who make it in the same moment agree on one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, case, func, select, true, update

from storage.records.endpoints import SealedSecrets
from storage.records.tables import projects


def read(connection: Connection, project_id: str) -> SealedSecrets | None:
    """Return what signs now, sealed; None where nothing was ever signed."""
    row = connection.execute(
        select(
            projects.c.sealed_webhook_secret,
            case(
                (
                    projects.c.old_webhook_secret_until > func.now(),
                    projects.c.sealed_old_webhook_secret,
                )
            ).label("old"),
        ).where(projects.c.id == project_id)
    ).one()
    if row.sealed_webhook_secret is None:
        return None
    return SealedSecrets(row.sealed_webhook_secret, row.old)


def ensure(connection: Connection, project_id: str, sealed_secret: bytes) -> SealedSecrets:
    """Return what signs now, sealed; the given secret, if there was none."""
    connection.execute(
        update(projects)
        .where(projects.c.id == project_id, projects.c.sealed_webhook_secret.is_(None))
        .values(sealed_webhook_secret=sealed_secret)
    )
    found = read(connection, project_id)
    return SealedSecrets(sealed_secret, None) if found is None else found


def read_old_until(connection: Connection, project_id: str) -> datetime | None:
    """Return until when the secret before signs as well, if there is one."""
    until: datetime | None = connection.execute(
        select(projects.c.old_webhook_secret_until).where(projects.c.id == project_id)
    ).scalar_one()
    return until


def rotate(
    connection: Connection, project_id: str, sealed_secret: bytes, overlap: timedelta
) -> bool:
    """Sign with a new secret, and with the one before for a while.

    Returns:
        False as :func:`storage.records.endpoints.rotate` returns None.
    """
    is_over = func.coalesce(projects.c.old_webhook_secret_until <= func.now(), true())
    rotated = connection.execute(
        update(projects)
        .where(projects.c.id == project_id, is_over if overlap else true())
        .values(
            sealed_webhook_secret=sealed_secret,
            sealed_old_webhook_secret=projects.c.sealed_webhook_secret,
            old_webhook_secret_until=func.now() + overlap,
        )
    )
    return rotated.rowcount == 1

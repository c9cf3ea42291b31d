"""The secret of a project that signs for the ``webhook_url`` of its tasks and batches.

Nothing is sent unsigned, so it is made when something first names a receiver.
"""

from __future__ import annotations

from sqlalchemy import Connection

from ingest.signing import make_secret
from storage.records import webhook_secrets
from storage.records.endpoints import SealedSecrets
from storage.sealing import Sealer


def make_sealed_secret(sealer: Sealer) -> tuple[str, bytes]:
    """Return a new secret, and as it is kept."""
    secret = make_secret()
    return secret, sealer.seal(secret.encode())


def ensure_project_secret(sealer: Sealer, connection: Connection, project_id: str) -> SealedSecrets:
    """Return what signs for a project; made now, if there is nothing yet."""
    found = webhook_secrets.read(connection, project_id)
    if found is not None:
        return found
    return webhook_secrets.ensure(connection, project_id, make_sealed_secret(sealer)[1])

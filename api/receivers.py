"""The secrets that sign for receivers of webhooks.

Nothing is sent unsigned, so where nothing can be sealed there are no webhooks.
"""

from __future__ import annotations

from sqlalchemy import Connection

from api.services import Services
from ingest.model import Project
from ingest.signing import make_secret
from storage.records import webhook_secrets
from storage.records.endpoints import SealedSecrets


def make_sealed_secret(services: Services) -> tuple[str, bytes]:
    """Return a new secret, and as it is kept."""
    secret = make_secret()
    return secret, services.sealer.seal(secret.encode())


def ensure_project_secret(
    services: Services, connection: Connection, project: Project
) -> SealedSecrets:
    """Return what signs for the ``webhook_url`` of tasks; made now, if there is nothing yet."""
    found = webhook_secrets.read(connection, project.id)
    if found is not None:
        return found
    return webhook_secrets.ensure(connection, project.id, make_sealed_secret(services)[1])


def open_secret(services: Services, sealed: SealedSecrets) -> str:
    """Return the newest secret.

    Raises:
        SecretUnreadable: it was sealed with a key that is not there any more.
    """
    return services.sealer.open(sealed.newest).decode()

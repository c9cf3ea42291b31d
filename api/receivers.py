"""The secrets that sign for receivers of webhooks.

Nothing is sent unsigned, so where nothing can be sealed there are no webhooks.
"""

from __future__ import annotations

from sqlalchemy import Connection

from api.services import Services
from ingest.model import Project
from storage import project_secrets
from storage.records.endpoints import SealedSecrets


def make_sealed_secret(services: Services) -> tuple[str, bytes]:
    """Return a new secret, and as it is kept."""
    return project_secrets.make_sealed_secret(services.sealer)


def ensure_project_secret(
    services: Services, connection: Connection, project: Project
) -> SealedSecrets:
    """Return what signs for the ``webhook_url`` of tasks; made now, if there is nothing yet."""
    return project_secrets.ensure_project_secret(services.sealer, connection, project.id)


def open_secret(services: Services, sealed: SealedSecrets) -> str:
    """Return the newest secret.

    Raises:
        SecretUnreadable: it was sealed with a key that is not there any more.
    """
    return services.sealer.open(sealed.newest).decode()

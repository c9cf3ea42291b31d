"""Projects and the keys that speak for them.

Only the SHA-256 of a key is stored: 160 random bits need no slow hash, and a stolen table opens
nothing. The digests are compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from sqlalchemy import Connection, Row, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from ingest.ids import Prefix, make_id
from ingest.model import ApiKey, Project
from storage.records.tables import keys, projects

SECRET_PREFIX = "hr_"  # noqa: S105 - what a secret starts with, not a secret
_SECRET_BYTES = 20
_SHOWN_CHARS = len(SECRET_PREFIX) + 6

# Every request asks these; built once, since building them takes longer than running them.
_FIND_BY_SECRET = text("""
    SELECT secret_sha256, projects.id, projects.name, key_prefix
    FROM keys JOIN projects ON projects.id = project_id
    WHERE secret_sha256 = :digest AND revoked IS NULL
""")
_IS_PLACE_OF_ANOTHER = text("""
    SELECT EXISTS (
        SELECT FROM projects WHERE id <> :project_id AND key_prefix <> ''
            AND starts_with(:object_key || '/', key_prefix || '/'))
""")


def ensure_project(connection: Connection, name: str = "default", key_prefix: str = "") -> Project:
    """Return the project of this name, making it first if there is none.

    Raises:
        NoResultFound: another project has this prefix.
    """
    connection.execute(
        upsert(projects)
        .values(id=make_id(Prefix.PROJECT), name=name, key_prefix=key_prefix)
        # Whoever makes it in the same moment is seen by its name or by its prefix, whichever is
        # compared first.
        .on_conflict_do_nothing()
    )
    row = connection.execute(select(projects).where(projects.c.name == name)).one()
    return Project(row.id, row.name, row.key_prefix)


def is_place_of_another(connection: Connection, project_id: str, object_key: str) -> bool:
    """Return whether a key lies under the prefix of another project than this one.

    Prefixes never nest, but the first project's is empty: nothing else keeps it out of the rest.
    """
    found: bool = connection.execute(
        _IS_PLACE_OF_ANOTHER, {"project_id": project_id, "object_key": object_key}
    ).scalar_one()
    return found


def create_key(connection: Connection, project_id: str, name: str) -> tuple[ApiKey, str]:
    """Make a key. The second value is its secret, which cannot be had again."""
    token = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode().lower()
    secret = SECRET_PREFIX + token
    row = connection.execute(
        insert(keys)
        .values(
            id=make_id(Prefix.KEY),
            project_id=project_id,
            name=name,
            shown_prefix=secret[:_SHOWN_CHARS],
            secret_sha256=_digest(secret),
        )
        .returning(keys)
    ).one()
    return _to_key(row), secret


def list_keys(connection: Connection, project_id: str) -> list[ApiKey]:
    """Return every key of a project, revoked ones too, oldest first."""
    query = select(keys).where(keys.c.project_id == project_id).order_by(keys.c.id)
    return [_to_key(row) for row in connection.execute(query)]


def revoke_key(connection: Connection, project_id: str, key_id: str) -> bool:
    """Revoke a key at once. Returns False where there is none to revoke."""
    changed = connection.execute(
        update(keys)
        .where(keys.c.project_id == project_id, keys.c.id == key_id, keys.c.revoked.is_(None))
        .values(revoked=func.now())
    )
    return changed.rowcount == 1


def find_project_by_secret(connection: Connection, secret: str) -> Project | None:
    """Return the project a key speaks for; None for an unknown or revoked one."""
    digest = _digest(secret)
    row = connection.execute(_FIND_BY_SECRET, {"digest": digest}).one_or_none()
    if row is None or not hmac.compare_digest(bytes(row.secret_sha256), digest):
        return None
    return Project(row.id, row.name, row.key_prefix)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def _to_key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(row.id, row.project_id, row.name, row.shown_prefix, row.created, row.revoked)

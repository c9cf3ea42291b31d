"""Keys, each of which speaks for a project.

Only the SHA-256 of a key is stored: 160 random bits need no slow hash, and a stolen table opens
nothing. The digests are compared in constant time. A key that is revoked or has ended is found by
no request that begins after that; both are told by the database's clock.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, Row, func, insert, select, text, update

from ingest.access import USUAL_SCOPES, Access, ApiKey, Scope, sort_scopes
from ingest.ids import Prefix, make_id
from ingest.model import Page, Project, TriedTask
from storage.records import lookups
from storage.records.asking import NamedRow, ask, write_query
from storage.records.listing import Window, read_page
from storage.records.snapshots import restore_all
from storage.records.tables import attempts as attempts_table
from storage.records.tables import keys, tasks

SECRET_PREFIX = "hr_"  # noqa: S105 - what a secret starts with, not a secret
_SECRET_BYTES = 20
_SHOWN_CHARS = len(SECRET_PREFIX) + 6

# Every request asks this.
_ACCESS = """
    secret_sha256, projects.id AS opened_id, projects.name AS opened_name, key_prefix,
    keys.id AS key_id, scopes,
    last_used IS NULL OR last_used < now() - interval '1 minute' AS is_use_untold,
    max_stored_bytes IS NOT NULL AND stored_bytes >= max_stored_bytes AS is_full
"""
_IS_GOOD = """
    secret_sha256 = :digest AND revoked IS NULL AND (expires IS NULL OR expires > now())
"""
_FIND_BY_SECRET = write_query(f"""
    SELECT {_ACCESS} FROM keys JOIN projects ON projects.id = project_id WHERE {_IS_GOOD}
""")  # noqa: S608 - constants
# And this whoever polls: each statement more would be a way to the server more.
_FIND_WITH_TASK = write_query(f"""
    SELECT {_ACCESS}, {", ".join(str(column) for column in tasks.columns)},
        (SELECT jsonb_agg(to_jsonb(one) ORDER BY one.number) FROM attempts AS one
        WHERE one.task_id = tasks.id) AS tried
    FROM keys JOIN projects ON projects.id = keys.project_id
        LEFT JOIN tasks ON tasks.project_id = projects.id AND tasks.id = :task_id
    WHERE {_IS_GOOD}
""")  # noqa: S608 - constants
# Not waited for: whoever has the row writes the same.
_TELL_USE = text("""
    UPDATE keys SET last_used = now()
    WHERE id = (SELECT id FROM keys WHERE id = :key_id FOR UPDATE SKIP LOCKED)
""")


def create_key(
    connection: Connection,
    project_id: str,
    name: str,
    *,
    scopes: Iterable[Scope] = USUAL_SCOPES,
    expires: datetime | None = None,
) -> tuple[ApiKey, str]:
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
            scopes=list(sort_scopes(scopes)),
            expires=expires,
        )
        .returning(keys)
    ).one()
    return _to_key(row), secret


def list_keys(connection: Connection, project_id: str) -> list[ApiKey]:
    """Return every key of a project, revoked ones too, oldest first."""
    query = select(keys).where(keys.c.project_id == project_id).order_by(keys.c.id)
    return [_to_key(row) for row in connection.execute(query)]


def list_page(connection: Connection, project_id: str, window: Window) -> Page[ApiKey]:
    """Return one page of a project's keys, revoked ones too, newest first."""
    return read_page(connection, keys, [keys.c.project_id == project_id], window, _to_key)


def get_key(connection: Connection, project_id: str, key_id: str) -> ApiKey | None:
    """Return a project's key, or None where the project has no such key."""
    row = connection.execute(
        select(keys).where(keys.c.project_id == project_id, keys.c.id == key_id)
    ).one_or_none()
    return None if row is None else _to_key(row)


def revoke_key(connection: Connection, project_id: str, key_id: str) -> bool:
    """Revoke a key at once. Returns False where there is none to revoke."""
    changed = connection.execute(
        update(keys)
        .where(keys.c.project_id == project_id, keys.c.id == key_id, keys.c.revoked.is_(None))
        .values(revoked=func.now())
    )
    return changed.rowcount == 1


def find_access(connection: Connection, secret: str) -> Access | None:
    """Return what a key opens, and note that it was used; None if it is no key, or one no more."""
    digest = _digest(secret)
    return _open(connection, ask(connection, _FIND_BY_SECRET, {"digest": digest}), digest)


def find_access_and_task(
    connection: Connection, secret: str, task_id: str
) -> tuple[Access | None, TriedTask | None]:
    """Return what a key opens, as :func:`find_access` does, and a task of its project."""
    digest = _digest(secret)
    row = ask(connection, _FIND_WITH_TASK, {"digest": digest, "task_id": task_id})
    access = _open(connection, row, digest)
    if row is None or access is None or row.id is None:
        return access, None
    attempts = [lookups.to_attempt(one) for one in restore_all(attempts_table, row.tried)]
    return access, TriedTask(lookups.to_task(row), attempts)


def _open(connection: Connection, row: NamedRow | None, digest: bytes) -> Access | None:
    if row is None or not hmac.compare_digest(bytes(row.secret_sha256), digest):
        return None
    if row.is_use_untold:
        connection.execute(_TELL_USE, {"key_id": row.key_id})
    return Access(
        Project(row.opened_id, row.opened_name, row.key_prefix),
        row.key_id,
        frozenset(Scope(name) for name in row.scopes),
        is_full=row.is_full,
    )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def _to_key(row: Row[tuple[object, ...]]) -> ApiKey:
    return ApiKey(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        shown_prefix=row.shown_prefix,
        scopes=tuple(Scope(name) for name in row.scopes),
        created=row.created,
        last_used=row.last_used,
        expires=row.expires,
        revoked=row.revoked,
    )

"""Requests known again by their Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07).

Invariants: of the requests of a project with one key, one at a time is answered, and the first that
is to its end is answered for all; a task or a batch that a request made is noted by the transaction
that made it, so one that died before it was answered makes none twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Interval,
    bindparam,
    delete,
    func,
    select,
    text,
    update,
)

from storage.records.tables import idempotency_keys as keys
from storage.records.tasks import in_seconds

# A key is taken if nobody has it, or if whoever had it never came to an answer.
_TAKE = text("""
    INSERT INTO idempotency_keys AS known (project_id, key, fingerprint, request_id, lease_until)
    VALUES (:project_id, :key, :fingerprint, :request_id, now() + :lease)
    ON CONFLICT (project_id, key) DO UPDATE
        SET request_id = :request_id, lease_until = now() + :lease
        WHERE known.status IS NULL AND known.lease_until < now()
            AND known.fingerprint = :fingerprint
    RETURNING made
""").bindparams(bindparam("lease", type_=Interval))


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key of a project, and the request that has it."""

    project_id: str
    key: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Mine:
    """The request is to be answered. ``made`` is what another made that came to no answer."""

    made: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """The request of this key was answered before."""

    fingerprint: bytes
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_sealed: bool


@dataclass(frozen=True, slots=True)
class Busy:
    """A request of this key is being answered."""

    fingerprint: bytes


def take(
    connection: Connection, mine: IdempotencyKey, fingerprint: bytes, lease_s: float
) -> Mine | Kept | Busy:
    """Take a key for a request, or find who has it.

    Args:
        fingerprint: what is asked, as a digest.
        lease_s: after that another may take it.
    """
    given = {
        "project_id": mine.project_id,
        "key": mine.key,
        "request_id": mine.request_id,
        "fingerprint": fingerprint,
        "lease": timedelta(seconds=lease_s),
    }
    taken = connection.execute(_TAKE, given).one_or_none()
    if taken is not None:
        return Mine(taken.made)
    row = connection.execute(select(keys).where(*_is_key(mine))).one_or_none()
    if row is None or row.status is None:
        # Forgotten in between: as if it were being answered, the next look takes it.
        return Busy(fingerprint if row is None else row.fingerprint)
    return Kept(row.fingerprint, row.status, row.headers, row.body, row.is_sealed)


def renew(connection: Connection, mine: IdempotencyKey, lease_s: float) -> None:
    """Keep a key for longer."""
    connection.execute(update(keys).where(*_is_mine(mine)).values(lease_until=in_seconds(lease_s)))


def note_made(connection: Connection, mine: IdempotencyKey, made: str) -> bool:
    """Note what a request makes; False if it took so long that another has its key."""
    noted = connection.execute(update(keys).where(*_is_mine(mine)).values(made=made))
    return noted.rowcount == 1


def keep(connection: Connection, mine: IdempotencyKey, answer: Kept) -> None:
    """Keep the answer of a request for those that come again."""
    connection.execute(
        update(keys)
        .where(*_is_mine(mine))
        .values(
            status=answer.status,
            headers=dict(answer.headers),
            body=answer.body,
            is_sealed=answer.is_sealed,
        )
    )


def let_go(connection: Connection, mine: IdempotencyKey) -> None:
    """Let the next request with this key be answered; what this one has made stays noted."""
    connection.execute(delete(keys).where(*_is_mine(mine), keys.c.made.is_(None)))
    connection.execute(update(keys).where(*_is_mine(mine)).values(lease_until=in_seconds(-1)))


def forget_older(connection: Connection, age: timedelta, limit: int) -> int:
    """Forget keys that are older; return how many there were."""
    old = (
        select(keys.c.project_id, keys.c.key)
        .where(keys.c.created < func.now() - age)
        .order_by(keys.c.created)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    return connection.execute(
        delete(keys).where(keys.c.project_id == old.c.project_id, keys.c.key == old.c.key)
    ).rowcount


def _is_key(mine: IdempotencyKey) -> tuple[ColumnElement[bool], ...]:
    return keys.c.project_id == mine.project_id, keys.c.key == mine.key


def _is_mine(mine: IdempotencyKey) -> tuple[ColumnElement[bool], ...]:
    return (*_is_key(mine), keys.c.request_id == mine.request_id, keys.c.status.is_(None))

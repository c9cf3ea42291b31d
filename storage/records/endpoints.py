"""Endpoints of webhooks, by project.

Invariant: a secret leaves this module sealed or, to whoever asks for it by name, not at all; what
is shown of an endpoint never holds one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection, Row, case, delete, func, insert, null, select, text, true, update

from ingest.events import EventType
from ingest.ids import Prefix, make_id
from ingest.model import Page
from ingest.webhooks import DisabledFor, Endpoint, EndpointStatus
from storage.records import outbox
from storage.records.listing import Window, read_page
from storage.records.projects import hold_alone
from storage.records.tables import deliveries, troubles
from storage.records.tables import webhook_endpoints as endpoints

# As many as are written well within a statement's limit; the others come by their schedule.
_MOST_HURRIED = 10_000


@dataclass(frozen=True, slots=True)
class SealedSecrets:
    """What signs now: the newest secret, and the one before while both do."""

    newest: bytes
    old: bytes | None


def create(
    connection: Connection,
    project_id: str,
    *,
    url: str,
    topics: Sequence[str],
    description: str | None,
    metadata: Mapping[str, object] | None,
    sealed_secret: bytes,
) -> Endpoint:
    """Write down an endpoint, enabled."""
    row = connection.execute(
        insert(endpoints)
        .values(
            id=make_id(Prefix.ENDPOINT),
            project_id=project_id,
            url=url,
            topics=list(topics),
            description=description,
            metadata=metadata,
            sealed_secret=sealed_secret,
        )
        .returning(endpoints)
    ).one()
    return to_endpoint(row)


def get(connection: Connection, project_id: str, endpoint_id: str) -> Endpoint | None:
    """Return a project's endpoint, or None where the project has no such endpoint."""
    row = connection.execute(
        select(endpoints).where(endpoints.c.project_id == project_id, endpoints.c.id == endpoint_id)
    ).one_or_none()
    return None if row is None else _look_up(connection, [to_endpoint(row)])[0]


def count_held(connection: Connection, project_id: str) -> int:
    """Return how many endpoints a project has; nobody makes one before this transaction ends."""
    hold_alone(connection, project_id)
    query = select(func.count()).where(endpoints.c.project_id == project_id)
    return int(connection.execute(query).scalar_one())


def list_page(connection: Connection, project_id: str, window: Window) -> Page[Endpoint]:
    """Return one page of a project's endpoints, newest first."""
    page = read_page(
        connection, endpoints, [endpoints.c.project_id == project_id], window, to_endpoint
    )
    return replace(page, items=_look_up(connection, page.items))


def change(
    connection: Connection, project_id: str, endpoint_id: str, values: Mapping[str, object]
) -> Endpoint | None:
    """Change what somebody may change; None where the project has no such endpoint.

    Args:
        values: by column: url, topics, description, metadata, status. Whoever enables an endpoint
            gives it another five days; whoever gives it another URL, too. What waits for an
            endpoint that is enabled is due then.
    """
    given = dict(values)
    status = given.get("status")
    if status == EndpointStatus.DISABLED:
        given["disabled_for"] = case(
            (endpoints.c.status == EndpointStatus.DISABLED, endpoints.c.disabled_for),
            else_=DisabledFor.ASKED,
        )
    elif status == EndpointStatus.ENABLED:
        given["disabled_for"] = null()
    is_own = [endpoints.c.project_id == project_id, endpoints.c.id == endpoint_id]
    if status == EndpointStatus.ENABLED or "url" in given:
        # Before the endpoint: so does whoever disables it for its failures.
        own = select(endpoints.c.id).where(*is_own)
        connection.execute(delete(troubles).where(troubles.c.lane.in_(own)))
    row = connection.execute(
        update(endpoints).where(*is_own).values(**given, updated=func.now()).returning(endpoints)
    ).one_or_none()
    if row is not None and status == EndpointStatus.ENABLED:
        _hurry(connection, endpoint_id)
    return None if row is None else _look_up(connection, [to_endpoint(row)])[0]


def remove(connection: Connection, project_id: str, endpoint_id: str) -> bool:
    """Delete an endpoint. Returns False where the project has no such endpoint.

    Nothing is sent to it any more. Its deliveries may be millions, and a task that ends in this
    moment may leave one more: ``sending.forget_orphans`` deletes them, a thousand at a time.
    """
    is_own = [endpoints.c.project_id == project_id, endpoints.c.id == endpoint_id]
    own = select(endpoints.c.id).where(*is_own)
    connection.execute(delete(troubles).where(troubles.c.lane.in_(own)))
    gone = connection.execute(delete(endpoints).where(*is_own))
    return gone.rowcount == 1


def rotate(
    connection: Connection,
    project_id: str,
    endpoint_id: str,
    sealed_secret: bytes,
    overlap: timedelta,
) -> Endpoint | None:
    """Sign with a new secret, and with the one before for a while.

    Args:
        overlap: for how long. None at all ends every secret before.

    Returns:
        None if there is no such endpoint, or one before the last signs still, which was promised
        to somebody.
    """
    is_over = func.coalesce(endpoints.c.old_secret_until <= func.now(), true())
    row = connection.execute(
        update(endpoints)
        .where(
            endpoints.c.project_id == project_id,
            endpoints.c.id == endpoint_id,
            is_over if overlap else true(),
        )
        .values(
            sealed_secret=sealed_secret,
            sealed_old_secret=endpoints.c.sealed_secret,
            old_secret_until=func.now() + overlap,
            updated=func.now(),
        )
        .returning(endpoints)
    ).one_or_none()
    return None if row is None else _look_up(connection, [to_endpoint(row)])[0]


def read_secrets(connection: Connection, project_id: str, endpoint_id: str) -> SealedSecrets | None:
    """Return the secrets that sign now, sealed; None for no such endpoint."""
    row = connection.execute(
        select(
            endpoints.c.sealed_secret,
            case((endpoints.c.old_secret_until > func.now(), endpoints.c.sealed_old_secret)).label(
                "old"
            ),
        ).where(endpoints.c.project_id == project_id, endpoints.c.id == endpoint_id)
    ).one_or_none()
    return None if row is None else SealedSecrets(row.sealed_secret, row.old)


def disable(connection: Connection, endpoint_id: str, reason: DisabledFor) -> None:
    """Send nothing to an endpoint any more, and tell the others; no word if it was so already."""
    changed = connection.execute(
        update(endpoints)
        .where(endpoints.c.id == endpoint_id, endpoints.c.status == EndpointStatus.ENABLED)
        .values(status=EndpointStatus.DISABLED, disabled_for=reason, updated=func.now())
    )
    if changed.rowcount:
        outbox.tell_endpoint(connection, EventType.ENDPOINT_DISABLED, endpoint_id)


def to_endpoint(row: Row[tuple[object, ...]]) -> Endpoint:
    """Return what a whole row of ``webhook_endpoints`` means, but for whether anything arrives."""
    return Endpoint(
        id=row.id,
        project_id=row.project_id,
        url=row.url,
        topics=tuple(row.topics),
        description=row.description,
        metadata=row.metadata,
        status=EndpointStatus(row.status),
        disabled_for=None if row.disabled_for is None else DisabledFor(row.disabled_for),
        old_secret_until=row.old_secret_until,
        failing_since=None,
        created=row.created,
        updated=row.updated,
    )


def _hurry(connection: Connection, endpoint_id: str) -> None:
    waiting = (
        select(deliveries.c.id)
        .where(
            deliveries.c.lane == endpoint_id,
            text("status = 'pending' AND woken IS NULL"),
            deliveries.c.next_attempt_at > func.now(),
        )
        .order_by(deliveries.c.next_attempt_at, deliveries.c.id)
        .limit(_MOST_HURRIED)
        .with_for_update(skip_locked=True)
    )
    connection.execute(
        update(deliveries).where(deliveries.c.id.in_(waiting)).values(next_attempt_at=func.now())
    )


def _look_up(connection: Connection, found: Sequence[Endpoint]) -> list[Endpoint]:
    """Return endpoints with what is known of whether anything arrives."""
    ids = [one.id for one in found]
    rows = connection.execute(
        select(troubles.c.lane, troubles.c.failing_since).where(troubles.c.lane.in_(ids))
    )
    since = {row.lane: row.failing_since for row in rows}
    return [replace(one, failing_since=since.get(one.id)) for one in found]

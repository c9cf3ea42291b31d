"""Deliveries as people see them, and what they ask for: once more, all since then, a test.

How they are sent stands in ``sending``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    DateTime,
    Row,
    String,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from ingest.events import EventType, asks_for
from ingest.ids import Prefix, make_id
from ingest.model import Page
from ingest.webhooks import Delivery, DeliveryAttempt, DeliveryStatus, Endpoint
from storage.records import outbox
from storage.records.listing import Window, read_page
from storage.records.lookups import to_failure
from storage.records.tables import deliveries, delivery_attempts, webhook_endpoints

# Ids have the clock of whoever made them.
_CLOCKS_APART = timedelta(minutes=5)
# No id tells of a time before 1970, and nothing is older.
_BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What ``GET /webhooks/deliveries`` may be narrowed to; None means any."""

    endpoint_id: str | None = None
    event_id: str | None = None
    status: DeliveryStatus | None = None


class Missed(StrEnum):
    """What is replayed: deliveries that were given up, or events that made none."""

    FAILED = "failed"
    MISSING = "missing"


# Of one replay.
MOST_REPLAYED = 10_000

_REPLAY_MISSING = text(f"""
    WITH wanted AS (
        SELECT events.id, events.project_id, events.type, CAST(:endpoint_id AS varchar)
            AS endpoint_id, NULL AS url, CAST(:endpoint_id AS varchar) AS lane
        FROM events
        WHERE project_id = :project_id AND id >= :since_id AND created >= :since
            AND type = ANY(:types)
            AND NOT EXISTS (SELECT FROM deliveries AS made
                WHERE made.event_id = events.id AND made.endpoint_id = :endpoint_id)
        ORDER BY id LIMIT {MOST_REPLAYED}
    ) {outbox.QUEUE}
""").bindparams(  # noqa: S608 - constants
    bindparam("types", type_=ARRAY(String)),
    bindparam("since", type_=DateTime(timezone=True)),
)
# Those of an endpoint that is gone are gone with it, before they are deleted.
_HAS_RECEIVER = or_(
    deliveries.c.endpoint_id.is_(None),
    exists().where(webhook_endpoints.c.id == deliveries.c.endpoint_id),
)
_AGAIN: Mapping[str, object] = {
    "status": DeliveryStatus.PENDING.value,
    "tries": 0,
    "woken": None,
    "finished": None,
    "next_attempt_at": func.now(),
}


def get(connection: Connection, project_id: str, delivery_id: str) -> Delivery | None:
    """Return a project's delivery with its attempts; None where it has no such delivery."""
    row = connection.execute(
        select(deliveries).where(
            deliveries.c.id == delivery_id, deliveries.c.project_id == project_id, _HAS_RECEIVER
        )
    ).one_or_none()
    return None if row is None else _add_attempts(connection, [_to_delivery(row)])[0]


def list_page(
    connection: Connection, project_id: str, narrowed: DeliveryFilter, window: Window
) -> Page[Delivery]:
    """Return one page of a project's deliveries with their attempts, newest first."""
    conditions: list[ColumnElement[bool]] = [deliveries.c.project_id == project_id, _HAS_RECEIVER]
    for column, value in (
        (deliveries.c.endpoint_id, narrowed.endpoint_id),
        (deliveries.c.event_id, narrowed.event_id),
        (deliveries.c.status, narrowed.status),
    ):
        if value is not None:
            conditions.append(column == value)
    page = read_page(connection, deliveries, conditions, window, _to_delivery)
    return replace(page, items=_add_attempts(connection, page.items))


def redeliver(connection: Connection, project_id: str, delivery_id: str) -> Delivery | None:
    """Send a delivery at once, whatever came of it, with all the attempts of a new one.

    Returns:
        None if the project has no such delivery, or it is being sent.
    """
    row = connection.execute(
        update(deliveries)
        .where(
            deliveries.c.id == delivery_id,
            deliveries.c.project_id == project_id,
            deliveries.c.status != DeliveryStatus.SENDING.value,
        )
        .values(_AGAIN)
        .returning(deliveries)
    ).one_or_none()
    return None if row is None else _add_attempts(connection, [_to_delivery(row)])[0]


def replay(connection: Connection, endpoint: Endpoint, since: datetime, missed: Missed) -> int:
    """Send what an endpoint has missed since then, oldest first; return how many there were.

    There are no more than :data:`MOST_REPLAYED`; where there are as many, there may be others.
    """
    since = max(since, _BEGINNING)
    if missed is Missed.MISSING:
        given = {
            "project_id": endpoint.project_id,
            "endpoint_id": endpoint.id,
            "since": since,
            "since_id": make_id(Prefix.EVENT, since - _CLOCKS_APART),
            "types": [one.value for one in EventType if asks_for(endpoint.topics, one)],
        }
        return connection.execute(_REPLAY_MISSING, given).rowcount
    chosen = (
        select(deliveries.c.id)
        .where(
            deliveries.c.endpoint_id == endpoint.id,
            # Written into SQL, so that the partial index serves.
            text("status = 'failed'"),
            deliveries.c.event_type != EventType.WEBHOOK_TEST.value,
            deliveries.c.created >= since,
        )
        .order_by(deliveries.c.id)
        .limit(MOST_REPLAYED)
        .with_for_update(skip_locked=True)
    )
    again = update(deliveries).where(deliveries.c.id.in_(chosen)).values(_AGAIN)
    return connection.execute(again).rowcount


def create_test(connection: Connection, endpoint: Endpoint) -> Delivery:
    """Make the delivery of a ``webhook.test``, which waits behind no other and for nothing."""
    event_id = outbox.tell_endpoint(connection, EventType.WEBHOOK_TEST, endpoint.id)
    row = connection.execute(
        insert(deliveries)
        .values(
            id=make_id(Prefix.DELIVERY),
            project_id=endpoint.project_id,
            event_id=event_id,
            event_type=EventType.WEBHOOK_TEST.value,
            endpoint_id=endpoint.id,
            lane=f"test {endpoint.id}",
        )
        .returning(deliveries)
    ).one()
    return _to_delivery(row)


def _add_attempts(connection: Connection, found: Sequence[Delivery]) -> list[Delivery]:
    made: dict[str, list[DeliveryAttempt]] = {one.id: [] for one in found}
    query = (
        select(delivery_attempts)
        .where(delivery_attempts.c.delivery_id.in_(made))
        .order_by(delivery_attempts.c.delivery_id, delivery_attempts.c.number)
    )
    for row in connection.execute(query):
        made[row.delivery_id].append(
            DeliveryAttempt(
                number=row.number,
                started=row.started,
                duration_ms=row.duration_ms,
                http_status=row.http_status,
                answer=row.answer,
                error=to_failure(row.error),
            )
        )
    return [replace(one, attempts=made[one.id]) for one in found]


def _to_delivery(row: Row[tuple[object, ...]]) -> Delivery:
    return Delivery(
        id=row.id,
        project_id=row.project_id,
        event_id=row.event_id,
        event_type=row.event_type,
        endpoint_id=row.endpoint_id,
        url=row.url,
        status=DeliveryStatus(row.status),
        attempt=row.attempt,
        next_attempt_at=row.next_attempt_at,
        created=row.created,
        finished=row.finished,
    )

"""Deliveries: one event on its way to one receiver, from its wake-up to its end.

Invariants:

- A delivery is sent by whoever has its lease, and every write about it names the attempt, the
  fencing token; so it may be sent twice after a kill, and is recorded once.
- No more of a lane are in flight (woken, or being sent) than was said: one receiver that hangs has
  a few senders, never all. One in trouble is tried by one delivery at a time.
- Leases and waits are measured by the database's clock alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    Connection,
    Interval,
    bindparam,
    delete,
    exists,
    func,
    select,
    text,
    update,
)

from ingest.delivering import DELAYS_S, DISABLED_AFTER, TROUBLED_AFTER, Plan, plan_pause
from ingest.errors import Failure
from ingest.events import Event, EventType
from ingest.ids import Prefix
from ingest.webhooks import DeliveryStatus, DisabledFor
from storage.records import endpoints
from storage.records.endpoints import SealedSecrets
from storage.records.events import to_event
from storage.records.tables import (
    deliveries,
    delivery_attempts,
    troubles,
    webhook_endpoints,
)
from storage.records.tasks import in_seconds

# Of the advisory locks (storage.records.claims): what is in flight is counted under it.
_DISPATCH_LOCK = 5
# Each step of the recursion is one jump along the index to the next lane. What is due in a lane is
# looked for there, so that a lane with 50,000 that cannot be sent costs as much as one with one.
_PICK = text(f"""
    WITH RECURSIVE lanes AS (
        (SELECT lane FROM deliveries WHERE status = 'pending' AND woken IS NULL
         ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT following.lane FROM lanes, LATERAL (
            SELECT lane FROM deliveries
            WHERE status = 'pending' AND woken IS NULL AND lane > lanes.lane
            ORDER BY lane LIMIT 1
        ) AS following
    ), open_lanes AS (
        SELECT lanes.lane,
            CASE WHEN failures >= {TROUBLED_AFTER} THEN 1 ELSE :lane_limit END - (
                SELECT count(*) FROM deliveries AS flying
                WHERE flying.lane = lanes.lane AND flying.woken IS NOT NULL
                    AND flying.status IN ('pending', 'sending')
            ) AS places
        FROM lanes
        LEFT JOIN troubles ON troubles.lane = lanes.lane
        LEFT JOIN webhook_endpoints AS endpoint ON endpoint.id = lanes.lane
        -- What an endpoint left behind that is gone is nobody's any more.
        WHERE (endpoint.status = 'enabled'
                OR endpoint.id IS NULL AND NOT starts_with(lanes.lane, '{Prefix.ENDPOINT}_'))
            AND (paused_until IS NULL OR paused_until <= now())
    ), flights AS (
        SELECT project_id, count(*) AS flying FROM deliveries
        WHERE woken IS NOT NULL AND status IN ('pending', 'sending') GROUP BY project_id
    ), found AS (
        SELECT one.* FROM open_lanes, LATERAL (
            SELECT id, project_id, next_attempt_at,
                row_number() OVER (ORDER BY next_attempt_at, id) AS place
            FROM deliveries
            WHERE lane = open_lanes.lane AND status = 'pending' AND woken IS NULL
                AND next_attempt_at <= now()
                -- A test has a lane that is not called like its endpoint.
                AND (endpoint_id IS NULL OR EXISTS (SELECT FROM webhook_endpoints AS endpoint
                    WHERE endpoint.id = deliveries.endpoint_id))
            ORDER BY next_attempt_at, id LIMIT greatest(0, open_lanes.places)
        ) AS one
    ), due AS (
        -- In turn between projects, and of each the first of every lane before the second of any.
        SELECT found.*, coalesce(flying, 0) + row_number() OVER (
            PARTITION BY found.project_id ORDER BY place, next_attempt_at, id) AS turn
        FROM found LEFT JOIN flights ON flights.project_id = found.project_id
        ORDER BY turn, place, next_attempt_at, id LIMIT :room
    ), picked AS (
        -- It may have been claimed, and have ended, since the statement began.
        UPDATE deliveries SET woken = now() FROM due
        WHERE deliveries.id = due.id AND deliveries.status = 'pending'
            AND deliveries.woken IS NULL
        RETURNING deliveries.id, due.turn, due.place, due.next_attempt_at
    )
    SELECT id FROM picked ORDER BY turn, place, next_attempt_at, id
""")  # noqa: S608 - constants

_CLAIM = text("""
    WITH taken AS (
        UPDATE deliveries SET status = 'sending', attempt = attempt + 1, tries = tries + 1,
            woken = now(), lease_until = now() + :lease
        WHERE id = :delivery_id AND status = 'pending' AND next_attempt_at <= now()
            AND (endpoint_id IS NULL OR EXISTS (SELECT FROM webhook_endpoints AS endpoint
                WHERE endpoint.id = deliveries.endpoint_id
                    -- A test has a lane of its own.
                    AND (endpoint.status = 'enabled' OR endpoint.id <> deliveries.lane)))
        RETURNING id, project_id, event_id, endpoint_id, url, lane, attempt, tries
    ), begun AS (
        INSERT INTO delivery_attempts (delivery_id, number, sender)
        SELECT id, attempt, :sender FROM taken
    )
    SELECT taken.id AS delivery_id, taken.endpoint_id, taken.lane, taken.attempt, taken.tries,
        coalesce(taken.url, endpoint.url) AS url,
        coalesce(endpoint.sealed_secret, projects.sealed_webhook_secret) AS newest,
        CASE WHEN endpoint.id IS NULL
            THEN CASE WHEN projects.old_webhook_secret_until > now()
                THEN projects.sealed_old_webhook_secret END
            ELSE CASE WHEN endpoint.old_secret_until > now()
                THEN endpoint.sealed_old_secret END
        END AS old,
        now() AS claimed_at, events.*
    FROM taken
    JOIN events ON events.id = taken.event_id
    JOIN projects ON projects.id = taken.project_id
    LEFT JOIN webhook_endpoints AS endpoint ON endpoint.id = taken.endpoint_id
""").bindparams(bindparam("lease", type_=Interval))

# From endpoint to endpoint along the index, as for `_PICK`.
_FORGET_ORPHANS = text("""
    WITH RECURSIVE known AS (
        (SELECT endpoint_id FROM deliveries WHERE endpoint_id IS NOT NULL
         ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT following.endpoint_id FROM known, LATERAL (
            SELECT endpoint_id FROM deliveries WHERE endpoint_id > known.endpoint_id
            ORDER BY endpoint_id LIMIT 1
        ) AS following
    ), orphans AS (
        SELECT one.id FROM known, LATERAL (
            SELECT id FROM deliveries WHERE endpoint_id = known.endpoint_id
            ORDER BY id LIMIT :limit
        ) AS one
        WHERE NOT EXISTS (SELECT FROM webhook_endpoints AS endpoint
            WHERE endpoint.id = known.endpoint_id)
        LIMIT :limit
    )
    DELETE FROM deliveries WHERE id = ANY(ARRAY(SELECT id FROM orphans))
""")

# What failed long ago and was not tried since is another trouble.
_FAIL_LANE = text("""
    INSERT INTO troubles AS known (lane, failures) VALUES (:lane, 1)
    ON CONFLICT (lane) DO UPDATE SET
        failures = CASE WHEN known.last_failed < now() - :forgotten_after
            THEN 1 ELSE known.failures + 1 END,
        failing_since = CASE WHEN known.last_failed < now() - :forgotten_after
            THEN now() ELSE known.failing_since END,
        last_failed = now()
    RETURNING failures, failing_since < now() - :disabled_after AS is_lasting
""").bindparams(
    bindparam("disabled_after", type_=Interval), bindparam("forgotten_after", type_=Interval)
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery whose lease was taken, when ``since`` was by the database's clock. ``tries``
    counts since somebody last asked for it."""

    id: str
    endpoint_id: str | None
    lane: str
    attempt: int
    tries: int
    since: datetime
    url: str
    secrets: SealedSecrets
    event: Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt. ``error`` is None where the receiver took it; ``duration_ms`` is
    not known of a sender that died; without ``was_asked`` it says nothing of the receiver."""

    duration_ms: int | None
    http_status: int | None
    answer: str | None
    error: Failure | None
    was_asked: bool = True


def pick(connection: Connection, room: int, lane_limit: int) -> Sequence[str]:
    """Note deliveries that are due as woken, fairly between projects and between the receivers of
    each, and return their ids.

    Args:
        room: how many at most.
        lane_limit: how many of one lane may be in flight.
    """
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_DISPATCH_LOCK})"))
    # Counted by a later statement: an earlier one sees what was before the lock.
    given = {"room": room, "lane_limit": lane_limit}
    return list(connection.execute(_PICK, given).scalars())


def count_woken(connection: Connection) -> int:
    """Return how many wait in the queue, as far as the database knows."""
    query = text("SELECT count(*) FROM deliveries WHERE woken IS NOT NULL AND status = 'pending'")
    return int(connection.execute(query).scalar_one())


def count_waiting(connection: Connection) -> int:
    """Return how many wait for an attempt and are not on their way to a sender."""
    query = text("SELECT count(*) FROM deliveries WHERE status = 'pending' AND woken IS NULL")
    return int(connection.execute(query).scalar_one())


def note_unwoken(connection: Connection, delivery_ids: Sequence[str]) -> None:
    """Note that wake-ups were not sent after all."""
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.id.in_(delivery_ids), deliveries.c.status == DeliveryStatus.PENDING.value
        )
        .values(woken=None)
    )


def forget_lost(connection: Connection, after_s: float, limit: int) -> int:
    """Have wake-ups sent again that nobody has answered for a while; return how many."""
    if not limit:
        return 0
    lost = (
        select(deliveries.c.id)
        .where(
            deliveries.c.woken < in_seconds(-after_s),
            deliveries.c.status == DeliveryStatus.PENDING.value,
        )
        .order_by(deliveries.c.woken)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(
        update(deliveries).where(deliveries.c.id.in_(lost)).values(woken=None)
    ).rowcount


def claim(connection: Connection, delivery_id: str, sender: str, lease_s: float) -> Claimed | None:
    """Take the lease of a delivery that is due.

    Returns:
        None if there is nothing to send: the wake-up was late or doubled, or its endpoint is
        disabled or gone.
    """
    given = {"delivery_id": delivery_id, "sender": sender, "lease": timedelta(seconds=lease_s)}
    row = connection.execute(_CLAIM, given).one_or_none()
    if row is None:
        return None
    return Claimed(
        id=row.delivery_id,
        endpoint_id=row.endpoint_id,
        lane=row.lane,
        attempt=row.attempt,
        tries=row.tries,
        since=row.claimed_at,
        url=row.url,
        secrets=SealedSecrets(row.newest, row.old),
        event=to_event(row),
    )


def record(
    connection: Connection,
    claimed: Claimed,
    outcome: Outcome,
    plan: Plan,
    *,
    longest_delay_s: float = DELAYS_S[-1],
) -> bool:
    """Write down what came of an attempt, and what follows from it.

    Args:
        longest_delay_s: of the schedule. What was not tried for longer is not failing since then.

    Returns:
        False if the lease was lost; then nothing was written.
    """
    if plan.arrived:
        status, ends = DeliveryStatus.DELIVERED, True
    else:
        ends = plan.retry_after_s is None
        status = DeliveryStatus.FAILED if ends else DeliveryStatus.PENDING
    values = {
        "finished": func.now() if ends else None,
        "next_attempt_at": in_seconds(plan.retry_after_s or 0.0),
    }
    if not _release(connection, claimed.id, claimed.attempt, status, values):
        return False
    _close(connection, claimed.id, claimed.attempt, outcome)
    if outcome.was_asked and not _was_changed(connection, claimed):
        _note_lane(connection, claimed, plan, timedelta(seconds=2 * longest_delay_s + 3600))
    return True


def hand_back(connection: Connection, held: Sequence[tuple[str, int]], failure: Failure) -> int:
    """Give deliveries back that their sender will not finish; no attempt is charged for it.

    Args:
        held: pairs of delivery id and attempt.

    Returns:
        How many went back; the others had lost their lease.
    """
    given_back = 0
    for delivery_id, attempt in sorted(held):
        values = {"tries": deliveries.c.tries - 1, "next_attempt_at": func.now()}
        if _release(connection, delivery_id, attempt, DeliveryStatus.PENDING, values):
            _close(connection, delivery_id, attempt, Outcome(None, None, None, failure))
            given_back += 1
    return given_back


def release_expired(
    connection: Connection, plan: Callable[[int], Plan], failure: Failure, limit: int = 100
) -> int:
    """Take deliveries back from senders that fell silent; return how many.

    Args:
        plan: what follows from an attempt without an answer, by how many there were.
    """
    expired = connection.execute(
        select(deliveries.c.id, deliveries.c.attempt, deliveries.c.tries, deliveries.c.event_type)
        .where(
            # Written into SQL, so that the partial index serves.
            text("status = 'sending'"),
            deliveries.c.lease_until < func.now(),
        )
        .order_by(deliveries.c.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    for row in expired:
        is_test = row.event_type == EventType.WEBHOOK_TEST
        # Nobody waits for a test any more.
        after_s = None if is_test else plan(row.tries).retry_after_s
        values = {
            "finished": func.now() if after_s is None else None,
            "next_attempt_at": in_seconds(after_s or 0.0),
        }
        status = DeliveryStatus.FAILED if after_s is None else DeliveryStatus.PENDING
        _release(connection, row.id, row.attempt, status, values)
        _close(connection, row.id, row.attempt, Outcome(None, None, None, failure))
    return len(expired)


def forget_orphans(connection: Connection, limit: int) -> int:
    """Delete deliveries of endpoints that are gone; return how many there were."""
    return connection.execute(_FORGET_ORPHANS, {"limit": limit}).rowcount


def forget_troubles(connection: Connection, after: timedelta) -> None:
    """Forget receivers that failed and that nobody asks any more: hosts that tasks had named."""
    connection.execute(
        delete(troubles).where(
            troubles.c.last_failed < func.now() - after,
            ~exists().where(webhook_endpoints.c.id == troubles.c.lane),
        )
    )


def _release(
    connection: Connection,
    delivery_id: str,
    attempt: int,
    status: DeliveryStatus,
    values: Mapping[str, object],
) -> bool:
    written = connection.execute(
        update(deliveries)
        .where(
            deliveries.c.id == delivery_id,
            deliveries.c.attempt == attempt,
            deliveries.c.status == DeliveryStatus.SENDING.value,
        )
        .values(status=status.value, woken=None, lease_until=None, **values)
    )
    return written.rowcount == 1


def _close(connection: Connection, delivery_id: str, attempt: int, outcome: Outcome) -> None:
    connection.execute(
        update(delivery_attempts)
        .where(
            delivery_attempts.c.delivery_id == delivery_id, delivery_attempts.c.number == attempt
        )
        .values(
            duration_ms=outcome.duration_ms,
            http_status=outcome.http_status,
            answer=outcome.answer,
            error=None if outcome.error is None else asdict(outcome.error),
        )
    )


def _was_changed(connection: Connection, claimed: Claimed) -> bool:
    """Return whether an endpoint is another than the one that was asked, or is gone: it may have
    another URL, or was enabled after it said that it is gone."""
    if claimed.endpoint_id is None:
        return False
    query = select(webhook_endpoints.c.url, webhook_endpoints.c.updated).where(
        webhook_endpoints.c.id == claimed.endpoint_id
    )
    row = connection.execute(query).one_or_none()
    return row is None or row.url != claimed.url or row.updated > claimed.since


def _note_lane(
    connection: Connection, claimed: Claimed, plan: Plan, forgotten_after: timedelta
) -> None:
    """Note whether anything arrives in a lane; an endpoint that nothing reaches is disabled."""
    is_test = claimed.event.type is EventType.WEBHOOK_TEST
    if plan.arrived:
        # A test has another lane, and shows as well that the endpoint is there.
        lane = claimed.endpoint_id or claimed.lane
        connection.execute(delete(troubles).where(troubles.c.lane == lane))
        return
    if is_test:
        return
    given = {
        "lane": claimed.lane,
        "disabled_after": DISABLED_AFTER,
        "forgotten_after": forgotten_after,
    }
    row = connection.execute(_FAIL_LANE, given).one()
    pause_s = max(plan.pause_s, plan_pause(row.failures))
    if pause_s:
        connection.execute(
            update(troubles)
            .where(troubles.c.lane == claimed.lane)
            .values(paused_until=func.greatest(troubles.c.paused_until, in_seconds(pause_s)))
        )
    if claimed.endpoint_id is not None and (plan.disables or row.is_lasting):
        reason = DisabledFor.GONE if plan.disables else DisabledFor.FAILING
        endpoints.disable(connection, claimed.endpoint_id, reason)

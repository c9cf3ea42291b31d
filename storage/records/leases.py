"""Many leases at once: extended, handed back by a worker that stops, taken from one that is silent.

Each is measured by the database's clock and named with its fencing token, so any number of workers
and sweepers may call these at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, exists, func, select, tuple_, update

from ingest.errors import AttemptsExhausted, LeaseLost, WorkerStopped
from ingest.events import EventType
from ingest.states import Status
from storage.records import names, outbox
from storage.records.tables import PROCESSING, parts, tasks
from storage.records.tasks import close_attempt, in_seconds, move


def extend_leases(
    connection: Connection, held: Sequence[tuple[str, int]], lease_s: float
) -> frozenset[tuple[str, int]]:
    """Extend the leases that are still held.

    Args:
        held: pairs of task id and attempt.

    Returns:
        The pairs that were extended; those left out have lost their lease.
    """
    # In one order, as whoever cancels a batch has it.
    locked = (
        select(tasks.c.id)
        .where(tasks.c.status == PROCESSING, tuple_(tasks.c.id, tasks.c.attempt).in_(held))
        .order_by(tasks.c.id)
        .with_for_update()
        .cte("locked")
    )
    rows = connection.execute(
        update(tasks)
        .where(
            tasks.c.id.in_(select(locked.c.id)),
            tasks.c.status == Status.PROCESSING,
            tuple_(tasks.c.id, tasks.c.attempt).in_(held),
        )
        .values(lease_until=in_seconds(lease_s))
        .returning(tasks.c.id, tasks.c.attempt)
    )
    return frozenset((row.id, row.attempt) for row in rows)


def hand_back(connection: Connection, held: Sequence[tuple[str, int]]) -> int:
    """Give tasks back that their worker will not finish; no attempt is charged for it.

    Args:
        held: pairs of task id and attempt.

    Returns:
        How many went back; the others had lost their lease.
    """
    failure = WorkerStopped("The worker was told to stop.").as_failure()
    count = 0
    # In one order everywhere, so that two transactions never wait for each other in a ring.
    for task_id, attempt in sorted(held):
        row = move(
            connection,
            task_id,
            Status.PENDING,
            attempt=attempt,
            sources=frozenset({Status.PROCESSING}),
            values={
                "lease_until": None,
                "woken": None,
                "next_attempt_at": None,
                "tries": tasks.c.tries - 1,
                "left_object": True,
                "error": asdict(failure),
            },
        )
        if row is not None:
            close_attempt(connection, task_id, attempt, None, failure)
            outbox.tell_task(connection, EventType.TASK_RETRYING, task_id)
            count += 1
    return count


def release_expired(connection: Connection, limit: int = 100) -> Mapping[str, Status]:
    """Take tasks back from workers that fell silent: to pending, or to failed after the last try.

    Returns:
        What became of each, by task id.
    """
    expired = connection.execute(
        select(
            tasks.c.id,
            tasks.c.attempt,
            tasks.c.tries,
            tasks.c.max_attempts,
            exists()
            .where(parts.c.task_id == tasks.c.id, parts.c.sent_by == tasks.c.attempt)
            .label("went_on"),
        )
        .where(tasks.c.status == PROCESSING, tasks.c.lease_until < func.now())
        .order_by(tasks.c.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True, of=tasks)
    ).all()
    lost = LeaseLost("The worker fell silent and its lease ran out.").as_failure()
    outcome: dict[str, Status] = {}
    for row in expired:
        last = row.tries >= row.max_attempts
        target = Status.FAILED if last else Status.PENDING
        error = AttemptsExhausted(f"The last of {row.tries} attempts lost its worker.").as_failure()
        move(
            connection,
            row.id,
            target,
            attempt=row.attempt,
            values={
                "lease_until": None,
                "woken": None,
                "left_object": True,
                # What went on for a part is not what kills its workers.
                "lost": 0 if row.went_on else tasks.c.lost + 1,
                "error": asdict(error if last else lost),
                **({"finished": func.now()} if last else {}),
            },
        )
        close_attempt(connection, row.id, row.attempt, None, lost)
        if last:
            names.free(connection, row.id)
        event = EventType.TASK_FAILED if last else EventType.TASK_RETRYING
        outbox.tell_task(connection, event, row.id)
        outcome[row.id] = target
    return outcome

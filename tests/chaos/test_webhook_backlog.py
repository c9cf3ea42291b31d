"""W2 and W4: a receiver that fails for days, and one that is dead with many waiting for it."""

from __future__ import annotations

import time
from datetime import timedelta

import psutil
from sqlalchemy import ARRAY, String, bindparam, func, select, text, update

from ingest.config import MIB
from ingest.delivering import (
    DELAYS_S,
    DISABLED_AFTER,
    JITTER,
    TROUBLED_AFTER,
    Plan,
    plan_next,
)
from ingest.errors import ReceiverRefused
from ingest.ids import Prefix, make_id
from storage.records import outbox, sending
from storage.records.sending import Outcome
from storage.records.tables import deliveries, events, troubles
from tests.chaos.conftest import Scale
from tests.chaos.outcome import wait_for_ends
from tests.chaos.receiver import Fate
from tests.chaos.rig import Rig, Tenant
from tests.chaos.test_webhooks import (
    ENDS,
    count_deliveries,
    find_percentile,
    is_unaffected,
    measure_delays,
)
from tests.support.api import read_object
from tests.support.figures import Figures
from tests.support.waiting import wait_until

REFUSED = ReceiverRefused("The receiver answered 500.").as_failure()
# What a process may take more, be it for a backlog of any length.
FLAT_BYTES = 16 * MIB
_COPY_EVENTS = text("""
    INSERT INTO events (id, project_id, type, subject_id, snapshot)
    SELECT made.id, project_id, type, subject_id, snapshot
    FROM unnest(:ids) AS made (id), events WHERE events.id = :event_id
""").bindparams(bindparam("ids", type_=ARRAY(String)))
_COPY_DELIVERIES = text(f"""
    WITH wanted AS (
        SELECT id, project_id, type, CAST(:endpoint_id AS varchar) AS endpoint_id, NULL AS url,
            CAST(:endpoint_id AS varchar) AS lane
        FROM events WHERE id = ANY(:ids)
    ) {outbox.QUEUE}
""").bindparams(bindparam("ids", type_=ARRAY(String)))  # noqa: S608 - constants


class Clock:
    """Time of a delivery that is moved on by moving its rows back."""

    def __init__(self, rig: Rig, delivery_id: str, endpoint_id: str) -> None:
        self.elapsed = timedelta()
        self._rig = rig
        self._delivery_id = delivery_id
        self._endpoint_id = endpoint_id

    def try_once(self, plan: Plan) -> timedelta | None:
        """Make one attempt; return how long the next one is to be waited for."""
        with self._rig.database.transaction() as connection:
            claimed = sending.claim(connection, self._delivery_id, "sender-w2", 60)
            assert claimed is not None
            assert sending.record(connection, claimed, Outcome(1, 500, "", REFUSED), plan)
            query = select(deliveries.c.next_attempt_at - func.now()).where(
                deliveries.c.id == self._delivery_id, deliveries.c.status == "pending"
            )
            return connection.execute(query).scalar_one_or_none()

    def move(self, by: timedelta) -> None:
        """Let so much time go by."""
        self.elapsed += by
        with self._rig.database.transaction() as connection:
            connection.execute(
                update(deliveries)
                .where(deliveries.c.id == self._delivery_id)
                .values(next_attempt_at=deliveries.c.next_attempt_at - by)
            )
            connection.execute(
                update(troubles)
                .where(troubles.c.lane == self._endpoint_id)
                .values(
                    failing_since=troubles.c.failing_since - by,
                    paused_until=troubles.c.paused_until - by,
                )
            )


def test_w2_a_receiver_that_fails_is_asked_by_the_schedule_and_then_left_alone(
    rig: Rig, tenant: Tenant, figures: Figures
) -> None:
    _, endpoint_id = tenant.listen("w2", ["task.created"])
    path = f"/webhooks/endpoints/{endpoint_id}"
    # Nobody but this row sends.
    for name in ("beat", "sender"):
        rig.stack.stop_child(name)
    with figures.row("W2", "a clock that is moved on, over ten attempts and five days") as row:
        clock = Clock(rig, _make_delivery(rig, tenant, "w2-a"), endpoint_id)
        waits: list[float] = []
        for number in range(1, len(DELAYS_S) + 1):
            wait = clock.try_once(plan_next(500, number))
            if wait is not None:
                waits.append(wait.total_seconds())
                clock.move(wait)
        row.note("ten attempts, then it has failed", len(waits) + 1, held=len(waits) == 9)
        within = [
            plain - 1 <= wait <= plain * (1 + JITTER)
            for plain, wait in zip(DELAYS_S[1:], waits, strict=True)
        ]
        shown = ", ".join(f"{wait:.0f}" for wait in waits)
        row.note("each at its time, within the jitter", f"{shown} s", held=all(within))
        last = Clock(rig, _make_delivery(rig, tenant, "w2-b"), endpoint_id)
        last.try_once(plan_next(500, 1))
        assert _read(tenant, path)["status"] == "enabled"
        last.move(DISABLED_AFTER - clock.elapsed)
        last.try_once(plan_next(500, 2))
        found = _read(tenant, path)
        row.note(
            "disabled after five failing days",
            f"{found['status']}, {found['disabled_for']}",
            held=(found["status"], found["disabled_for"]) == ("disabled", "failing"),
        )
        told = count_events(rig, tenant, "endpoint.disabled")
        row.note("which is told", told, held=told == 1)

        read_object(tenant.api.patch(path, {"status": "enabled"}))
        body = {"since": "2020-01-01T00:00:00Z", "status": "failed"}
        replayed = read_object(tenant.api.post(f"{path}/replay", body))["deliveries"]
        row.note("a replay sends what failed", replayed, held=replayed == 1)

        asked = Clock(rig, _make_delivery(rig, tenant, "w2-c"), endpoint_id)
        wait = asked.try_once(plan_next(503, 1, retry_after_s=3600))
        seconds = 0.0 if wait is None else wait.total_seconds()
        row.note("Retry-After is obeyed", f"{seconds:.0f} s", held=3599 <= seconds <= 3601)
        gone = Clock(rig, _make_delivery(rig, tenant, "w2-d"), endpoint_id)
        gone.try_once(plan_next(410, 1))
        found = _read(tenant, path)
        row.note(
            "410 disables at once",
            f"{found['status']}, {found['disabled_for']}",
            held=(found["status"], found["disabled_for"]) == ("disabled", "gone"),
        )


def test_w4_many_that_wait_for_a_dead_endpoint_cost_the_others_nothing(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    count, measured = scale.pick(300, 50_000), scale.pick(20, 200)
    healthy, _ = tenant.listen("w4-healthy", ENDS)
    dead, dead_id = tenant.listen("w4-dead", ["endpoint.disabled"], lambda: Fate.RESET)
    dead.keeps_bodies = False
    path = f"/webhooks/endpoints/{dead_id}"
    with figures.row("W4", f"{count} deliveries wait for a dead endpoint") as row:
        before_ms = measure_delays(tenant, healthy, "w4-before", measured)
        processes = {name: psutil.Process(rig.stack.processes[name]) for name in ("beat", "sender")}
        taken_bytes = {name: one.memory_info().rss for name, one in processes.items()}
        _pile_up(rig, tenant, dead_id, count)
        wait_until(lambda: len(dead.arrivals) >= TROUBLED_AFTER, "it to be in trouble", 30)
        after_ms = measure_delays(tenant, healthy, "w4-after", measured)
        before, after = find_percentile(before_ms, 95), find_percentile(after_ms, 95)
        row.note(
            "p95 to another at most twice its baseline",
            f"{before:.0f} ms, then {after:.0f} ms",
            held=is_unaffected(before, after, scale),
        )
        asked = len(dead.arrivals)
        row.note("the dead one is hardly asked", f"{asked} times", held=asked < 100)

        dead.decide = lambda: Fate.TAKEN
        read_object(tenant.api.patch(path, {"status": "disabled"}))
        dead.most_at_once = 0
        began = time.monotonic()
        read_object(tenant.api.patch(path, {"status": "enabled"}))
        wait_until(
            lambda: count_deliveries(rig, dead_id, "delivered") == count,
            "all of them",
            scale.pick(60, 1100),
            pause_s=0.2,
        )
        took_s = time.monotonic() - began
        row.note(
            "drained once it is enabled, at a bounded rate",
            f"{count / took_s:.0f} a second, {dead.most_at_once} at once",
            held=dead.most_at_once <= rig.settings.webhook_endpoint_limit,
        )
        for name, one in processes.items():
            more = one.memory_info().rss - taken_bytes[name]
            row.note(
                f"memory of the {name} is flat", f"{more / MIB:+.1f} MiB", held=more <= FLAT_BYTES
            )


def _make_delivery(rig: Rig, tenant: Tenant, name: str) -> str:
    """Return the one delivery of a new task's event."""
    (task_id,) = tenant.add_all([rig.source.url(f"/tiny/{name}")])
    query = (
        select(deliveries.c.id)
        .join(events, events.c.id == deliveries.c.event_id)
        .where(events.c.subject_id == task_id, deliveries.c.event_type == "task.created")
    )
    with rig.database.transaction() as connection:
        return str(connection.execute(query).scalar_one())


def _pile_up(rig: Rig, tenant: Tenant, endpoint_id: str, count: int) -> None:
    """Write down many events, each with its delivery to one endpoint."""
    wait_for_ends(tenant, 30)
    query = select(events.c.id).where(
        events.c.project_id == tenant.project.id, events.c.type == "task.completed"
    )
    with rig.database.transaction() as connection:
        event_id = connection.execute(query.limit(1)).scalar_one()
    for at in range(0, count, 5000):
        ids = [make_id(Prefix.EVENT) for _ in range(min(5000, count - at))]
        with rig.database.transaction() as connection:
            connection.execute(_COPY_EVENTS, {"ids": ids, "event_id": event_id})
            connection.execute(_COPY_DELIVERIES, {"ids": ids, "endpoint_id": endpoint_id})


def count_events(rig: Rig, tenant: Tenant, event: str) -> int:
    """Return how many events of a type a tenant has."""
    query = select(func.count()).where(
        events.c.project_id == tenant.project.id, events.c.type == event
    )
    with rig.database.transaction() as connection:
        return int(connection.execute(query).scalar_one())


def _read(tenant: Tenant, path: str) -> dict[str, object]:
    return read_object(tenant.api.get(path))

"""Deliveries on real PostgreSQL: picked fairly, claimed and recorded once, held back in trouble."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from ingest.delivering import TROUBLED_AFTER, Plan, plan_next
from ingest.errors import SourceTimeout
from ingest.model import Limits, Project
from ingest.webhooks import Delivery, DeliveryStatus, DisabledFor, Endpoint, EndpointStatus
from storage.records import deliveries, endpoints, projects, sending
from storage.records.database import Database
from storage.records.deliveries import Missed
from storage.records.endpoints import SealedSecrets
from storage.records.sending import Claimed, Outcome
from tests.integration.examples import MakeTask, has_waiter
from tests.support.waiting import wait_until

MakeEndpoint = Callable[[], Endpoint]
TAKEN = Outcome(3, 204, "", None)
FAILURE = SourceTimeout("It hangs.").as_failure()
MISSED = Outcome(15_000, None, None, FAILURE)


@pytest.fixture
def make_endpoint(records: Database, project: Project) -> MakeEndpoint:
    def make() -> Endpoint:
        with records.transaction() as connection:
            return endpoints.create(
                connection,
                project.id,
                url="https://example.com/",
                topics=["task.created"],
                description=None,
                metadata=None,
                sealed_secret=b"sealed",
            )

    return make


def _pick(records: Database, room: int = 100, lane_limit: int = 4) -> list[str]:
    with records.transaction() as connection:
        return list(sending.pick(connection, room, lane_limit))


def _claim(records: Database, delivery_id: str, lease_s: float = 60) -> Claimed | None:
    with records.transaction() as connection:
        return sending.claim(connection, delivery_id, "sender-1", lease_s)


def _take(records: Database) -> Claimed:
    (delivery_id,) = _pick(records, 1)
    claimed = _claim(records, delivery_id)
    assert claimed is not None
    return claimed


def _record(records: Database, claimed: Claimed, outcome: Outcome, plan: Plan) -> bool:
    with records.transaction() as connection:
        return sending.record(connection, claimed, outcome, plan)


def _read(records: Database, project: Project, delivery_id: str) -> Delivery:
    with records.transaction() as connection:
        found = deliveries.get(connection, project.id, delivery_id)
    assert found is not None
    return found


def _read_endpoint(records: Database, endpoint: Endpoint) -> Endpoint:
    with records.transaction() as connection:
        found = endpoints.get(connection, endpoint.project_id, endpoint.id)
    assert found is not None
    return found


def test_a_delivery_is_claimed_once_and_recorded_once(
    records: Database, project: Project, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    endpoint = make_endpoint()
    task = make_task()
    (delivery_id,) = _pick(records)
    assert _pick(records) == []
    claimed = _claim(records, delivery_id)
    assert claimed is not None
    assert _claim(records, delivery_id) is None
    assert (claimed.url, claimed.secrets) == (endpoint.url, SealedSecrets(b"sealed", None))
    assert claimed.event.task == task
    assert _record(records, claimed, TAKEN, plan_next(204, 1))
    assert not _record(records, claimed, MISSED, plan_next(None, 1))
    found = _read(records, project, delivery_id)
    assert (found.status, found.attempt) == (DeliveryStatus.DELIVERED, 1)
    assert found.finished is not None
    assert [(one.http_status, one.duration_ms) for one in found.attempts] == [(204, 3)]
    assert _pick(records) == []


def test_what_failed_comes_again_by_the_plan_and_ends_with_its_last_attempt(
    records: Database, project: Project, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    endpoint = make_endpoint()
    make_task()
    for number in (1, 2):
        claimed = _take(records)
        assert (claimed.attempt, claimed.tries) == (number, number)
        assert _record(records, claimed, MISSED, Plan(arrived=False, retry_after_s=0))
    assert _read_endpoint(records, endpoint).failing_since is not None
    claimed = _take(records)
    assert _record(records, claimed, MISSED, Plan(arrived=False))
    found = _read(records, project, claimed.id)
    assert (found.status, len(found.attempts)) == (DeliveryStatus.FAILED, 3)
    with records.transaction() as connection:
        assert deliveries.redeliver(connection, project.id, claimed.id) is not None
    again = _take(records)
    with records.transaction() as connection:
        assert deliveries.redeliver(connection, project.id, claimed.id) is None
    assert (again.event.id, again.attempt, again.tries) == (claimed.event.id, 4, 1)
    assert _record(records, again, TAKEN, plan_next(200, 1))
    assert _read_endpoint(records, endpoint).failing_since is None


def test_one_receiver_has_a_few_places_and_the_others_the_rest(
    records: Database, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    first = make_endpoint()
    for _ in range(6):
        make_task()
    second = make_endpoint()
    make_task()
    picked = _pick(records, room=3)
    lanes = Counter(_lane(records, one) for one in picked)
    assert lanes == {first.id: 2, second.id: 1}
    assert len(_pick(records)) == 2
    assert _pick(records) == []


def _lane(records: Database, delivery_id: str) -> str:
    with records.transaction() as connection:
        query = text("SELECT lane FROM deliveries WHERE id = :id")
        return str(connection.execute(query, {"id": delivery_id}).scalar_one())


def test_a_receiver_that_takes_nothing_is_left_alone_and_then_asked_by_one(
    records: Database, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    make_endpoint()
    for _ in range(TROUBLED_AFTER + 3):
        make_task()
    for _ in range(TROUBLED_AFTER):
        assert _record(records, _take(records), MISSED, Plan(arrived=False))
    assert _pick(records) == []
    with records.transaction() as connection:
        connection.execute(text("UPDATE troubles SET paused_until = now()"))
    (only,) = _pick(records)
    claimed = _claim(records, only)
    assert claimed is not None
    assert _record(records, claimed, TAKEN, plan_next(200, 1))
    assert len(_pick(records)) == 2


@pytest.mark.parametrize(
    ("plan", "since", "reason"),
    [
        (Plan(arrived=False, disables=True), timedelta(0), DisabledFor.GONE),
        (Plan(arrived=False), timedelta(days=5, seconds=1), DisabledFor.FAILING),
        (Plan(arrived=False), timedelta(days=4, hours=23), None),
    ],
)
def test_a_receiver_is_disabled_that_is_gone_or_failed_for_five_days(
    plan: Plan,
    since: timedelta,
    reason: DisabledFor | None,
    records: Database,
    make_endpoint: MakeEndpoint,
    make_task: MakeTask,
) -> None:
    endpoint = make_endpoint()
    make_task()
    make_task()
    first = _take(records)
    assert _record(records, first, MISSED, Plan(arrived=False))
    with records.transaction() as connection:
        connection.execute(
            text("UPDATE troubles SET failing_since = now() - CAST(:since AS interval)"),
            {"since": since},
        )
    assert _record(records, _take(records), MISSED, plan)
    found = _read_endpoint(records, endpoint)
    assert found.disabled_for is reason
    assert (found.status is EndpointStatus.DISABLED) is (reason is not None)
    make_task()
    assert bool(_pick(records)) is (reason is None)


def test_a_sender_that_fell_silent_loses_its_delivery_and_writes_nothing_more(
    records: Database, project: Project, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    make_endpoint()
    make_task()
    (delivery_id,) = _pick(records)
    silent = _claim(records, delivery_id, lease_s=-1)
    assert silent is not None
    with records.transaction() as connection:
        plan = Plan(arrived=False, retry_after_s=0)
        assert sending.release_expired(connection, lambda _: plan, FAILURE) == 1
    assert not _record(records, silent, TAKEN, plan_next(200, 1))
    again = _take(records)
    assert again.attempt == 2
    with records.transaction() as connection:
        assert sending.hand_back(connection, [(again.id, 2)], FAILURE) == 1
    assert (_take(records).attempt, _read(records, project, again.id).attempt) == (3, 3)


def test_what_waits_for_its_next_attempt_is_sent_at_once_when_somebody_asks(
    records: Database, project: Project, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    make_endpoint()
    make_task()
    claimed = _take(records)
    assert _record(records, claimed, MISSED, Plan(arrived=False, retry_after_s=86_400))
    assert _pick(records) == []
    with records.transaction() as connection:
        assert deliveries.redeliver(connection, project.id, claimed.id) is not None
    assert _take(records).tries == 1


def test_what_ended_while_it_was_picked_is_not_woken(
    records: Database, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    make_endpoint()
    make_task()
    make_task()
    (first, second) = _pick(records)
    with records.transaction() as connection:
        sending.note_unwoken(connection, [first, second])
    picked: list[str] = []
    with records.transaction() as holder:
        # The statement waits for this row when it has chosen both, and the other ends meanwhile.
        holder.execute(text("SELECT FROM deliveries WHERE id = :id FOR UPDATE"), {"id": first})
        thread = threading.Thread(target=lambda: picked.extend(_pick(records)))
        thread.start()
        wait_until(lambda: has_waiter(records), "the pick waits for a lock")
        claimed = _claim(records, second)
        if claimed is not None:
            assert _record(records, claimed, TAKEN, plan_next(200, 1))
    thread.join(10)
    with records.transaction() as connection:
        ended = text("SELECT count(*) FROM deliveries WHERE woken IS NOT NULL AND finished < now()")
        assert connection.execute(ended).scalar_one() == 0
    assert first in picked


def test_a_project_with_a_thousand_receivers_does_not_go_before_one_with_one(
    records: Database, project: Project, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    make_endpoint()
    with records.transaction() as connection:
        other = projects.create_project(connection, "other", "other", Limits())
        connection.execute(
            text("""
                WITH told AS (
                    INSERT INTO events (id, project_id, type, subject_id, snapshot)
                    VALUES ('evt_other', :project_id, 'task.completed', 'task_x', '{}')
                    RETURNING id
                )
                INSERT INTO deliveries (id, project_id, event_id, event_type, url, lane)
                SELECT 'del_' || number, :project_id, id, 'task.completed', 'https://h/',
                    'prj_0 h' || number
                FROM told, generate_series(1, 100) AS number
            """),
            {"project_id": other.id},
        )
    make_task()
    picked = _pick(records, room=2)
    assert len({_project(records, one) for one in picked}) == 2
    assert len(_pick(records, room=10)) == 10


def _project(records: Database, delivery_id: str) -> str:
    with records.transaction() as connection:
        query = text("SELECT project_id FROM deliveries WHERE id = :id")
        return str(connection.execute(query, {"id": delivery_id}).scalar_one())


@pytest.mark.parametrize(
    "change", [{"url": "https://example.com/new"}, {"status": EndpointStatus.ENABLED}]
)
def test_what_another_address_said_says_nothing_of_this_one(
    change: dict[str, object], records: Database, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    endpoint = make_endpoint()
    make_task()
    claimed = _take(records)
    with records.transaction() as connection:
        assert endpoints.change(connection, endpoint.project_id, endpoint.id, change) is not None
    assert _record(records, claimed, MISSED, Plan(arrived=False, disables=True, pause_s=86_400))
    found = _read_endpoint(records, endpoint)
    assert (found.status, found.failing_since) == (EndpointStatus.ENABLED, None)


def test_what_was_never_asked_is_not_in_trouble(
    records: Database, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    endpoint = make_endpoint()
    make_task()
    unasked = replace(MISSED, was_asked=False)
    assert _record(records, _take(records), unasked, Plan(arrived=False))
    assert _read_endpoint(records, endpoint).failing_since is None


def test_a_failure_after_long_silence_is_another_trouble(
    records: Database, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    endpoint = make_endpoint()
    make_task()
    make_task()
    assert _record(records, _take(records), MISSED, Plan(arrived=False))
    with records.transaction() as connection:
        connection.execute(
            text(
                "UPDATE troubles SET failing_since = now() - interval '6 days',"
                " last_failed = now() - interval '5 days'"
            )
        )
    assert _record(records, _take(records), MISSED, Plan(arrived=False))
    found = _read_endpoint(records, endpoint)
    assert found.status is EndpointStatus.ENABLED
    assert found.failing_since is not None
    assert found.failing_since > endpoint.created


def test_a_test_that_arrives_ends_the_trouble_and_one_that_lost_its_sender_ends(
    records: Database, project: Project, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    endpoint = make_endpoint()
    make_task()
    assert _record(records, _take(records), MISSED, Plan(arrived=False))
    with records.transaction() as connection:
        lost = deliveries.create_test(connection, endpoint)
    assert _claim(records, lost.id, lease_s=-1) is not None
    with records.transaction() as connection:
        plan = Plan(arrived=False, retry_after_s=0)
        assert sending.release_expired(connection, lambda _: plan, FAILURE) == 1
        assert deliveries.replay(connection, endpoint, endpoint.created, Missed.FAILED) == 1
    assert _read(records, project, lost.id).status is DeliveryStatus.FAILED
    with records.transaction() as connection:
        made = deliveries.create_test(connection, endpoint)
    assert _read_endpoint(records, endpoint).failing_since is not None
    claimed = _claim(records, made.id)
    assert claimed is not None
    assert _record(records, claimed, TAKEN, plan_next(200, 1))
    assert _read_endpoint(records, endpoint).failing_since is None


def test_two_replays_of_what_is_missing_make_it_once(
    records: Database, make_endpoint: MakeEndpoint, make_task: MakeTask
) -> None:
    make_task()
    endpoint = make_endpoint()
    since = endpoint.created - timedelta(hours=1)
    counts: list[int] = []

    def replay() -> None:
        with records.transaction() as connection:
            counts.append(deliveries.replay(connection, endpoint, since, Missed.MISSING))

    with records.transaction() as first:
        counts.append(deliveries.replay(first, endpoint, since, Missed.MISSING))
        thread = threading.Thread(target=replay)
        thread.start()
        wait_until(lambda: has_waiter(records), "the other replay waits")
    thread.join(10)
    assert sorted(counts) == [0, 1]

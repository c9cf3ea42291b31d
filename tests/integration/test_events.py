"""Events on real PostgreSQL: there exactly when what they tell of has happened, as it was then."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text

from ingest.errors import SourceNotFound
from ingest.events import Event, EventType
from ingest.model import Order, Project, Task
from ingest.states import Status
from storage.records import endpoints, events, files, tasks
from storage.records.database import Database
from storage.records.listing import Window
from storage.signals import Signals
from tests.integration.examples import (
    Claim,
    MakeTask,
    cancel_task,
    complete_task,
    fail_task,
    make_file,
    release_expired,
    retry_later,
)
from workers.leases import LeaseKeeper

SECRET_URL = "https://source.invalid/a.mp4?X-Amz-Signature=secret"


def _list(records: Database, project: Project) -> Sequence[Event]:
    """Return all events, the newest first."""
    with records.transaction() as connection:
        return events.list_page(connection, project.id, Window(limit=100)).items


def _list_types(records: Database, task: Task) -> list[str]:
    """Return what was told of a task, in order."""
    with records.transaction() as connection:
        query = text("SELECT type FROM events WHERE subject_id = :id ORDER BY created, id")
        return list(connection.execute(query, {"id": task.id}).scalars())


def test_a_task_that_ends_well_is_told_of_from_its_beginning_with_its_file(
    records: Database, project: Project, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    assert complete_task(records, lease)
    assert _list_types(records, task) == ["task.created", "task.started", "task.completed"]
    by_type = {one.type: one for one in _list(records, project)}
    made, begun = by_type[EventType.TASK_CREATED], by_type[EventType.TASK_STARTED]
    done, filed = by_type[EventType.TASK_COMPLETED], by_type[EventType.FILE_CREATED]
    assert made.task == task
    assert begun.task == lease.task
    assert [(one.number, one.finished) for one in begun.attempts] == [(1, None)]
    assert done.task is not None
    assert (done.task.status, done.task.error) == (Status.COMPLETE, None)
    (attempt,) = done.attempts
    assert (attempt.finished, attempt.transferred_bytes) == (done.created, 10)
    with records.transaction() as connection:
        file = files.get(connection, project.id, task.file_id)
    assert file is not None
    assert done.file == filed.file == file
    assert filed.subject_id == file.id


def test_an_attempt_that_lost_its_lease_tells_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    lease = claim(task, lease_s=-1)
    assert release_expired(records) == {task.id: Status.PENDING}
    for end in (complete_task, fail_task, retry_later):
        assert not end(records, lease)
    assert _list_types(records, task) == ["task.created", "task.started", "task.retrying"]


def test_what_is_rolled_back_was_never_told(
    records: Database, project: Project, make_task: MakeTask, claim: Claim
) -> None:
    lease = claim(make_task())
    before = len(_list(records, project))

    def fail_and_break() -> None:
        with records.transaction() as connection:
            assert tasks.fail(connection, lease, SourceNotFound("Gone."), 0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_and_break()
    assert len(_list(records, project)) == before


def test_every_other_end_is_told_with_its_error(
    records: Database, project: Project, make_task: MakeTask, claim: Claim
) -> None:
    failed, put_off, cancelled = make_task(), make_task(), make_task()
    assert fail_task(records, claim(failed))
    assert retry_later(records, claim(put_off))
    assert cancel_task(records, cancelled)
    told = {(one.subject_id, one.type): one.task for one in _list(records, project)}
    for task, event, code in (
        (failed, EventType.TASK_FAILED, "source_not_found"),
        (put_off, EventType.TASK_RETRYING, "source_unavailable"),
        (cancelled, EventType.TASK_CANCELLED, "cancelled"),
    ):
        shown = told[task.id, event]
        assert shown is not None
        assert shown.error is not None
        assert shown.error.code == code


def test_an_event_keeps_the_last_attempts_and_not_thousands(
    records: Database, project: Project, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task()
    for _ in range(22):
        assert retry_later(records, claim(task), after_s=0, charged=False)
    latest = _list(records, project)[0]
    assert latest.type is EventType.TASK_RETRYING
    assert [one.number for one in latest.attempts] == list(range(3, 23))


def test_a_deleted_file_is_told_of_as_it_was_and_one_that_is_not_there_is_not(
    records: Database, project: Project, make_task: MakeTask, claim: Claim
) -> None:
    lease = claim(make_task())
    assert complete_task(records, lease)
    for _ in range(2):
        with records.transaction() as connection:
            files.remove(connection, project.id, lease.task.file_id)
    gone = [one for one in _list(records, project) if one.type is EventType.FILE_DELETED]
    assert [one.file is not None and one.file.id for one in gone] == [make_file(lease).id]


def test_no_secret_of_a_task_stands_in_an_event(records: Database, project: Project) -> None:
    order = Order(
        SECRET_URL, None, None, None, {"a": None}, None, None, 0, b"sealed",
        "https://example.com/hook?token=secret",
    )  # fmt: skip
    with records.transaction() as connection:
        task = tasks.create(
            connection, project, order, object_key=None, max_attempts=1, request_id="req_a",
            woken=False,
        )  # fmt: skip
        kept = connection.execute(text("SELECT CAST(snapshot AS varchar) FROM events")).scalar_one()
        assert "secret" not in kept
        assert "sealed" not in kept
        (told,) = events.list_page(connection, project.id, Window()).items
    assert told.task is not None
    assert told.task.order.url == "https://source.invalid/a.mp4"
    assert told.task.order.webhook_url == "https://example.com/hook"
    assert told.task.order.metadata == {"a": None}
    assert task.order == order


def test_whoever_asks_for_it_has_one_delivery_and_a_tasks_own_url_that_of_its_end(
    records: Database, project: Project, claim: Claim
) -> None:
    with records.transaction() as connection:
        made = {
            topics: endpoints.create(
                connection, project.id, url="https://example.com/", topics=topics.split(),
                description=None, metadata=None, sealed_secret=b"x",
            ).id
            for topics in ("*", "task.*", "file.created task.failed", "task.progress")
        }  # fmt: skip
        order = Order(
            SECRET_URL, None, None, None, None, None, None,
            webhook_url="https://hooks.example:8443/a?token=b",
        )  # fmt: skip
        task = tasks.create(
            connection, project, order, object_key=None, max_attempts=1, request_id="req_a",
            woken=False,
        )  # fmt: skip
    assert complete_task(records, claim(task))
    with records.transaction() as connection:
        query = text("SELECT coalesce(endpoint_id, url), lane, event_type FROM deliveries")
        found = sorted(tuple(row) for row in connection.execute(query))
    of_task = ["task.created", "task.started", "task.completed"]
    own = f"{project.id} hooks.example:8443"
    assert found == sorted(
        [(made["*"], made["*"], one) for one in [*of_task, "file.created"]]
        + [(made["task.*"], made["task.*"], one) for one in of_task]
        + [(made["file.created task.failed"], made["file.created task.failed"], "file.created")]
        + [(order.webhook_url, own, "task.completed")]
    )


def test_progress_is_told_each_tenth_to_who_names_it_and_to_nobody_else(
    records: Database,
    signals: Signals,
    project: Project,
    make_task: MakeTask,
    claim: Claim,
) -> None:
    task = make_task()
    lease = claim(task, lease_s=60)
    keeper = LeaseKeeper(records, signals, worker="worker-1", lease_s=60, heartbeat_s=1)
    with keeper.hold(lease, asked=0.0) as held:
        held.report(15, 100)
        keeper.beat()
        assert "task.progress" not in _list_types(records, task)
        with records.transaction() as connection:
            endpoints.create(
                connection,
                project.id,
                url="https://example.com/",
                topics=["task.progress"],
                description=None,
                metadata=None,
                sealed_secret=b"sealed",
            )
        for count in (19, 20, 29, 55, 55, 100):
            held.report(count, 100)
            keeper.beat()
    found = [one for one in _list(records, project) if one.type is EventType.TASK_PROGRESS]
    told = [one.transfer.transferred_bytes for one in reversed(found) if one.transfer is not None]
    assert told == [20, 55]

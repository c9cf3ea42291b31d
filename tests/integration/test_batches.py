"""Batches on real PostgreSQL: taken whole or not at all, counted right, decided about at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select, text

from ingest.batch_requests import BatchOptions
from ingest.batches import Batch, BatchStatus
from ingest.config import Settings
from ingest.errors import (
    BodyTooLarge,
    FieldInvalid,
    FileExists,
    HeadraceError,
    RequestError,
)
from ingest.events import EventType
from ingest.list_rows import ListRow
from ingest.model import Lease, Limits, Project, Task
from ingest.states import Status
from storage import batch_intake
from storage.batch_intake import Intake, Taken
from storage.planning import Planner
from storage.records import (
    batch_actions,
    batches,
    claims,
    decisions,
    events,
    lookups,
    projects,
    results,
    tallies,
    turns,
    wakeups,
)
from storage.records.batch_actions import Step
from storage.records.batch_loading import find_beginning
from storage.records.database import Database
from storage.records.listing import Window
from storage.records.tables import names
from storage.records.tables import tasks as tasks_table
from storage.sealing import Sealer
from tests.integration.examples import MakeTask, complete_task, fail_task, retry_later

Take = Callable[..., Batch]
URL = "https://source.invalid/a.mp4"
ROW: dict[str, object] = {"url": f"{URL}?signature=s3cr3t"}


def _take(
    records: Database,
    settings: Settings,
    project: Project,
    rows: Iterable[dict[str, object]],
    **options: object,
) -> Taken:
    with records.transaction() as connection:
        intake = Intake(
            connection,
            Planner(settings, Sealer(settings.secret_keys)),
            project,
            BatchOptions.model_validate(options),
            request_id="req_1",
            most_rows=5000,
            max_attempts=4,
            ensure_secret=lambda: None,
        )
        return intake.take(ListRow(line, fields) for line, fields in enumerate(rows, 1))


@pytest.fixture
def take(records: Database, settings: Settings, project: Project) -> Take:
    """Makes a batch of some rows; returns it."""

    def make(rows: int | Sequence[dict[str, object]], **options: object) -> Batch:
        given = [ROW] * rows if isinstance(rows, int) else rows
        taken = _take(records, settings, project, given, **options)
        return _read(records, project, taken.batch_id)

    return make


def _read(records: Database, project: Project, batch_id: str) -> Batch:
    with records.transaction() as connection:
        found = batches.get(connection, project.id, batch_id)
    assert found is not None
    return found


def _count(records: Database, project: Project, batch: Batch) -> tuple[int, int, int, int, int]:
    counts = _read(records, project, batch.id).counts
    return (
        counts.pending, counts.processing, counts.complete, counts.failed, counts.cancelled
    )  # fmt: skip


def _list(records: Database, project: Project, batch: Batch) -> list[Task]:
    """Return the tasks of a batch, the first of its list first."""
    with records.transaction() as connection:
        narrowed = lookups.TaskFilter(batch_id=batch.id)
        page = lookups.list_page(connection, project.id, narrowed, Window(limit=100))
    return list(reversed(page.items))


def _claim(records: Database, task: Task) -> Lease:
    with records.look() as connection:
        lease = claims.claim(connection, task.id, "worker-1", 60)
    assert lease is not None
    return lease


def _follow(records: Database) -> Sequence[str]:
    with records.transaction() as connection:
        tallies.fold(connection)
    with records.transaction() as connection:
        return tallies.finish(connection)


def _work_off(
    records: Database, limit: int = 500, fault: HeadraceError | None = None
) -> list[Step]:
    steps: list[Step] = []
    reached: dict[str, str] = {}
    done: set[str] = set()
    while True:
        with records.transaction() as connection:
            step = batch_actions.work_off(connection, reached, done, lambda *_: fault, limit)
        _follow(records)
        if step is None:
            return steps
        steps.append(step)
        reached[step.batch_id] = step.after
        if not step.count:
            done.add(step.batch_id)


def _count_steps(steps: Iterable[Step]) -> int:
    return sum(step.count for step in steps)


def _pick(records: Database, room: int = 100) -> list[str]:
    with records.transaction() as connection:
        return list(turns.pick(connection, room, 0)[0])


def _decide(records: Database, batch: Batch, decide: Callable[..., bool]) -> bool:
    with records.transaction() as connection:
        return decide(connection, batch.project_id, batch.id)


def _list_events(records: Database, project: Project, subject_id: str) -> list[EventType]:
    with records.transaction() as connection:
        page = events.list_page(connection, project.id, Window(limit=100), subject_id=subject_id)
    return [one.type for one in reversed(page.items)]


def test_each_row_is_a_task_in_the_order_of_the_list(
    records: Database, project: Project, take: Take
) -> None:
    rows = [
        {**ROW, "folder": "a", "filename": f"{number}.mp4", "ref": f"r{number}",
         "metadata": {"n": [number, None, "ä"]}, "max_bytes": 2**33, "priority": number - 2,
         "checksum": "md5:" + "0" * 32, "max_attempts": number}
        for number in (1, 2, 3)
    ]  # fmt: skip
    batch = take(rows, ref="mine", metadata={"b": 1}, concurrency=7)
    assert (batch.status, batch.total, batch.rejected) == (BatchStatus.PROCESSING, 3, 0)
    assert (batch.ref, batch.metadata, batch.concurrency) == ("mine", {"b": 1}, 7)
    found = _list(records, project, batch)
    assert [task.batch_line for task in found] == [1, 2, 3]
    for task, row in zip(found, rows, strict=True):
        order = task.order
        assert {name: getattr(order, name) for name in row if name != "max_attempts"} == {
            name: value for name, value in row.items() if name != "max_attempts"
        }
        assert (task.max_attempts, task.status) == (row["max_attempts"], Status.PENDING)
        assert (task.batch_id, task.request_id) == (batch.id, "req_1")
    with records.transaction() as connection:
        taken = connection.execute(select(names.c.object_key).order_by(names.c.object_key))
        assert list(taken.scalars()) == [
            f"{project.key_prefix}/a/{number}.mp4" for number in (1, 2, 3)
        ]
    assert _list_events(records, project, batch.id) == [EventType.BATCH_CREATED]


def test_items_have_what_the_batch_says_unless_they_say_it_themselves(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(
        [ROW, {**ROW, "folder": "own", "priority": 1, "max_attempts": 2}],
        defaults={"folder": "all", "priority": 3, "max_attempts": 9, "ref": "x"},
        priority=5,
    )
    found = [
        (one.order.folder, one.order.priority, one.max_attempts, one.order.ref)
        for one in _list(records, project, batch)
    ]
    assert found == [("all", 5, 9, "x"), ("own", 1, 2, "x")]


def test_a_row_that_cannot_be_taken_is_told_and_the_others_are_taken(
    records: Database, project: Project, take: Take, make_task: MakeTask
) -> None:
    make_task("there.mp4")
    taken_name = {"folder": "folder", "filename": "there.mp4"}
    batch = take(
        [
            ROW,
            {"url": "ftp://x/?secret"},
            {**ROW, **taken_name},
            {**ROW, "filename": "new.mp4"},
            {**ROW, "filename": "new.mp4"},
            {**ROW, "titel": 1},
            {"url": 7},
            {},
        ]
    )
    assert (batch.total, batch.rejected) == (2, 6)
    assert [task.batch_line for task in _list(records, project, batch)] == [1, 4]
    told = [(one.line, one.url, one.error.code, one.param) for one in batch.rejects]
    assert told == [
        (2, "ftp://x/", "field_invalid", "url"),
        (3, URL, "file_exists", "filename"),
        (5, URL, "file_exists", "filename"),
        (6, URL, "field_invalid", "titel"),
        (7, None, "field_invalid", "url"),
        (8, None, "field_invalid", "url"),
    ]


@pytest.mark.parametrize(
    ("rows", "options", "kind", "said"),
    [
        ([ROW, {"url": "x"}], {"on_error": "abort"}, FieldInvalid, "Line 2: 'url' has no scheme"),
        ([ROW] + [{**ROW, "filename": "a"}] * 2, {"on_error": "abort"}, FileExists, "Line 3: "),
        ([{"url": "x"}, {}], {}, FieldInvalid, "No item of 2 can be taken. Line 1: 'url' has no"),
        ([], {}, FieldInvalid, "no items"),
        ([ROW] * 5001, {}, BodyTooLarge, "more than 5000 rows"),
        ([ROW], {"webhook_url": "ftp://x"}, FieldInvalid, "'webhook_url' has the scheme"),
    ],
)
def test_where_nothing_is_taken_nothing_is_left(
    rows: Sequence[dict[str, object]],
    options: dict[str, object],
    kind: type[RequestError],
    said: str,
    records: Database,
    take: Take,
) -> None:
    with pytest.raises(kind, match=said):
        take(rows, **options)
    with records.transaction() as connection:
        for table in ("tasks", "names", "batches", "batch_rejects", "events"):
            count = text(f"SELECT count(*) FROM {table}")  # noqa: S608 - constants
            assert connection.execute(count).scalar_one() == 0


def test_a_dry_run_tells_what_would_be_and_makes_nothing(
    records: Database, settings: Settings, project: Project
) -> None:
    rows = [ROW, {**ROW, "filename": "a"}, {**ROW, "filename": "a"}]
    taken = _take(records, settings, project, rows, dry_run=True)
    assert (taken.total, [one.line for one in taken.rejects]) == (2, [3])
    with records.transaction() as connection:
        assert batches.get(connection, project.id, taken.batch_id) is None
        assert connection.execute(text("SELECT count(*) FROM tasks")).scalar_one() == 0


def test_what_cannot_be_taken_is_told_in_the_order_of_the_list(
    records: Database, settings: Settings, project: Project
) -> None:
    named: dict[str, object] = {**ROW, "filename": "a"}
    rows: list[dict[str, object]] = [named, named, {"url": "x"}, ROW]
    taken = _take(records, settings, project, rows, dry_run=True)
    assert [one.line for one in taken.rejects] == [2, 3]


def test_no_item_lies_in_the_place_of_another_project(
    records: Database, settings: Settings
) -> None:
    with records.transaction() as connection:
        first = projects.ensure_project(connection, "first", "")
        projects.create_project(connection, "deep", "deep/er", Limits())
    rows = [
        {**ROW, "folder": folder, "filename": "x"} for folder in ("deep", "deep/er", "deep/er/a")
    ]
    taken = _take(records, settings, first, rows)
    assert [(one.line, one.param) for one in taken.rejects] == [(2, "folder"), (3, "folder")]


def test_counts_are_right_at_any_moment_and_the_end_is_told_once(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(4)
    first, second, third, fourth = _list(records, project, batch)
    leases = [_claim(records, one) for one in (first, second, third)]
    assert _count(records, project, batch) == (1, 3, 0, 0, 0)
    assert complete_task(records, leases[0])
    assert fail_task(records, leases[1])
    assert _count(records, project, batch) == (1, 1, 1, 1, 0)
    assert _follow(records) == []
    assert _count(records, project, batch) == (1, 1, 1, 1, 0)
    assert retry_later(records, leases[2])
    with records.transaction() as connection:
        decisions.cancel(connection, project.id, fourth.id)
    assert _count(records, project, batch) == (1, 0, 1, 1, 1)
    with records.transaction() as connection:
        decisions.cancel(connection, project.id, third.id)
    assert _follow(records) == [batch.id]
    assert _follow(records) == []
    found = _read(records, project, batch.id)
    assert found.status is BatchStatus.COMPLETE
    assert found.finished is not None
    assert found.stored_bytes == 10
    assert _count(records, project, batch) == (0, 0, 1, 1, 2)
    assert _list_events(records, project, batch.id) == [
        EventType.BATCH_CREATED, EventType.BATCH_FAILED
    ]  # fmt: skip


def test_the_event_of_the_end_has_the_batch_as_it_was(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(1, ref="mine")
    assert complete_task(records, _claim(records, _list(records, project, batch)[0]))
    _follow(records)
    with records.transaction() as connection:
        page = events.list_page(connection, project.id, Window(), type_=EventType.BATCH_COMPLETED)
    (event,) = page.items
    now = _read(records, project, batch.id)
    assert event.batch is not None
    assert event.batch == replace(now, rejects=())
    assert event.batch.counts.complete == 1


def test_a_task_that_is_retried_opens_its_batch_again(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(1)
    (task,) = _list(records, project, batch)
    assert fail_task(records, _claim(records, task))
    assert _follow(records) == [batch.id]
    with records.transaction() as connection:
        assert decisions.reopen(connection, project.id, task.id, None, woken=False) is not None
    found = _read(records, project, batch.id)
    assert (found.status, found.finished) == (BatchStatus.PROCESSING, None)
    assert _count(records, project, batch) == (1, 0, 0, 0, 0)
    assert _follow(records) == []
    assert complete_task(records, _claim(records, task))
    assert _follow(records) == [batch.id]
    assert _count(records, project, batch) == (0, 0, 1, 0, 0)


def test_a_batch_is_not_over_while_one_of_its_tasks_is_being_retried(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(1)
    (task,) = _list(records, project, batch)
    assert fail_task(records, _claim(records, task))
    over: list[Sequence[str]] = []
    with records.transaction() as connection:
        tallies.fold(connection)
    with records.transaction() as connection:
        assert decisions.reopen(connection, project.id, task.id, None, woken=False) is not None
        thread = threading.Thread(target=lambda: over.append(_follow(records)))
        thread.start()
        thread.join(10)
        assert over == [[]]
    assert _follow(records) == []
    assert _read(records, project, batch.id).status is BatchStatus.PROCESSING


def test_notes_of_another_that_adds_up_are_counted_once(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(20)
    for task in _list(records, project, batch):
        assert complete_task(records, _claim(records, task))
    threads = [threading.Thread(target=lambda: _follow(records)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert _count(records, project, batch) == (0, 0, 20, 0, 0)
    assert _read(records, project, batch.id).stored_bytes == 200


def test_nothing_of_a_paused_batch_begins_until_it_is_resumed(
    records: Database, project: Project, take: Take, make_task: MakeTask
) -> None:
    batch = take(3)
    first = _list(records, project, batch)[0]
    (woken,) = _pick(records, 1)
    assert woken == first.id
    assert _decide(records, batch, batches.pause)
    assert not _decide(records, batch, batches.pause)
    with records.look() as connection:
        assert claims.claim(connection, first.id, "worker-1", 60) is None
        assert wakeups.count_woken(connection) == 0
        assert not wakeups.must_wait(connection, project.id)
    single = make_task()
    assert _pick(records) == [single.id]
    assert _follow(records) == []
    assert _decide(records, batch, batches.resume)
    assert len(_pick(records)) == 3
    _claim(records, first)


def test_no_more_tasks_of_a_batch_are_in_flight_than_was_said(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(5, concurrency=2)
    other = take(3)
    picked = _pick(records)
    tasks = [task.id for task in _list(records, project, batch)]
    assert sorted(set(picked) & set(tasks)) == tasks[:2]
    assert len(picked) == 2 + other.total
    assert _pick(records) == []
    first, second = _list(records, project, batch)[:2]
    lease = _claim(records, first)
    _claim(records, second)
    assert _pick(records) == []
    assert complete_task(records, lease)
    assert _pick(records) == [tasks[2]]


def test_a_single_task_does_not_wait_behind_a_batch_of_its_own_project(
    records: Database, project: Project, take: Take, make_task: MakeTask
) -> None:
    first = take(50)
    second = take(50)
    single = make_task()
    picked = _pick(records, 3)
    with records.transaction() as connection:
        query = select(tasks_table.c.batch_id).where(tasks_table.c.id.in_(picked))
        lanes = set(connection.execute(query).scalars())
    assert lanes == {first.id, second.id, None}
    assert single.id in picked


def test_a_batch_that_is_cancelled_ends_with_all_its_tasks(
    records: Database, project: Project, take: Take
) -> None:
    batch = take([{**ROW, "filename": f"{number}"} for number in range(25)])
    first, second = _list(records, project, batch)[:2]
    assert complete_task(records, _claim(records, first))
    running = _claim(records, second)
    assert _decide(records, batch, batches.cancel)
    assert not _decide(records, batch, batches.cancel)
    assert not _decide(records, batch, batches.retry)
    assert _pick(records) == []
    steps = _work_off(records, 10)
    assert _count_steps(steps) == 24
    assert [one for step in steps for one in step.stopped] == [second.id]
    assert not complete_task(records, running)
    found = _read(records, project, batch.id)
    assert found.status is BatchStatus.CANCELLED
    assert found.finished is not None
    assert _count(records, project, batch) == (0, 0, 1, 0, 24)
    assert _list_events(records, project, batch.id)[-1] is EventType.BATCH_CANCELLED
    for task in _list(records, project, batch)[1:]:
        assert task.error is not None
        assert task.error.code == "cancelled"
        assert _list_events(records, project, task.id)[-1] is EventType.TASK_CANCELLED
    with records.transaction() as connection:
        assert len(connection.execute(select(names)).all()) == 1


def test_a_task_that_comes_back_after_its_batch_was_cancelled_is_cancelled_too(
    records: Database, project: Project, take: Take
) -> None:
    batch = take(1)
    (task,) = _list(records, project, batch)
    with records.transaction() as connection:
        # What a claim wrote that had looked at the batch before it was cancelled.
        connection.execute(text("UPDATE batches SET status = 'cancelled'"))
    assert _count_steps(_work_off(records)) == 1
    assert _read(records, project, batch.id).finished is not None
    assert _list(records, project, batch)[0].status is Status.CANCELLED
    assert task.status is Status.PENDING


def test_what_failed_of_a_batch_is_retried_and_the_rest_left_alone(
    records: Database, project: Project, take: Take, make_task: MakeTask
) -> None:
    batch = take([*({**ROW, "folder": "folder", "filename": f"{n}"} for n in range(4)), ROW])
    tasks = _list(records, project, batch)
    assert complete_task(records, _claim(records, tasks[0]))
    for task in tasks[1:4]:
        assert fail_task(records, _claim(records, task))
    with records.transaction() as connection:
        decisions.cancel(connection, project.id, tasks[4].id)
    assert _follow(records) == [batch.id]
    taken = make_task("2")
    assert taken.order.filename == "2"
    assert _decide(records, batch, batches.retry)
    assert _read(records, project, batch.id).status is BatchStatus.PROCESSING
    assert _follow(records) == []
    assert _count_steps(_work_off(records, 2)) == 3
    found = _list(records, project, batch)
    states = [task.status.value for task in found]
    assert states == ["complete", "pending", "failed", "pending", "cancelled"]
    assert found[2].error is not None
    assert found[2].error.code == "file_exists"
    assert (found[1].error, found[1].finished, found[1].tries) == (None, None, 0)
    assert _count(records, project, batch) == (2, 0, 1, 1, 1)
    assert _list_events(records, project, found[1].id)[-1] is EventType.TASK_RETRYING
    for task in (found[1], found[3]):
        assert complete_task(records, _claim(records, task))
    assert _follow(records) == [batch.id]
    assert _list_events(records, project, batch.id) == [
        EventType.BATCH_CREATED, EventType.BATCH_FAILED, EventType.BATCH_FAILED
    ]  # fmt: skip


def test_results_tell_of_each_task_in_order_with_its_file_or_its_error(
    records: Database, project: Project, take: Take
) -> None:
    batch = take([{**ROW, "ref": str(number)} for number in range(5)])
    tasks = _list(records, project, batch)
    assert complete_task(records, _claim(records, tasks[1]))
    assert fail_task(records, _claim(records, tasks[2]))
    found: list[results.Result] = []
    beginning = find_beginning(batch.id)
    with records.transaction() as connection:
        while page := results.read_results(
            connection, batch.id, found[-1].task_id if found else beginning, 2
        ):
            found.extend(page)
    assert [one.line for one in found] == [1, 2, 3, 4, 5]
    assert [one.ref for one in found] == ["0", "1", "2", "3", "4"]
    assert found[1].file is not None
    assert found[1].file.task_id == tasks[1].id
    assert found[2].error is not None
    assert (found[2].error.code, found[2].attempts, found[0].attempts) == ("source_not_found", 1, 0)


def test_to_another_project_a_batch_is_not_there(records: Database, take: Take) -> None:
    batch = take(1)
    with records.transaction() as connection:
        assert batches.get(connection, "prj_other", batch.id) is None
        for decide in (batches.pause, batches.cancel, batches.retry):
            assert not decide(connection, "prj_other", batch.id)
        page = batches.list_page(connection, "prj_other", batches.BatchFilter(), Window())
        assert page.items == []


def test_of_two_batches_with_the_same_names_one_has_them_all(
    records: Database, settings: Settings, project: Project
) -> None:
    rows = [{**ROW, "filename": f"{number}"} for number in range(300)]
    taken: list[int] = []

    def take_all(step: int) -> None:
        try:
            taken.append(_take(records, settings, project, rows[::step]).total)
        except FieldInvalid:
            taken.append(0)

    threads = [threading.Thread(target=take_all, args=(step,)) for step in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == [0, 300]


def test_of_items_with_one_name_the_first_of_the_list_has_it(
    records: Database, project: Project, take: Take
) -> None:
    names_in_order = random.Random(7).choices([f"{number}.jpg" for number in range(60)], k=900)
    rows = [{**ROW, "filename": name} for name in names_in_order]
    first_lines = sorted(
        {name: line for line, name in reversed([*enumerate(names_in_order, 1)])}.values()
    )

    made = _list(records, project, take(rows))
    assert [task.batch_line for task in made] == first_lines

    for task in made:
        assert complete_task(records, _claim(records, task))
    again = take(rows, defaults={"if_exists": "overwrite"})
    assert [task.batch_line for task in _list(records, project, again)] == first_lines


def test_items_whose_names_are_taken_get_numbers_or_are_skipped(
    records: Database, project: Project, take: Take, make_task: MakeTask
) -> None:
    make_task("a.mp4")
    named = {**ROW, "folder": "folder", "filename": "a.mp4"}
    renamed = take([{**named, "if_exists": "rename"}] * 700)
    assert (renamed.total, renamed.rejected) == (700, 0)
    with records.transaction() as connection:
        query = select(tasks_table.c.filename).where(tasks_table.c.batch_id == renamed.id)
        found = connection.execute(query.order_by(tasks_table.c.batch_line)).scalars().all()
    assert found == [f"a-{number}.mp4" for number in range(1, 701)]
    skipped = take([named, {**named, "filename": "b.mp4"}, {**named, "if_exists": "error"}],
                   defaults={"if_exists": "skip"})  # fmt: skip
    assert [task.batch_line for task in _list(records, project, skipped)] == [2]
    assert ["skipped" in one.error.message for one in skipped.rejects] == [True, False]


def test_items_that_get_another_name_stay_where_they_are_in_the_list(
    records: Database, project: Project, take: Take
) -> None:
    rows = [{**ROW, "filename": name, "if_exists": "rename"} for name in ("a", "b", "a", "c", "b")]
    batch = take(rows)
    tasks = _list(records, project, batch)
    assert [task.batch_line for task in tasks] == [1, 2, 3, 4, 5]
    assert [task.order.filename for task in tasks] == ["a", "b", "a-1", "c", "b-1"]


def test_a_list_of_which_all_is_there_is_over_at_once(
    records: Database, project: Project, take: Take, make_task: MakeTask
) -> None:
    make_task("a.mp4")
    row = {**ROW, "folder": "folder", "filename": "a.mp4", "if_exists": "skip"}
    batch = take([row], on_error="abort")
    assert (batch.total, batch.rejected) == (0, 1)
    assert _follow(records) == [batch.id]
    assert _read(records, project, batch.id).status is BatchStatus.COMPLETE


def test_no_task_of_a_batch_comes_before_its_beginning(
    records: Database, project: Project, take: Take, make_task: MakeTask
) -> None:
    before = make_task()
    time.sleep(0.002)
    batch = take(3)
    ids = [task.id for task in _list(records, project, batch)]
    assert before.id < find_beginning(batch.id) < min(ids)


def test_batches_that_were_cancelled_do_not_wait_for_each_other(
    records: Database, project: Project, take: Take
) -> None:
    made = [take(3) for _ in range(5)]
    for batch in made:
        _claim(records, _list(records, project, batch)[0])
        assert _decide(records, batch, batches.cancel)
    steps = _work_off(records)
    assert {step.batch_id for step in steps if step.count} == {batch.id for batch in made}
    assert {_count(records, project, batch) for batch in made} == {(0, 0, 0, 0, 3)}


def test_what_failed_is_not_retried_where_its_name_is_no_more_its_own(
    records: Database, project: Project, take: Take
) -> None:
    batch = take([{**ROW, "filename": "a"}, ROW])
    for task in _list(records, project, batch):
        assert fail_task(records, _claim(records, task))
    _follow(records)
    assert _decide(records, batch, batches.retry)
    _work_off(records, fault=FieldInvalid("'a' lies in the place of another project."))
    first, second = _list(records, project, batch)
    assert (first.status, second.status) == (Status.FAILED, Status.PENDING)
    assert first.error is not None
    assert first.error.code == "field_invalid"


def test_a_list_whose_rows_are_all_refused_for_long_is_taken_all_the_same(
    records: Database, settings: Settings, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_intake, "_SPEAKS_EVERY_S", 0.01)
    alive: list[float] = []

    def rows() -> Iterator[ListRow]:
        yield ListRow(1, ROW)
        for line in range(2, 200):
            time.sleep(0.001)
            yield ListRow(line, {"url": "x"})

    with records.transaction() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 100"))
        intake = Intake(
            connection,
            Planner(settings, Sealer(settings.secret_keys)),
            project,
            BatchOptions.model_validate({}),
            request_id="req_1",
            most_rows=5000,
            max_attempts=4,
            ensure_secret=lambda: None,
            keep_alive=lambda: alive.append(time.monotonic()),
        )
        assert (intake.take(rows()).total, len(alive) > 5) == (1, True)

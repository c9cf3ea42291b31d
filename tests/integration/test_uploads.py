"""Checkpoints on real PostgreSQL: noted under the lease, found by the next, swept when dead."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from ingest.errors import SourceUnavailable
from ingest.model import Checkpoint, FinishedPart, Lease, Project, Task
from storage.records import completions, decisions, tasks, uploads
from storage.records.completions import Completion
from storage.records.database import Database
from storage.records.tables import tasks as table
from storage.records.uploads import DeadUpload
from tests.integration.examples import Claim, MakeTask, make_file, release_expired

KEY = "prefix/folder/a.mp4"
PARTS = [FinishedPart(number, f"etag-{number}", bytes([number])) for number in (1, 2, 3)]


def _plan(records: Database, lease: Lease, key: str = KEY) -> bool:
    with records.transaction() as connection:
        return uploads.plan(
            connection, lease, key, part_bytes=8, size_bytes=30, etag='"a"', head=b"head"
        )


def _begin(records: Database, lease: Lease, upload_id: str = "upload-1", parts: int = 0) -> None:
    assert _plan(records, lease)
    with records.transaction() as connection:
        assert uploads.note_begun(connection, lease, upload_id)
        for part in PARTS[:parts]:
            assert uploads.note_part(connection, lease, lease.attempt, part)


def _find(records: Database, task: Task) -> Checkpoint | None:
    with records.transaction() as connection:
        return uploads.find(connection, task.id)


def _list_dead(records: Database, keep_s: float = 60) -> list[DeadUpload]:
    with records.transaction() as connection:
        return list(uploads.list_dead(connection, keep_s))


def test_what_was_noted_is_found(records: Database, make_task: MakeTask, claim: Claim) -> None:
    task = make_task("a.mp4")
    _begin(records, claim(task), parts=3)
    assert _find(records, task) == Checkpoint(
        object_key=KEY,
        upload_id="upload-1",
        begun_by=1,
        part_bytes=8,
        size_bytes=30,
        etag='"a"',
        head=b"head",
        parts=PARTS,
    )


def test_what_was_only_planned_is_nothing_to_go_on_from(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    assert _find(records, task) is None
    lease = claim(task)
    assert _plan(records, lease)
    # As after a commit whose answer was lost.
    assert _plan(records, lease)
    assert _find(records, task) is None


def test_parts_behind_a_gap_do_not_count(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    _begin(records, lease, parts=1)
    with records.transaction() as connection:
        assert uploads.note_part(connection, lease, 1, PARTS[2])
    found = _find(records, task)
    assert found is not None
    assert found.parts == PARTS[:1]


def test_a_part_that_is_sent_again_replaces_its_note(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    _begin(records, lease, parts=1)
    again = FinishedPart(1, "etag-other", None)
    with records.transaction() as connection:
        assert uploads.note_part(connection, lease, 1, again)
    found = _find(records, task)
    assert found is not None
    assert found.parts == [again]


def test_an_attempt_that_lost_its_lease_notes_nothing(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    late = claim(task, lease_s=-1)
    _begin(records, late, parts=1)
    release_expired(records)
    for _ in range(2):
        assert not _plan(records, Lease(late.task, late.key_prefix, 9, late.worker))
        with records.transaction() as connection:
            assert not uploads.note_begun(connection, late, "upload-2")
            assert not uploads.note_part(connection, late, 1, PARTS[1])
            assert not uploads.adopt(connection, late, 1, 0)
            assert not uploads.may_abort(connection, late, 1)
        current = _read_status(records, task)
        if current == "pending":
            owner = claim(task, "worker-2")
    with records.transaction() as connection:
        assert uploads.adopt(connection, owner, 1, 1)
        assert uploads.note_part(connection, owner, 1, PARTS[1])
        assert uploads.may_abort(connection, owner, 1)
    found = _find(records, task)
    assert found is not None
    assert found.parts == PARTS[:2]


def _read_status(records: Database, task: Task) -> str:
    with records.transaction() as connection:
        query = text("SELECT status FROM tasks WHERE id = :id")
        return str(connection.execute(query, {"id": task.id}).scalar_one())


def test_who_adopts_an_upload_keeps_as_many_parts_as_are_good(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    _begin(records, claim(task, lease_s=-1), parts=3)
    release_expired(records)
    second = claim(task)
    with records.transaction() as connection:
        assert uploads.adopt(connection, second, 1, 2)
        # As after a commit whose answer was lost.
        assert uploads.adopt(connection, second, 1, 2)
    found = _find(records, task)
    assert found is not None
    assert found.parts == PARTS[:2]


def test_an_upload_may_be_aborted_by_its_attempt_after_a_cancel_but_not_after_a_retry(
    records: Database, make_task: MakeTask, claim: Claim, project: Project
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    _begin(records, lease)
    with records.transaction() as connection:
        assert decisions.cancel(connection, project.id, task.id) is not None
        assert uploads.may_abort(connection, lease, 1)
        assert decisions.reopen(connection, project.id, task.id, KEY, woken=False) is not None
        assert not uploads.may_abort(connection, lease, 1)


@pytest.mark.parametrize("end", ["running", "waiting", "failed", "cancelled", "complete"])
def test_uploads_are_dead_when_their_tasks_need_them_no_more(
    end: str, records: Database, make_task: MakeTask, claim: Claim, project: Project
) -> None:
    task = make_task("a.mp4")
    lease = claim(task)
    _begin(records, lease)
    error = SourceUnavailable("Gone.")
    with records.transaction() as connection:
        if end == "waiting":
            assert tasks.retry_later(connection, lease, error, 0, after_s=9, charged=True)
        elif end == "failed":
            assert tasks.fail(connection, lease, error, 0)
        elif end == "cancelled":
            assert decisions.cancel(connection, project.id, task.id)
        elif end == "complete":
            assert completions.complete(connection, lease, make_file(lease), 0) is Completion.DONE
    dead = [DeadUpload(task.id, 1, KEY, "upload-1")]
    expected = {"cancelled": (dead, dead), "complete": (dead, dead), "failed": ([], dead)}
    # A failed task is kept for a retry, for so long.
    assert (_list_dead(records, 60), _list_dead(records, -1)) == expected.get(end, ([], []))


def test_an_upload_that_was_replaced_or_never_noted_is_dead(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    task = make_task("a.mp4")
    assert _plan(records, claim(task, lease_s=-1))
    assert _list_dead(records) == []
    release_expired(records)
    unnoted = DeadUpload(task.id, 1, KEY, None)
    assert _list_dead(records) == [unnoted]
    second = claim(task, lease_s=-1)
    assert _plan(records, second)
    # Under one key the two could not be told apart now.
    assert _list_dead(records) == []
    with records.transaction() as connection:
        assert uploads.note_begun(connection, second, "upload-2")
    assert _list_dead(records) == [unnoted]
    release_expired(records)
    third = claim(task)
    _begin(records, third, "upload-3")
    assert [one.upload_id for one in _list_dead(records)] == [None, "upload-2"]
    with records.transaction() as connection:
        uploads.drop(connection, task.id, 1)
        uploads.drop(connection, task.id, 2)
    assert _list_dead(records) == []


def test_strange_uploads_are_those_of_our_keys_that_no_row_accounts_for(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    named, unnamed, planned = make_task("a.mp4"), make_task(), make_task("b.mp4")
    _begin(records, claim(named), "noted")
    assert _plan(records, claim(planned), "prefix/folder/b.mp4")
    found = {
        "noted": KEY,
        "stray": KEY,
        "unnamed": f"prefix/folder/{unnamed.file_id}.mp4",
        "in-a-moment": "prefix/folder/b.mp4",
        "theirs": "prefix/folder/c.mp4",
        "no-key-of-ours": "file_00000000000000000000000000.mp4",
    }
    with records.transaction() as connection:
        assert set(uploads.list_strange(connection, found)) == {"stray", "unnamed"}
        assert uploads.list_known(connection, list(found)) == {"noted"}
        assert list(uploads.list_strange(connection, {})) == []


def test_a_task_that_went_on_for_a_part_is_not_suspected_of_killing_its_workers(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    stuck, going = make_task("a.mp4"), make_task("b.mp4")
    for number in (1, 2):
        claim(stuck, lease_s=-1)
        lease = claim(going, lease_s=-1)
        _plan(records, lease, "prefix/folder/b.mp4")
        with records.transaction() as connection:
            part = FinishedPart(number, "etag", b"")
            assert uploads.note_part(connection, lease, lease.attempt, part)
        release_expired(records)
    with records.transaction() as connection:
        rows = connection.execute(select(table.c.id, table.c.lost)).all()
    assert {row.id: row.lost for row in rows} == {stuck.id: 2, going.id: 0}

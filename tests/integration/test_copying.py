"""Copies that the store refuses, fails or is slow with: whole runs of the pipeline, in here.

PostgreSQL, Valkey, SeaweedFS and ffprobe are the stack's; only what the store says to a copy is
replaced, since it cannot be brought to say it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import structlog
from pydantic import SecretStr
from sqlalchemy import func, select, update

from ingest.config import MIB, Settings
from ingest.environ import load_settings
from ingest.errors import LeaseLost, SourceChanged, StorageUnavailable
from ingest.ids import Prefix, make_id
from ingest.model import File, Task
from ingest.states import Status
from ingest.urls import ObjectUrl
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import CopySource, ObjectHeaders, Part, Upload
from storage.records import files, leases, lookups
from storage.records.database import Database
from storage.records.tables import tasks, uploads
from storage.signals import End, Signals
from tests.integration.examples import MakeTask, find_spare_redis
from tests.support.media import make_media
from tests.support.padding import pad_mp4
from workers import copying, pipeline
from workers.app import build_tools
from workers.attempt import Tools
from workers.pipeline import Pipeline
from workers.storing import store_source

PART_BYTES = 5 * MIB
SIZE_BYTES = 3 * PART_BYTES + MIB
Copy = Callable[[Upload, int, CopySource, int, int], Part | None]
Answer = Callable[[int, Callable[[], Part | None]], Part | None]


@pytest.fixture(scope="module")
def content(media_folder: Path) -> bytes:
    """Four parts, the last one short."""
    video = pad_mp4(make_media("mp4", media_folder).read_bytes(), SIZE_BYTES)
    return b"".join(video.read_pieces(0, SIZE_BYTES))


@pytest.fixture
def tools(
    settings: Settings, records: Database, records_url: str, signals: Signals
) -> Iterator[Tools]:
    """A worker's, on a database that no worker of the stack looks at."""
    connections = {"own": {"bucket": settings.s3_bucket, "prefix": "copying-source/"}}
    chosen = settings.model_copy(
        update={
            "s3_sources": load_settings(
                {
                    "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
                    "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
                    "HEADRACE_S3_BUCKET": settings.s3_bucket,
                    "HEADRACE_S3_SOURCES": json.dumps(connections),
                }
            ).s3_sources,
            "database_url": SecretStr(records_url),
            "redis_url": SecretStr(find_spare_redis(settings)),
            "part_bytes": PART_BYTES,
            "parts_in_flight": 1,
        }
    )
    tools = build_tools(chosen, "worker-tests")
    yield tools
    tools.database.close()
    tools.signals.close()
    for executor in (tools.readers, tools.senders):
        executor.shutdown(wait=True)
    tools.prober.close()
    tools.egress.close()
    tools.sources.close()


@pytest.fixture
def store(tools: Tools) -> S3ObjectStore:
    """The store of those tools."""
    assert isinstance(tools.store, S3ObjectStore)
    return tools.store


@pytest.fixture
def answer_copies(
    store: S3ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Answer], list[int]]:
    """Has each copy of a part answered by a test, which may let the store do it.

    The list tells the numbers that were asked for.
    """
    # Small enough for a copy of several parts.
    monkeypatch.setattr(copying, "PART_BYTES", PART_BYTES)
    really, asked = store.copy_part, []

    def use(answer: Answer) -> list[int]:
        def copy(
            upload: Upload, number: int, source: CopySource, first_byte: int, size_bytes: int
        ) -> Part | None:
            asked.append(number)
            return answer(number, lambda: really(upload, number, source, first_byte, size_bytes))

        monkeypatch.setattr(store, "copy_part", copy)
        return asked

    return use


@pytest.fixture
def task(store: S3ObjectStore, make_task: MakeTask, content: bytes) -> Iterator[Task]:
    """A task to ingest an object of our own bucket."""
    key = f"copying-source/{secrets.token_hex(8)}.mp4"
    headers = ObjectHeaders("video/mp4", "inline", {})
    upload = store.begin(key, headers)
    store.complete(upload, [store.put_part(upload, 1, content)], overwrite=False)
    name = f"{secrets.token_hex(8)}.mp4"
    yield make_task(name, url=f"s3://own/{key}", max_attempts=2)
    for one in (key, f"prefix/folder/{name}"):
        store.delete(one)


def run(tools: Tools, task: Task) -> tuple[Task, list[str]]:
    """Run an attempt; return the task as it is then, and what the log says."""
    with structlog.testing.capture_logs() as logs:
        Pipeline(tools).run(task.id)
    with tools.database.transaction() as connection:
        found = lookups.get(connection, task.project_id, task.id)
    assert found is not None
    return found, [str(one["event"]) for one in logs]


def count_uploads(tools: Tools, task: Task) -> tuple[int, int]:
    """Return how many uploads of a task the database and the store know of."""
    with tools.database.transaction() as connection:
        noted = connection.execute(select(func.count()).select_from(uploads)).scalar_one()
    return noted, len(list(tools.store.list_uploads(f"prefix/folder/{task.order.filename}")))


def read_sha256(tools: Tools, task: Task) -> str | None:
    with tools.database.transaction() as connection:
        file = files.get(connection, task.project_id, task.file_id)
    assert file is not None
    assert file.filesize_bytes == SIZE_BYTES
    return file.sha256


def count_moved(tools: Tools) -> tuple[float | None, float | None]:
    registry = tools.metrics.registry
    return (
        registry.get_sample_value("headrace_transferred_bytes_total"),
        registry.get_sample_value("headrace_copied_bytes_total"),
    )


def test_a_copy_of_several_parts_is_one_file(
    tools: Tools, task: Task, answer_copies: Callable[[Answer], list[int]]
) -> None:
    asked = answer_copies(lambda _, copy: copy())

    ended, events = run(tools, task)

    assert (ended.status, ended.error) == (Status.COMPLETE, None)
    assert asked == [1, 2, 3, 4]
    assert "copy.done" in events
    assert count_moved(tools) == (0, SIZE_BYTES)
    assert read_sha256(tools, task) is None
    assert count_uploads(tools, task) == (0, 0)


def test_a_copy_tells_how_far_it_is(
    tools: Tools, task: Task, answer_copies: Callable[[Answer], list[int]]
) -> None:
    told = []

    def look(_: int, copy: Callable[[], Part | None]) -> Part | None:
        tools.leases.beat()
        transfer = tools.signals.read_progress([task.id])[task.id]
        told.append((transfer.transferred_bytes, transfer.total_bytes))
        return copy()

    answer_copies(look)
    run(tools, task)

    # What was opened to be judged is no progress of the copy.
    assert told[0][0] < PART_BYTES
    assert told[1:] == [(number * PART_BYTES, SIZE_BYTES) for number in (1, 2, 3)]


def test_a_copy_that_nobody_named_is_named_by_its_file(
    tools: Tools, task: Task, make_task: MakeTask, answer_copies: Callable[[Answer], list[int]]
) -> None:
    answer_copies(lambda _, copy: copy())
    unnamed = make_task(url=task.order.url)

    ended, _ = run(tools, unnamed)

    assert ended.status is Status.COMPLETE
    with tools.database.transaction() as connection:
        file = files.get(connection, unnamed.project_id, unnamed.file_id)
    assert file is not None
    assert file.object_key == f"prefix/folder/{unnamed.file_id}.mp4"
    assert file.source == task.order.url
    assert file.source_name == task.order.url.rpartition("/")[2]
    tools.store.delete(file.object_key)


def test_what_an_attempt_copied_that_died_before_it_could_say_so_is_replaced(
    tools: Tools,
    task: Task,
    answer_copies: Callable[[Answer], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_copies(lambda _, copy: copy())
    key = f"prefix/folder/{task.order.filename}"

    def die(*_: object) -> None:
        raise LeaseLost("On purpose.")

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "finish", die)
        run(tools, task)
    left = tools.store.describe(key)
    assert left is not None
    assert left.metadata["headrace-attempt"] == "1"
    with tools.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE tasks SET lease_until = now() - interval '1s'")
        leases.release_expired(connection)

    ended, _ = run(tools, task)

    assert (ended.status, ended.attempt) == (Status.COMPLETE, 2)
    found = tools.store.describe(key)
    assert found is not None
    assert found.metadata["headrace-attempt"] == "2"
    assert count_uploads(tools, task) == (0, 0)


@pytest.mark.parametrize("refused", [1, 3], ids=["at once", "in the middle"])
def test_what_the_store_refuses_to_copy_is_downloaded_in_the_same_attempt(
    refused: int,
    tools: Tools,
    task: Task,
    content: bytes,
    answer_copies: Callable[[Answer], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answer_copies(lambda number, copy: None if number == refused else copy())
    told = []

    def look(*given: Any) -> File:
        tools.leases.beat()
        transfer = tools.signals.read_progress([task.id])[task.id]
        told.append((transfer.transferred_bytes, transfer.total_bytes))
        return store_source(*given)

    monkeypatch.setattr(pipeline, "store_source", look)

    ended, events = run(tools, task)

    assert (ended.status, ended.attempt, ended.error) == (Status.COMPLETE, 1, None)
    assert asked[-1] == refused
    # What the dead copy had got to is not shown of the download.
    assert told == [(0, SIZE_BYTES)]
    assert events.count("copy.refused") == 1
    assert "copy.done" not in events
    assert count_moved(tools) == (SIZE_BYTES, 0)
    assert read_sha256(tools, task) == hashlib.sha256(content).hexdigest()
    assert count_uploads(tools, task) == (0, 0)


def test_no_upload_is_begun_where_that_of_a_refused_copy_may_be_there_still(
    tools: Tools,
    task: Task,
    store: S3ObjectStore,
    content: bytes,
    answer_copies: Callable[[Answer], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_copies(lambda number, copy: None if number == 2 else copy())

    def refuse(_: Upload) -> None:
        raise StorageUnavailable("On purpose.")

    with monkeypatch.context() as patched:
        patched.setattr(store, "abort", refuse)
        ended, _ = run(tools, task)

    assert ended.status is Status.PENDING
    assert ended.error is not None
    assert ended.error.code == "storage_unavailable"
    assert count_uploads(tools, task) == (1, 1)

    with tools.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE tasks SET next_attempt_at = NULL")
    ended, _ = run(tools, task)
    assert ended.status is Status.COMPLETE
    assert read_sha256(tools, task) == hashlib.sha256(content).hexdigest()
    assert count_uploads(tools, task) == (0, 0)


@pytest.mark.parametrize(
    ("error", "again"),
    # Whatever the store has against copying it, it may take the bytes.
    [(StorageUnavailable, []), (SourceChanged, [1, 2, 3, 4])],
    ids=["downloaded", "copied anew"],
)
def test_a_copy_that_fails_leaves_no_upload_and_begins_anew(
    error: type[Exception],
    again: list[int],
    tools: Tools,
    task: Task,
    answer_copies: Callable[[Answer], list[int]],
) -> None:
    def fail(number: int, copy: Callable[[], Part | None]) -> Part | None:
        if number == 2:
            raise error("On purpose.")
        return copy()

    answer_copies(fail)
    ended, _ = run(tools, task)

    assert ended.status is Status.PENDING
    assert ended.error is not None
    assert count_uploads(tools, task) == (0, 0)
    assert tools.store.describe(f"prefix/folder/{task.order.filename}") is None

    asked = answer_copies(lambda _, copy: copy())
    asked.clear()
    with tools.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE tasks SET next_attempt_at = NULL")
    ended, _ = run(tools, task)
    assert (ended.status, ended.attempt) == (Status.COMPLETE, 2)
    assert asked == again


@pytest.mark.parametrize(
    ("replaced", "code"), [(True, "source_changed"), (False, "source_not_found")]
)
def test_a_source_that_is_another_once_all_is_copied_makes_no_file(
    code: str,
    tools: Tools,
    task: Task,
    store: S3ObjectStore,
    content: bytes,
    answer_copies: Callable[[Answer], list[int]],
    *,
    replaced: bool,
) -> None:
    key = task.order.url.removeprefix("s3://own/")

    # As from a store that copies whatever is there.
    def change(number: int, copy: Callable[[], Part | None]) -> Part | None:
        part = copy()
        if number == 4 and replaced:
            headers = ObjectHeaders("video/mp4", "inline", {})
            store.put(key, content[::-1], headers, overwrite=True)
        elif number == 4:
            store.delete(key)
        return part

    answer_copies(change)
    ended, _ = run(tools, task)

    assert ended.error is not None
    assert ended.error.code == code
    assert store.describe(f"prefix/folder/{task.order.filename}") is None
    assert count_uploads(tools, task) == (0, 0)


def test_a_copy_stops_at_the_part_under_which_its_lease_was_lost(
    tools: Tools, task: Task, answer_copies: Callable[[Answer], list[int]]
) -> None:
    def lose(number: int, copy: Callable[[], Part | None]) -> Part | None:
        if number == 2:
            with tools.database.transaction() as connection:
                connection.exec_driver_sql("UPDATE tasks SET lease_until = now() - interval '1s'")
                assert leases.release_expired(connection) == {task.id: Status.PENDING}
            tools.leases.beat()
        return copy()

    asked = answer_copies(lose)
    ended, events = run(tools, task)

    assert ended.status is Status.PENDING
    assert asked == [1, 2]
    assert "ingest.abandoned" in events
    # Its own attempt may not touch it any more; the next one aborts it, and copies anew.
    assert count_uploads(tools, task) == (1, 1)
    answer_copies(lambda _, copy: copy())
    ended, _ = run(tools, task)
    assert ended.status is Status.COMPLETE
    assert count_uploads(tools, task) == (0, 0)


def test_a_copy_that_takes_too_long_is_a_timeout(
    tools: Tools, task: Task, answer_copies: Callable[[Answer], list[int]]
) -> None:
    late = False
    begun = tools.clock()

    def tell_time() -> float:
        return begun + (tools.settings.total_timeout_s + 1 if late else 0)

    def delay(number: int, copy: Callable[[], Part | None]) -> Part | None:
        nonlocal late
        late = True
        return copy()

    asked = answer_copies(delay)
    ended, _ = run(replace(tools, clock=tell_time), task)

    assert asked == [1]
    assert ended.error is not None
    assert ended.error.code == "source_timeout"
    assert count_uploads(tools, task) == (0, 0)


def test_what_would_be_copied_is_not_where_the_same_bytes_are_there(
    tools: Tools,
    store: S3ObjectStore,
    make_task: MakeTask,
    task: Task,
    answer_copies: Callable[[Answer], list[int]],
) -> None:
    asked = answer_copies(lambda _, copy: copy())
    plain = make_task(f"{secrets.token_hex(8)}.mp4", url=task.order.url)
    with tools.database.transaction() as connection:
        # So that the first one is downloaded, and its SHA-256 is known.
        connection.execute(
            update(tasks).where(tasks.c.id == plain.id).values(
                checksum=f"sha256:{hashlib.sha256(_read_source(store, task)).hexdigest()}"
            )
        )  # fmt: skip
        connection.execute(update(tasks).where(tasks.c.id == task.id).values(dedupe="content"))
    first, _ = run(tools, plain)
    assert first.status is Status.COMPLETE
    again, _ = run(tools, task)
    store.delete(f"prefix/folder/{plain.order.filename}")
    assert asked == []
    assert again.duplicate_of == plain.file_id


def test_what_is_still_to_be_said_of_a_task_that_has_ended_is_left_to_whoever_ran_it(
    tools: Tools, task: Task
) -> None:
    with tools.signals.listen_for_end(task.id) as wait:
        assert Pipeline(tools).run(task.id) == End(task.id, is_told=False)
        assert Pipeline(tools).run(task.id) is None
        assert not wait(0.1)


def test_who_waits_for_what_was_sent_is_told_before_it_is_dropped(
    tools: Tools, store: S3ObjectStore, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = ObjectUrl.of_upload(make_id(Prefix.FILE))
    upload = store.begin(sent.key, ObjectHeaders("text/plain", "inline", {}))
    store.complete(upload, [store.put_part(upload, 1, b"no media")], overwrite=False)
    task = make_task(url=str(sent))
    really, told = store.delete, []
    with tools.signals.listen_for_end(task.id) as wait:

        def delete(key: str) -> None:
            told.append((key, wait(5)))
            really(key)

        monkeypatch.setattr(store, "delete", delete)
        assert Pipeline(tools).run(task.id) is None
    assert told == [(sent.key, True)]


def _read_source(store: S3ObjectStore, task: Task) -> bytes:
    key = task.order.url.removeprefix("s3://own/")
    return requests.get(store.presign(key, 60, public=False), timeout=10).content

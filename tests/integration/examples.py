"""Things that records can hold, made of as little as possible, and what is done to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import func, select, text, update

from ingest.config import Settings
from ingest.errors import HeadraceError, SourceNotFound, SourceUnavailable
from ingest.formats import Kind
from ingest.model import Attempt, File, Lease, MediaInfo, Task
from ingest.states import Status
from storage.records import claims, completions, decisions, leases, lookups, tasks
from storage.records.completions import Completion
from storage.records.database import Database
from storage.records.tables import names
from storage.records.tables import tasks as table

A = TypeVar("A")
R = TypeVar("R")
# What the fixtures of the same names in lower case are; see conftest.py.
MakeTask = Callable[..., Task]
Claim = Callable[..., Lease]

MEDIA = MediaInfo(
    kind=Kind.VIDEO,
    type="video/mp4",
    container="mp4",
    extension="mp4",
    codec="h264",
    width=160,
    height=120,
    orientation="landscape",
    rotation=0,
    transparency=False,
    animated=None,
    frames=25,
    duration_s=1.0,
    fps=25.0,
    bitrate_bps=100_000,
    language=None,
    streams=[{"index": 0, "codec_type": "video"}],
)


def make_file(lease: Lease, media: MediaInfo = MEDIA) -> File:
    """Return the file that an attempt has made."""
    task = lease.task
    name = task.order.filename or f"{task.file_id}.mp4"
    return File(
        id=task.file_id,
        media_id=task.media_id,
        project_id=task.project_id,
        task_id=task.id,
        object_key=f"{lease.key_prefix}/{task.order.folder}/{name}",
        folder=task.order.folder,
        filename=task.order.filename,
        ref=task.order.ref,
        metadata=task.order.metadata,
        source=task.order.url,
        source_name="a.mp4",
        sha256="0" * 64,
        filesize_bytes=10,
        media=media,
        created=task.created,
        updated=task.updated,
    )


def find_spare_redis(settings: Settings) -> str:
    """Return the URL of a Redis database that the stack does not use."""
    return settings.redis_url.get_secret_value().rpartition("/")[0] + "/9"


def read_task(records: Database, task: Task) -> Task:
    """Return a task as it stands now."""
    with records.transaction() as connection:
        found = lookups.get(connection, task.project_id, task.id)
    assert found is not None
    return found


def list_attempts(records: Database, task: Task) -> Sequence[Attempt]:
    """Return the attempts of a task, the first one first."""
    with records.transaction() as connection:
        return lookups.list_attempts(connection, [task.id])[task.id]


def list_names(records: Database) -> list[str]:
    """Return the object keys that are taken."""
    with records.transaction() as connection:
        return sorted(connection.execute(select(names.c.object_key)).scalars())


def complete_task(records: Database, lease: Lease) -> bool:
    """End an attempt with a file; return whether it was let."""
    with records.transaction() as connection:
        came = completions.complete(connection, lease, make_file(lease), 10)
    return came is not Completion.LEASE_LOST


def fail_task(records: Database, lease: Lease) -> bool:
    """End an attempt with an error that no time mends; return whether it was let."""
    with records.transaction() as connection:
        return tasks.fail(connection, lease, SourceNotFound("Gone."), 5)


def retry_later(
    records: Database,
    lease: Lease,
    error: HeadraceError | None = None,
    *,
    after_s: float = 60,
    charged: bool = True,
) -> bool:
    """End an attempt with an error that time may mend; return whether it was let."""
    failed_with = error or SourceUnavailable("The source answered 503.")
    with records.transaction() as connection:
        return tasks.retry_later(
            connection, lease, failed_with, 7, after_s=after_s, charged=charged
        )


def cancel_task(records: Database, task: Task, project_id: str | None = None) -> Task | None:
    """Cancel a task as its own project, or as another."""
    with records.transaction() as connection:
        return decisions.cancel(connection, project_id or task.project_id, task.id)


def try_claim(
    records: Database, task: Task, worker: str = "worker-1", host_limit: int = 0
) -> Lease | None:
    """Claim a task if it is to be had."""
    with records.look() as connection:
        return claims.claim(connection, task.id, worker, 60, host_limit=host_limit)


def read_columns(records: Database, task: Task, *names: str) -> tuple[object, ...]:
    """Return what a row holds and no model shows."""
    with records.transaction() as connection:
        query = select(*(table.c[name] for name in names)).where(table.c.id == task.id)
        return tuple(connection.execute(query).one())


def measure_wait_s(records: Database, task: Task) -> float:
    """Return how long a task is still to wait, by the clock that counts."""
    with records.transaction() as connection:
        wait = connection.execute(
            select(table.c.next_attempt_at - func.now()).where(table.c.id == task.id)
        ).scalar_one()
    assert isinstance(wait, timedelta)
    return wait.total_seconds()


def let_wait_end(records: Database, task: Task) -> None:
    """Let the time of the next attempt come."""
    with records.transaction() as connection:
        connection.execute(
            update(table).where(table.c.id == task.id).values(next_attempt_at=func.now())
        )


def release_expired(records: Database) -> dict[str, Status]:
    """Release the leases that have run out; return what became of their tasks."""
    with records.transaction() as connection:
        return dict(leases.release_expired(connection))


def has_waiter(records: Database) -> bool:
    """Return whether some transaction waits for a lock of another."""
    with records.transaction() as connection:
        query = text("""
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
        """)
        return bool(connection.execute(query).scalar_one())


def do_at_once(action: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
    """Call an action with each argument, all in the same moment; return what each call did."""
    start = threading.Barrier(len(arguments))

    def do(argument: A) -> R:
        start.wait(10)
        return action(argument)

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(do, arguments))

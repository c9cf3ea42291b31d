"""How an attempt ends: its task is complete, has failed, waits for another attempt, or is lost.

Invariants:

- What ends a task is one transaction; only after it are the waiting told.
- An object that was stored is taken back before the task is said to have failed.
- An attempt that lost its lease writes nothing, and leaves what it stored to the attempt that has
  the task now. Only of a task that has ended under it, it leaves no object.
- Where an object may be left all the same, the task says so, and the sweep looks for it.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from sqlalchemy import Connection

from ingest.errors import (
    HeadraceError,
    LeaseLost,
    RedisUnavailable,
    ServiceError,
    SourceDns,
    SourceTimeout,
    SourceTooSlow,
    SourceTruncated,
    SourceUnavailable,
    StorageUnavailable,
)
from ingest.logs import get_logger
from ingest.model import File, Task
from ingest.retry import RetryPolicy, plan_retry
from ingest.states import Status
from ingest.urls import ObjectUrl
from storage.records import completions, lookups, tasks
from storage.records.completions import Completion
from storage.signals import End
from workers.attempt import Attempt

# What a source is missing by that may be there again.
_AWAY = (SourceDns, SourceTimeout, SourceTooSlow, SourceTruncated, SourceUnavailable)


def find_cause(attempt: Attempt, error: HeadraceError) -> HeadraceError:
    """Return what an attempt has failed of: what somebody has sent lies in our own store.

    So that an outage of it costs no attempts, at the end of which the only copy would be deleted.
    """
    if _find_upload_key(attempt) is not None and isinstance(error, _AWAY):
        return StorageUnavailable("The object store does not hand out what was sent to it.")
    return error


def finish(attempt: Attempt, file: File) -> End | None:
    """End a task well: with the file that it made, or with one that was there already.

    Returns:
        What is still to be said to those who wait; None if it was said.

    Raises:
        LeaseLost: another attempt has the task.
        FileExists: an unnamed file's key is taken.
        SourceChanged: the file that was there is gone.
    """
    lease, database, checkpoints = attempt.lease, attempt.tools.database, attempt.checkpoints
    done_bytes = attempt.held.transferred_bytes
    begun_by = checkpoints.begun_by if checkpoints.used else None
    is_new = file.id == lease.task.file_id

    def write_at_once(connection: Connection) -> Completion | None:
        return completions.complete_at_once(connection, lease, file, done_bytes, begun_by)

    def write(connection: Connection) -> Completion:
        if is_new:
            return completions.complete(connection, lease, file, done_bytes, begun_by)
        return completions.complete_as_duplicate(connection, lease, file, done_bytes)

    came = attempt.held.write(database.look, write_at_once) if is_new else None
    if came is None:
        came = attempt.held.write(database.transaction, write)
    if came is Completion.LEASE_LOST:
        raise LeaseLost("Another attempt has the task.")
    # A round of the dispatcher of webhooks for each file would be for nothing where nobody asks.
    ended = End(lease.task.id, is_told=came is Completion.TOLD)
    if _find_upload_key(attempt) is None:
        return ended
    # They do not wait for the store, too.
    _announce(attempt, ended)
    _drop_upload(attempt)
    return None


def settle(attempt: Attempt, error: HeadraceError) -> None:
    """End an attempt with its error: the task fails, or waits for its next attempt.

    Raises:
        LeaseLost: another attempt has the task.
    """
    attempt.held.check()
    lease, settings = attempt.lease, attempt.tools.settings
    verdict = plan_retry(
        error,
        tries=lease.task.tries,
        max_attempts=lease.task.max_attempts,
        outage_s=_measure_outage(lease.task),
        policy=RetryPolicy(
            settings.retry_base_s, settings.retry_cap_s, settings.storage_patience_s
        ),
    )
    after_s = verdict.retry_after_s
    if after_s is None:
        attempt.placement.take_back()
    if verdict.keeps_checkpoint:
        attempt.checkpoints.leave()
    else:
        attempt.checkpoints.abandon()
    done_bytes = attempt.held.transferred_bytes

    left_object = attempt.placement.may_be_stored

    def write(connection: Connection) -> bool:
        if after_s is None:
            return tasks.fail(connection, lease, error, done_bytes, left_object=left_object)
        return tasks.retry_later(
            connection,
            lease,
            error,
            done_bytes,
            after_s=after_s,
            charged=verdict.charged,
            left_object=left_object,
        )

    if not attempt.held.write(attempt.tools.database.transaction, write):
        raise LeaseLost("Another attempt has the task.")
    if after_s is None:
        _announce(attempt, End(lease.task.id))
        _drop_upload(attempt)
    else:
        get_logger(__name__).info("ingest.put_off", reason=error.code, after_s=round(after_s, 1))


def let_go(attempt: Attempt) -> None:
    """Leave a task whose lease is lost. Raises nothing: what is left over is swept."""
    with suppress(ServiceError):
        with attempt.tools.database.transaction() as connection:
            end = lookups.read_end(connection, attempt.lease)
        if end in {Status.FAILED, Status.CANCELLED}:
            attempt.placement.take_back()
        if end is Status.CANCELLED:
            attempt.checkpoints.abandon()


def _find_upload_key(attempt: Attempt) -> str | None:
    url = attempt.url
    return url.key if isinstance(url, ObjectUrl) and url.is_upload else None


def _drop_upload(attempt: Attempt) -> None:
    # What somebody has sent for a task that has ended; where the store is silent, it is swept.
    key = _find_upload_key(attempt)
    if key is not None:
        with suppress(ServiceError):
            attempt.tools.store.delete(key)


def _announce(attempt: Attempt, ended: End) -> None:
    # Whoever waits looks at the row now and then, so a lost word costs only time.
    with suppress(RedisUnavailable):
        attempt.tools.signals.announce_end(ended)


def _measure_outage(task: Task) -> float:
    if task.outage_since is None:
        return 0.0
    return max(0.0, (datetime.now(UTC) - task.outage_since).total_seconds())

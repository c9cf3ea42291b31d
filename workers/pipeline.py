"""One ingest, in reading order: claim, fetch, store, probe, finish.

The only module that knows this order. Storing and probing stand in ``storing``, how an attempt ends
in ``endings``. Invariants:

- An attempt that lost its lease writes nothing. An object is only ever replaced where a dead
  attempt left it: an earlier one of the same task, or one of a task that ended without a file.
- A longer file is gone on with where an earlier attempt ended, if store and source both confirm
  it; otherwise it starts again.
"""

from __future__ import annotations

import structlog

from ingest.errors import HeadraceError, InternalError, LeaseLost
from ingest.logs import get_logger
from ingest.model import File
from storage.records import claims
from storage.signals import End
from workers.attempt import Attempt, Tools, begin_attempt
from workers.copying import copy_source, plan_copy
from workers.duplicates import find_by_source
from workers.endings import find_cause, finish, let_go, settle
from workers.filing import is_of_another, make_object_key
from workers.leases import HeldLease
from workers.opening import Opener
from workers.storing import store_source, take_over
from workers.watchdog import Cancellation


class Pipeline:
    """Runs ingests; one instance serves all threads of a worker."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def run(self, task_id: str) -> End | None:
        """Run one attempt at a task, if it is there to be claimed. Raises nothing it can record.

        Returns:
            What is still to be said to those who wait for the task, if it has ended. Its lease is
            let go by then: a worker that gives itself up meanwhile leaves it unsaid.
        """
        tools = self._tools
        asked = tools.clock()
        with tools.database.look() as connection:
            lease = claims.claim(
                connection,
                task_id,
                tools.leases.worker,
                tools.leases.lease_s,
                host_limit=tools.settings.host_limit,
            )
        if lease is None:
            get_logger(__name__).info("ingest.nothing_to_claim", task_id=task_id)
            return None
        with (
            structlog.contextvars.bound_contextvars(
                task_id=task_id,
                attempt=lease.attempt,
                request_id=lease.task.request_id,
                worker=lease.worker,
            ),
            tools.leases.hold(lease, asked) as held,
            tools.metrics.running.track_inprogress(),
        ):
            outcome, ended = self._attempt(held)
            elapsed_s = tools.clock() - asked
            tools.metrics.attempts.labels(outcome).inc()
            tools.metrics.bytes.inc(held.transferred_bytes - held.copied_bytes)
            tools.metrics.copied_bytes.inc(held.copied_bytes)
            tools.metrics.seconds.observe(elapsed_s)
            get_logger(__name__).info(
                "ingest.ended",
                outcome=outcome,
                bytes=held.transferred_bytes,
                copied=held.copied_bytes > 0,
                duration_s=round(elapsed_s, 3),
            )
        return ended

    def _attempt(self, held: HeldLease) -> tuple[str, End | None]:
        attempt = begin_attempt(self._tools, held)
        try:
            try:
                return "complete", finish(attempt, _ingest(attempt))
            except LeaseLost:
                raise
            except HeadraceError as error:
                # A source that was cut off because the lease is lost tells another error.
                held.check()
                cause = find_cause(attempt, error)
                settle(attempt, cause)
                return cause.code, None
            except Exception as error:  # noqa: BLE001 - whatever it is, the task must end with it
                get_logger(__name__).exception("ingest.broke")
                broken = InternalError(f"Headrace failed with {type(error).__name__}.")
                settle(attempt, broken)
                return broken.code, None
        except LeaseLost as error:
            get_logger(__name__).warning("ingest.abandoned", reason=error.code)
            let_go(attempt)
            return error.code, None


def _ingest(attempt: Attempt) -> File:
    get_logger(__name__).info("ingest.started", source=attempt.url.redacted)
    # Refused before anything that an attempt has left is looked at.
    attempt.find_bucket()
    found = attempt.checkpoints.find()
    if found is not None and is_of_another(attempt.lease, found.upload.key):
        # It was begun when the name was the task's own; now a file has it.
        attempt.start_again()
        found = None
    if found is not None:
        attempt.placement.begun_by = attempt.checkpoints.begun_by
        if found.completed:
            if attempt.placement.is_own(found.upload.key, found.size_bytes):
                return take_over(attempt, found)
            attempt.start_again()
            found = None
    order = attempt.lease.task.order
    if found is None and order.filename is not None and not attempt.lease.replaces:
        # A stranger's object is better found before the download than after.
        attempt.placement.clear(make_object_key(attempt.lease, ""))
    cancellation = Cancellation()
    with attempt.held.interrupting(cancellation.abort):
        opener = Opener(attempt, cancellation)
        source, found = opener.open(found)
        try:
            known = find_by_source(attempt, source.etag)
            if known is not None:
                attempt.start_again()
                return known
            attempt.held.report(source.received_bytes, source.size_bytes)
            plan = plan_copy(attempt, source, found)
            if plan is not None:
                copied = copy_source(attempt, plan, source, opener.deadline)
                if copied is not None:
                    return copied
                source, found = opener.open(None)
            return store_source(attempt, source, found, cancellation, opener.split())
        finally:
            source.close()

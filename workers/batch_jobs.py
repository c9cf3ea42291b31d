"""Jobs of batches that a worker has beside its slots: claimed, kept alive, ended.

One thread looks for work at each heartbeat, extends what is held, and starts a thread for each job,
so no list takes a slot from an ingest. Nothing comes through Redis: the rows are the queue. A job
whose lease is lost, since its worker fell silent or somebody cancelled its batch, is interrupted
and writes nothing. Invariant: whatever becomes of a job is written under its lease, or another
worker begins it anew once that has run out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping

import structlog

from ingest.batch_jobs import Job, JobKind
from ingest.config import Settings
from ingest.errors import (
    AttemptsExhausted,
    DatabaseUnavailable,
    HeadraceError,
    InternalError,
    LeaseLost,
    RedisUnavailable,
    ServiceError,
)
from ingest.logs import get_logger
from ingest.retry import RetryPolicy, plan_retry
from storage.records import batch_jobs
from storage.records.database import Database
from storage.signals import Signals
from workers.leases import Hold

# Beside the slots; they mostly wait for a source or for the database.
MOST_JOBS = 4
# Of these; they may take an hour, and lists must not wait so long.
_MOST_CHECKS = 2
_DATABASE_AGAIN_S = 5.0


class HeldJob(Hold):
    """A job whose lease this worker has."""

    def __init__(self, job: Job, clock: Callable[[], float], good_until: float) -> None:
        super().__init__(clock, good_until)
        self.job = job

    @property
    def pair(self) -> tuple[str, int]:
        """Which attempt at which batch this is."""
        return self.job.batch_id, self.job.attempt


class JobKeeper:
    """Runs jobs of batches. ``start`` it once, ``stop`` it last.

    Args:
        perform: does a job of each kind; what it raises is written down as the job's error.
        is_stopping: whether nothing more is to be begun; what is held goes on until ``stop``.
        at_end: called when it has stopped.
        clock: seconds, never running backwards.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        settings: Settings,
        worker: str,
        perform: Mapping[JobKind, Callable[[HeldJob], None]],
        is_stopping: Callable[[], bool] = lambda: False,
        at_end: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._signals = signals
        self._settings = settings
        self._worker = worker
        self._perform = perform
        self._is_stopping = is_stopping
        self._at_end = at_end
        self._clock = clock
        self._held: set[HeldJob] = set()
        self._let_go = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job-keeper", daemon=True)

    def start(self) -> None:
        """Begin to look for work."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Begin nothing more, give back what is held, and wait for its threads.

        Returns:
            Whether all had let go before the time was over.
        """
        deadline = self._clock() + timeout_s
        self._stopped.set()
        with self._let_go:
            held = list(self._held)
        if held:
            try:
                with self._database.transaction() as connection:
                    batch_jobs.hand_back(connection, [one.pair for one in held])
            except ServiceError:
                # Their leases run out.
                get_logger(__name__).warning("jobs.hand_back_failed", jobs=len(held))
        for one in held:
            one.lose()
        with self._let_go:
            left_s = max(0.0, deadline - self._clock())
            have_let_go = self._let_go.wait_for(lambda: not self._held, left_s)
        self._at_end()
        return have_let_go

    def beat(self) -> None:
        """Extend all leases once, and begin what there is room for."""
        self._extend()
        while len(self._held) < MOST_JOBS and not self._must_not_begin():
            asked = self._clock()
            with self._database.transaction() as connection:
                job = batch_jobs.claim(
                    connection, self._worker, self._settings.lease_s, self._list_wanted()
                )
            if job is None:
                return
            held = HeldJob(job, self._clock, asked + self._settings.lease_s)
            with self._let_go:
                self._held.add(held)
            try:
                threading.Thread(
                    target=self._work, args=(held,), name=f"job-{job.batch_id}", daemon=True
                ).start()
            except RuntimeError:
                # There are no more threads; nobody extends it, and its lease runs out.
                with self._let_go:
                    self._held.discard(held)
                raise

    def _must_not_begin(self) -> bool:
        return self._stopped.is_set() or self._is_stopping()

    def _list_wanted(self) -> Collection[JobKind]:
        with self._let_go:
            checks = sum(one.job.kind is JobKind.CHECK for one in self._held)
        return tuple(JobKind) if checks < _MOST_CHECKS else (JobKind.LOAD,)

    def _extend(self) -> None:
        with self._let_go:
            held = {one.pair: one for one in self._held}
        if not held:
            return
        asked = self._clock()
        with self._database.transaction() as connection:
            extended = batch_jobs.extend(connection, list(held), self._settings.lease_s)
        for pair, one in held.items():
            if pair in extended:
                one.good_until = asked + self._settings.lease_s
            else:
                one.lose()

    def _work(self, held: HeldJob) -> None:
        job = held.job
        with structlog.contextvars.bound_contextvars(
            batch_id=job.batch_id,
            attempt=job.attempt,
            request_id=job.request_id,
            worker=self._worker,
        ):
            began = self._clock()
            try:
                outcome = self._try(held)
            except ServiceError as error:
                # Nothing can be written: the lease runs out.
                outcome = error.code
            except Exception:  # noqa: BLE001 - the same, and the log has it
                get_logger(__name__).exception("job.broke")
                outcome = InternalError.code
            finally:
                with self._let_go:
                    self._held.discard(held)
                    self._let_go.notify_all()
            get_logger(__name__).info(
                "job.ended",
                kind=job.kind.value,
                outcome=outcome,
                duration_s=round(self._clock() - began, 3),
            )

    def _try(self, held: HeldJob) -> str:
        job = held.job
        try:
            _check_tries(job, self._settings.max_attempts)
            self._perform[job.kind](held)
        except HeadraceError as error:
            if isinstance(error, LeaseLost) or not self._is_held(held):
                return LeaseLost.code
            return self._settle(job, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the batch must end with it
            get_logger(__name__).exception("job.broke")
            return self._settle(job, InternalError(f"Headrace failed with {type(error).__name__}."))
        return "complete"

    def _is_held(self, held: HeldJob) -> bool:
        """Return whether a job is still one's own: one that is not was cut off, and tells so."""
        try:
            held.check()
        except LeaseLost:
            return False
        return True

    def _settle(self, job: Job, error: HeadraceError) -> str:
        """End a job with its error, or have it tried again."""
        settings = self._settings
        verdict = plan_retry(
            error,
            tries=job.tries,
            max_attempts=settings.max_attempts,
            outage_s=0,
            policy=RetryPolicy(
                settings.retry_base_s, settings.retry_cap_s, settings.storage_patience_s
            ),
        )
        charged, after_s = verdict.charged, verdict.retry_after_s
        if isinstance(error, DatabaseUnavailable):
            # An outage of ours, or another list that has the same names for as long as it loads.
            charged, after_s = False, _DATABASE_AGAIN_S
        with self._database.transaction() as connection:
            if after_s is None:
                is_written = batch_jobs.fail(connection, job, error)
            else:
                is_written = batch_jobs.put_off(connection, job, error, after_s, charged=charged)
        if not is_written:
            return LeaseLost.code
        if after_s is None:
            self.tell_webhooks()
        return error.code

    def tell_webhooks(self) -> None:
        """Have deliveries looked for now; they are in a second if this is lost."""
        try:
            self._signals.nudge_webhooks()
        except RedisUnavailable:
            get_logger(__name__).info("jobs.nudge_lost")

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.beat()
            except ServiceError as error:
                get_logger(__name__).info("jobs.put_off", reason=error.code)
            except Exception:  # noqa: BLE001 - a look that failed must not be the last one
                get_logger(__name__).exception("jobs.failed")
            self._stopped.wait(self._settings.heartbeat_s)


def _check_tries(job: Job, max_attempts: int) -> None:
    # Those before this one that came to an end would have ended the batch.
    if job.tries > max_attempts:
        raise AttemptsExhausted("The worker was lost at each try at the list.")

"""The leases a worker holds, kept alive by one thread.

Once a heartbeat it extends them all in one statement, tells their progress (to whoever asks, and
each tenth in an event) and says that the worker lives. A lease the database would not extend is
lost: its holder finds out at the next ``check`` and writes nothing more. When the database is
silent the bytes keep flowing until the lease has run out by our own clock, since nobody else can
have claimed the task before that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from ingest.errors import DatabaseUnavailable, LeaseLost, RedisUnavailable
from ingest.logs import get_logger
from ingest.model import Lease, Transfer
from storage.records import leases, outbox
from storage.records.database import Database
from storage.signals import WORKER_SILENT_AFTER_S, Signals

T = TypeVar("T")
# How often what could not be written is tried again while the lease lasts.
_WRITE_EVERY_S = 0.5


class Hold:
    """A lease as the thread sees it that works under it.

    Args:
        clock: seconds, never running backwards.
        good_until: when the lease runs out by that clock unless it is extended.
    """

    def __init__(self, clock: Callable[[], float], good_until: float) -> None:
        self.good_until = good_until
        self._clock = clock
        self._lost = threading.Event()
        self._at_loss: Callable[[], None] = lambda: None

    def check(self) -> None:
        """Make sure that the holder may still write.

        Raises:
            LeaseLost: another has the lease, or may have it.
        """
        if self._lost.is_set() or self._clock() > self.good_until:
            raise LeaseLost("The lease ran out or was taken over.")

    def lose(self) -> None:
        """Mark the lease as lost; may be called from any thread, and again."""
        if not self._lost.is_set():
            self._lost.set()
            self._at_loss()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Have ``interrupt`` called, from another thread, if the lease is lost in this block.

        What waits for a source must not wait on for nothing.
        """
        self._at_loss = interrupt
        try:
            if self._lost.is_set():
                interrupt()
            yield
        finally:
            self._at_loss = lambda: None


class HeldLease(Hold):
    """One attempt's lease as its own thread sees it.

    Args:
        lease: what was claimed.
        clock: seconds, never running backwards.
        good_until: when the lease runs out by that clock unless it is extended.
    """

    def __init__(self, lease: Lease, clock: Callable[[], float], good_until: float) -> None:
        super().__init__(clock, good_until)
        self.lease = lease
        self._began = clock()
        self._transferred_bytes = 0
        self._copied = False
        self._total_bytes: int | None = None
        self._told_tenths = 0

    def report(
        self, transferred_bytes: int, total_bytes: int | None, *, copied: bool = False
    ) -> None:
        """Note how far the attempt is; told to others at the next heartbeat.

        Args:
            copied: whether the store copies the bytes, so that none of them passes here.
        """
        self._copied = copied
        self._total_bytes = total_bytes
        self._transferred_bytes = transferred_bytes

    def write(
        self,
        enter: Callable[[], AbstractContextManager[Connection]],
        action: Callable[[Connection], T],
    ) -> T:
        """Do something in one transaction, again and again while the database is silent.

        A transaction whose commit was not answered may have been done: the action must find that
        out by itself.

        Args:
            enter: a database's ``transaction``, or its ``look`` for an action of one statement.

        Raises:
            LeaseLost: the lease ran out before the database came back.
        """
        while True:
            try:
                with enter() as connection:
                    return action(connection)
            except DatabaseUnavailable:
                self.check()
                get_logger(__name__).warning("lease.write_put_off")
                self._lost.wait(_WRITE_EVERY_S)
                self.check()

    @property
    def transferred_bytes(self) -> int:
        """How many bytes of the source have arrived, here or, copied, in the store."""
        return self._transferred_bytes

    @property
    def copied_bytes(self) -> int:
        """How many of them were copied inside the store."""
        return self._transferred_bytes if self._copied else 0

    def pass_tenth(self) -> bool:
        """Return whether another tenth has arrived since this last said so; for events."""
        if not self._total_bytes:
            return False
        tenths = 10 * self._transferred_bytes // self._total_bytes
        is_more = self._told_tenths < tenths < 10
        self._told_tenths = max(self._told_tenths, tenths)
        return is_more

    @property
    def transfer(self) -> Transfer:
        """How far the attempt is, and its mean rate so far."""
        elapsed_s = max(self._clock() - self._began, 1e-6)
        return Transfer(
            self._transferred_bytes, self._total_bytes, self._transferred_bytes / elapsed_s
        )


class LeaseKeeper:
    """Keeps the leases of one worker. ``start`` it once, ``stop`` it last.

    Args:
        worker: the worker's name, unique among all.
        slots: how many leases it may hold at once; told with each sign of life.
        lease_s: how long a lease lasts from each heartbeat.
        heartbeat_s: how often they are extended.
        clock: seconds, never running backwards.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        worker: str,
        slots: int = 1,
        lease_s: float,
        heartbeat_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker = worker
        self.lease_s = lease_s
        self._database = database
        self._signals = signals
        self._slots = slots
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._held: set[HeldLease] = set()
        self._lock = threading.Lock()
        self._let_go = threading.Condition(self._lock)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and sign the worker off."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(self._heartbeat_s + 5)
        try:
            self._signals.dismiss_worker(self.worker)
        except RedisUnavailable:
            get_logger(__name__).info("worker.sign_off_unsaid", worker=self.worker)

    @contextmanager
    def hold(self, lease: Lease, asked: float) -> Iterator[HeldLease]:
        """Keep a fresh lease alive while the block runs.

        Args:
            asked: the clock just before the lease was asked for; it counts from then.
        """
        held = HeldLease(lease, self._clock, asked + self.lease_s)
        with self._lock:
            self._held.add(held)
        try:
            yield held
        finally:
            with self._let_go:
                self._held.discard(held)
                self._let_go.notify_all()

    def hand_back(self, timeout_s: float) -> bool:
        """Give all tasks back that are still held, and have their threads let go.

        For a worker that must stop before they are done: others go on with them at once.

        Returns:
            Whether all threads had let go before the time was over.
        """
        deadline = self._clock() + timeout_s
        with self._lock:
            held = {(one.lease.task.id, one.lease.attempt): one for one in self._held}
        if held:
            try:
                with self._database.transaction() as connection:
                    count = leases.hand_back(connection, list(held))
                get_logger(__name__).info("worker.handed_back", tasks=count, worker=self.worker)
            except DatabaseUnavailable:
                # Their leases run out.
                get_logger(__name__).warning("worker.hand_back_failed", worker=self.worker)
        for one in held.values():
            one.lose()
        with self._let_go:
            return self._let_go.wait_for(lambda: not self._held, max(0.0, deadline - self._clock()))

    def beat(self) -> None:
        """Do what one heartbeat does."""
        with self._lock:
            held = {(one.lease.task.id, one.lease.attempt): one for one in self._held}
        if held:
            self._extend(held)
            self._tell_tenths(held)
        try:
            # A worker whose leases have run out is nobody to leave room in the window for.
            self._signals.report_worker(
                self.worker, self._slots, min(self.lease_s, WORKER_SILENT_AFTER_S)
            )
            for (task_id, _), one in held.items():
                self._signals.report_progress(task_id, one.transfer)
        except RedisUnavailable:
            get_logger(__name__).warning("heartbeat.redis_silent", worker=self.worker)

    def _extend(self, held: dict[tuple[str, int], HeldLease]) -> None:
        asked = self._clock()
        try:
            with self._database.transaction() as connection:
                extended = leases.extend_leases(connection, list(held), self.lease_s)
        except DatabaseUnavailable:
            get_logger(__name__).warning("heartbeat.database_silent", worker=self.worker)
            for one in held.values():
                if self._clock() > one.good_until:
                    one.lose()
            return
        for pair, one in held.items():
            if pair in extended:
                one.good_until = asked + self.lease_s
            else:
                one.lose()

    def _tell_tenths(self, held: dict[tuple[str, int], HeldLease]) -> None:
        passed = {pair: one.transfer for pair, one in held.items() if one.pass_tenth()}
        if not passed:
            return
        try:
            # Not with the leases, which must not wait for what an event may wait for.
            with self._database.transaction() as connection:
                for (task_id, attempt), transfer in passed.items():
                    outbox.tell_progress(connection, task_id, attempt, transfer)
        except DatabaseUnavailable:
            get_logger(__name__).info("heartbeat.progress_untold", worker=self.worker)

    def _run(self) -> None:
        while True:
            try:
                self.beat()
            except Exception:  # noqa: BLE001 - a beat that failed must not be the last one
                get_logger(__name__).exception("heartbeat.failed", worker=self.worker)
            if self._stopped.wait(self._heartbeat_s):
                return

"""The deliveries that a sender has the leases of, and its signs of life.

A lease is longer than an attempt may take, so none is ever extended. Invariant: what the process
cannot finish is given back before it ends, or its lease runs out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ingest.errors import DatabaseUnavailable, RedisUnavailable, SenderStopped
from ingest.logs import get_logger
from storage.records import sending
from storage.records.database import Database
from storage.signals import Role, Signals

_STOPPED = SenderStopped("The sender was told to stop.").as_failure()


class Holding:
    """What one sender holds. ``start`` it once, ``stop`` it last.

    Args:
        sender: its name, unique among all.
        slots: how many deliveries it may hold at once; told with each sign of life.
        heartbeat_s: how often it gives one.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        sender: str,
        slots: int,
        heartbeat_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sender = sender
        self._database = database
        self._signals = signals
        self._slots = slots
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._held: set[tuple[str, int]] = set()
        self._let_go = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="signs-of-life", daemon=True)

    def start(self) -> None:
        """Begin to give signs of life."""
        self._thread.start()

    def stop(self) -> None:
        """Give no more, and sign the sender off."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(self._heartbeat_s + 5)
        try:
            self._signals.dismiss_worker(self.sender, Role.SENDER)
        except RedisUnavailable:
            get_logger(__name__).info("sender.sign_off_unsaid")

    @contextmanager
    def hold(self, delivery_id: str, attempt: int) -> Iterator[None]:
        """Count a delivery as held while the block runs."""
        with self._let_go:
            self._held.add((delivery_id, attempt))
        try:
            yield
        finally:
            with self._let_go:
                self._held.discard((delivery_id, attempt))
                self._let_go.notify_all()

    def hand_back(self, timeout_s: float) -> bool:
        """Give back all deliveries that are still held; what their threads find out is not written.

        Returns:
            Whether all threads had let go before the time was over.
        """
        deadline = self._clock() + timeout_s
        with self._let_go:
            held = sorted(self._held)
        if held:
            try:
                with self._database.transaction() as connection:
                    count = sending.hand_back(connection, held, _STOPPED)
                get_logger(__name__).info("sender.handed_back", deliveries=count)
            except DatabaseUnavailable:
                # Their leases run out.
                get_logger(__name__).warning("sender.hand_back_failed")
        with self._let_go:
            return self._let_go.wait_for(lambda: not self._held, max(0.0, deadline - self._clock()))

    def _run(self) -> None:
        while True:
            try:
                self._signals.report_worker(self.sender, self._slots, role=Role.SENDER)
            except RedisUnavailable:
                get_logger(__name__).warning("heartbeat.redis_silent")
            except Exception:  # noqa: BLE001 - a beat that failed must not be the last one
                get_logger(__name__).exception("heartbeat.failed")
            if self._stopped.wait(self._heartbeat_s):
                return

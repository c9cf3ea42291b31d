"""The beat: loops that dispatch, sweep and forget, in a process of their own. Any number may run.

Nothing reaches it through Redis but nudges, which it can do without: a beat that was driven by
messages swept no more once Redis, or its own consumer, was gone. Invariants: what fails in one
round is logged and the next one comes all the same; no loop waits for another.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from ingest.config import Settings
from ingest.errors import RedisUnavailable, ServiceError
from ingest.logs import configure_logging, get_logger
from storage.objects import s3
from storage.readiness import check_services, report_services
from storage.records.database import Database
from storage.signals import BEAT_LOOPS, WEBHOOK_QUEUE, Signals
from storage.wakes import DELIVER, RUN, wake
from workers.batches import BatchFollower
from workers.dispatch import Dispatcher
from workers.dispatch_deliveries import DeliveryDispatcher
from workers.moving import MOVES_AT_ONCE, Mover
from workers.names import name_process
from workers.sweep import Sweeper

_DISPATCH_EVERY_S = 1.0
_SWEEP_EVERY_S = 5.0
_SWEEP_STORE_EVERY_S = 60.0
# Nudges come with each small file; this many rounds a second are enough.
_NUDGED_EVERY_S = 0.05
# A receiver's next delivery waits for a round, where it has as many in flight as it may.
_WEBHOOKS_NUDGED_EVERY_S = 0.02
_PRUNE_EVERY_S = 60.0
_FOLLOW_EVERY_S = 1.0
_MOVE_EVERY_S = 0.5
# A loop counts as missing when it has not gone round for so many times its interval, and this.
_MISSED_ROUNDS, _SLACK_S = 3, 10.0
# How long loops may take to end the round they are in.
_END_S = 1.5


def run_beat(settings: Settings) -> None:
    """Run a beat until SIGTERM or SIGINT.

    Raises:
        ConfigError: the S3 endpoint is not usable.
    """
    # Before any thread is there, so that all inherit it and the signals wait for `sigwait`.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    configure_logging(settings.log_level, settings.log_format)
    name = name_process()
    structlog.contextvars.bind_contextvars(worker=name)
    connections = len(BEAT_LOOPS) + MOVES_AT_ONCE
    database = Database(settings.sqlalchemy_url, pool_size=connections)
    signals = Signals(settings.redis_url.get_secret_value())
    store = s3.connect(settings, pool_size=connections)
    report_services(check_services(database, signals, store))
    sweeper = Sweeper(database, signals, store, settings)
    dispatcher = Dispatcher(database, signals, settings, partial(wake, signals, RUN))
    deliveries = DeliveryDispatcher(database, signals, settings, partial(wake, signals, DELIVER))

    def dispatch_deliveries() -> None:
        signals.wait_for_nudge(_DISPATCH_EVERY_S, WEBHOOK_QUEUE)
        deliveries.dispatch()

    def sweep() -> None:
        sweeper.sweep()
        deliveries.sweep()

    def prune() -> None:
        deliveries.prune()
        sweeper.forget_keys()
        sweeper.forget_dry_runs()

    mover = Mover(database, store, settings)
    batches = BatchFollower(database, signals, settings)
    stopped = threading.Event()
    loops = [
        Loop(
            "dispatch",
            lambda: dispatcher.dispatch(nudged=signals.wait_for_nudge(_DISPATCH_EVERY_S)),
            signals,
            stopped,
            every_s=_DISPATCH_EVERY_S,
            pause_s=_NUDGED_EVERY_S,
        ),
        Loop("sweep", sweep, signals, stopped, every_s=_SWEEP_EVERY_S),
        Loop("store", sweeper.sweep_store, signals, stopped, every_s=_SWEEP_STORE_EVERY_S),
        Loop(
            "webhooks",
            dispatch_deliveries,
            signals,
            stopped,
            every_s=_DISPATCH_EVERY_S,
            pause_s=_WEBHOOKS_NUDGED_EVERY_S,
        ),
        Loop("prune", prune, signals, stopped, every_s=_PRUNE_EVERY_S),
        Loop("batches", batches.follow, signals, stopped, every_s=_FOLLOW_EVERY_S),
        Loop("moves", mover.start_due, signals, stopped, every_s=_MOVE_EVERY_S),
    ]
    threads = [
        threading.Thread(target=loop.run, args=(name,), name=loop.name, daemon=True)
        for loop in loops
    ]
    for thread in threads:
        thread.start()
    get_logger(__name__).info("beat.started")
    ended_by = signal.sigwait(ends)
    get_logger(__name__).info("beat.stopping", signal=signal.Signals(ended_by).name)
    stopped.set()
    deadline = time.monotonic() + _END_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    signals.close()
    database.close()


class Loop:
    """Something that is done again and again, whatever becomes of it.

    Args:
        name: one of :data:`storage.signals.BEAT_LOOPS`.
        action: one round.
        stopped: ends the loop, within its pauses at once.
        every_s: the pause after a round; after one that failed, too.
        pause_s: the pause after a round that did not fail, where that is another.
    """

    def __init__(
        self,
        name: str,
        action: Callable[[], object],
        signals: Signals,
        stopped: threading.Event,
        *,
        every_s: float,
        pause_s: float | None = None,
    ) -> None:
        self.name = name
        self._action = action
        self._signals = signals
        self._stopped = stopped
        self._every_s = every_s
        self._pause_s = every_s if pause_s is None else pause_s
        self._failing: str | None = None

    def run(self, beat: str) -> None:
        """Go round until stopped.

        Args:
            beat: the process's name, for the log.
        """
        structlog.contextvars.bind_contextvars(worker=beat)
        while not self._stopped.is_set():
            self._stopped.wait(self._pause_s if self.go_round() else self._every_s)

    def go_round(self) -> bool:
        """Go round once; return whether that went well."""
        log = get_logger(__name__)
        try:
            self._action()
            self._report()
        except ServiceError as error:
            if self._failing != error.code:
                log.warning("beat.put_off", loop=self.name, reason=error.code)
            self._failing = error.code
            return False
        except Exception:
            log.exception("beat.failed", loop=self.name)
            return False
        if self._failing is not None:
            log.info("beat.goes_on", loop=self.name)
            self._failing = None
        return True

    def _report(self) -> None:
        try:
            self._signals.report_beat(self.name, _MISSED_ROUNDS * self._every_s + _SLACK_S)
        except RedisUnavailable:
            # Whoever looks finds the beat missing, and Redis too.
            get_logger(__name__).debug("beat.unreported", loop=self.name)

"""How a role consumes its queue: Celery's worker, with the slots, the ear and the end of ours."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery, signals

from ingest.logs import get_logger
from storage.signals import Signals
from workers.hearing import Hearing
from workers.shutdown import Stopping, give_up, stop_in_order
from workers.slots import Slots, make_pool, make_step


def consume(
    app: Celery,
    redis: Signals,
    queue: str,
    *,
    name: str,
    threads: int,
    grace_s: float,
    hand_back: Callable[[float], bool],
    stopping: Stopping,
) -> None:
    """Run what is registered in ``app`` as messages come, until SIGTERM or SIGINT.

    Args:
        name: the process's.
        threads: how many messages run at once.
        grace_s: how long what runs may go on then.
        hand_back: as for :func:`workers.shutdown.stop_in_order`.
        stopping: told when no message is to be taken any more.
    """
    end = stopping.before(hand_back)
    # Logging is configured already; this receiver keeps Celery from doing it again.
    signals.setup_logging.connect(_keep_logging, weak=False)

    slots = Slots(threads)
    hearing = Hearing(redis, queue, slots, lambda: give_up(end))

    def make_ready(**_: object) -> None:
        stop_in_order(grace_s, slots.turner.turn, end)
        hearing.start()

    app.steps["consumer"].add(make_step(slots))
    signals.worker_ready.connect(make_ready, weak=False)
    get_logger(__name__).info("worker.starting", queue=queue, threads=threads)
    app.Worker(
        hostname=name,
        queues=[queue],
        concurrency=threads,
        pool_cls=make_pool(slots, stopping),
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    ).start()


def _keep_logging(**_: object) -> None:
    return

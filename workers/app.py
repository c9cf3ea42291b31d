"""The Celery app, and the two processes made of it: the worker and the beat.

Celery only wakes (docs/architecture.md): a message carries a task id, is acknowledged before it
runs, and has no result. Losing one or getting it twice changes nothing, so every setting here
chooses the cheap side: no result backend, no events, no remote control, no priorities in Redis.

The ``beat`` process both ticks and answers its own ticks (queue ``control``), so that dispatching
and sweeping never wait behind ingests. Any number of both may run.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog
from celery import Celery, signals
from celery.beat import Scheduler, Service
from celery.exceptions import OperationalError

from ingest.config import Settings
from ingest.errors import RedisUnavailable
from ingest.logs import configure_logging, get_logger
from storage.objects import s3
from storage.readiness import check_services, report_services
from storage.records.database import Database
from storage.signals import CONTROL_QUEUE, INGEST_QUEUE, Signals
from workers.attempt import Tools
from workers.dispatch import Dispatcher
from workers.egress import Egress, Policy
from workers.leases import LeaseKeeper
from workers.loop import Loop, LoopTurner
from workers.metrics import WorkerMetrics
from workers.pipeline import Pipeline
from workers.probe import ProbeLimits, build_prober
from workers.shutdown import stop_in_order
from workers.sweep import Sweeper
from workers.tasks import DISPATCH, RUN, SWEEP, register_control, register_ingest

_DISPATCH_EVERY_S = 1.0
_SWEEP_EVERY_S = 5.0
_CONTROL_THREADS = 2


class _Consumer(Protocol):
    hub: Loop


def run_worker(settings: Settings) -> None:
    """Run a worker until it is told to stop: claims and ingests, ``worker_slots`` at once.

    Raises:
        ConfigError: ffprobe or the S3 endpoint is not usable.
    """
    configure_logging(settings.log_level, settings.log_format)
    worker = _name_worker()
    structlog.contextvars.bind_contextvars(worker=worker)
    tools = build_tools(settings, worker)
    app = create_celery(settings)
    register_ingest(app, Pipeline(tools))
    if settings.worker_metrics_bind is not None:
        tools.metrics.serve(settings.worker_metrics_bind)
    report_services(check_services(tools.database, tools.signals, tools.store))
    tools.leases.start()
    try:
        _run(
            app,
            worker,
            INGEST_QUEUE,
            settings.worker_slots,
            settings.shutdown_grace_s,
            tools.leases.hand_back,
        )
    finally:
        tools.leases.stop()
        tools.executor.shutdown(wait=False, cancel_futures=True)
        tools.egress.close()
        tools.signals.close()
        tools.database.close()


def run_beat(settings: Settings) -> None:
    """Run a beat until it is told to stop: ticks, dispatches, sweeps."""
    configure_logging(settings.log_level, settings.log_format)
    name = _name_worker()
    structlog.contextvars.bind_contextvars(worker=name)
    database = Database(settings.sqlalchemy_url, pool_size=_CONTROL_THREADS)
    redis = Signals(settings.redis_url.get_secret_value())
    store = s3.connect(settings, pool_size=_CONTROL_THREADS)
    report_services(check_services(database, redis, store))
    app = create_celery(settings)

    def wake(task_id: str) -> None:
        try:
            app.send_task(RUN, args=[task_id], queue=INGEST_QUEUE, retry=False)
        except (OperationalError, OSError) as error:
            raise RedisUnavailable("Redis does not take messages.") from error

    register_control(
        app, Dispatcher(database, redis, settings, wake), Sweeper(database, redis, store, settings)
    )
    app.conf.beat_schedule = {
        # A tick that nobody took in time is worth nothing: the next one does its work.
        name: {
            "task": name,
            "schedule": every_s,
            "options": {"queue": CONTROL_QUEUE, "expires": every_s},
        }
        for name, every_s in ((DISPATCH, _DISPATCH_EVERY_S), (SWEEP, _SWEEP_EVERY_S))
    }
    # The plain scheduler keeps no file; what was due while nobody ticked is due at the next tick.
    ticking = Service(app, max_interval=1, scheduler_cls=Scheduler)
    threading.Thread(target=_tick, args=(ticking,), name="ticks", daemon=True).start()
    try:
        _run(
            app,
            name,
            CONTROL_QUEUE,
            _CONTROL_THREADS,
            settings.shutdown_grace_s,
            lambda _: True,
        )
    finally:
        ticking.stop()
        redis.close()
        database.close()


def build_tools(settings: Settings, worker: str) -> Tools:
    """Build what an ingest works with; opens no connection but starts the probe's fork server."""
    slots = settings.worker_slots
    database = Database(settings.sqlalchemy_url, pool_size=slots + 1)
    redis = Signals(settings.redis_url.get_secret_value())
    senders = slots * settings.parts_in_flight
    return Tools(
        settings=settings,
        database=database,
        signals=redis,
        store=s3.connect(settings, pool_size=senders + slots),
        egress=Egress(
            Policy(
                connect_timeout_s=settings.connect_timeout_s,
                read_timeout_s=settings.first_byte_timeout_s,
                allowed=settings.dangerous_allow_addresses,
                ca_file=settings.source_ca_file,
            ),
            pool_size=slots,
        ),
        prober=build_prober(
            settings.ffprobe_path,
            ProbeLimits(
                timeout_s=settings.probe_timeout_s,
                memory_bytes=settings.probe_memory_bytes,
                max_pixels=settings.probe_max_pixels,
            ),
        ),
        leases=LeaseKeeper(
            database,
            redis,
            worker=worker,
            lease_s=settings.lease_s,
            heartbeat_s=settings.heartbeat_s,
        ),
        metrics=WorkerMetrics(slots),
        executor=ThreadPoolExecutor(senders, thread_name_prefix="part"),
    )


def create_celery(settings: Settings) -> Celery:
    """Return an app with no tasks registered; it connects when it is first used."""
    app = Celery("headrace", broker=settings.redis_url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_pool="threads",
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=0,
        broker_transport_options={
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


def _run(
    app: Celery,
    name: str,
    queue: str,
    threads: int,
    grace_s: float,
    hand_back: Callable[[float], bool],
) -> None:
    # Logging is configured already; this receiver keeps Celery from doing it again.
    signals.setup_logging.connect(_keep_logging, weak=False)

    turner = LoopTurner()

    def make_ready(sender: _Consumer, **_: object) -> None:
        # Sent again after each loss of Redis, when the loop has forgotten all it watched.
        turner.watch_from(sender.hub)
        stop_in_order(grace_s, hand_back)

    def turn_loop(**_: object) -> None:
        turner.turn()

    signals.worker_ready.connect(make_ready, weak=False)
    signals.task_prerun.connect(turn_loop, weak=False)
    get_logger(__name__).info("worker.starting", queue=queue, threads=threads)
    app.Worker(
        hostname=name,
        queues=[queue],
        concurrency=threads,
        pool_cls="threads",
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    ).start()


def _tick(ticking: Service) -> None:
    try:
        ticking.start()
    except Exception:  # noqa: BLE001 - a beat that ticks no more must not look alive
        get_logger(__name__).exception("beat.broke")
        os.kill(os.getpid(), signal.SIGTERM)


def _keep_logging(**_: object) -> None:
    return


def _name_worker() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

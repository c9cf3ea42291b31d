"""The worker: a process that takes wake-ups from Redis and runs ingests in threads.

Everything an ingest works with is built here and handed down. Any number of workers may run.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from ingest.batch_jobs import JobKind
from ingest.config import Settings
from ingest.logs import configure_logging, get_logger
from ingest.outlets import parse_ports
from storage.objects import s3
from storage.objects.s3_client import make_models
from storage.readiness import check_services, report_services
from storage.records.database import Database
from storage.sealing import Sealer
from storage.signals import INGEST_QUEUE, Signals
from storage.wakes import RUN
from workers.attempt import Tools
from workers.batch_jobs import MOST_JOBS, JobKeeper
from workers.broker import create_celery
from workers.buffers import BufferPool
from workers.connections import SourceBuckets
from workers.consuming import consume
from workers.digests import find_digests
from workers.egress import Egress, Policy
from workers.following import Following
from workers.leases import LeaseKeeper
from workers.list_loading import ListLoader
from workers.metrics import WorkerMetrics
from workers.names import name_process
from workers.pipeline import Pipeline
from workers.probe import ProbeLimits, Prober, build_prober
from workers.shutdown import HAND_BACK_S, Stopping
from workers.source_checks import SourceChecker
from workers.tasks import register


def run_worker(settings: Settings) -> None:
    """Run a worker until it is told to stop: claims and ingests, ``worker_slots`` at once.

    Raises:
        ConfigError: ffprobe or the S3 endpoint is not usable.
    """
    configure_logging(settings.log_level, settings.log_format)
    worker = name_process()
    structlog.contextvars.bind_contextvars(worker=worker)
    tools = build_tools(settings, worker)
    app = create_celery(settings)
    stopping = Stopping()
    take = partial(tools.signals.take_message, INGEST_QUEUE)
    announce = tools.signals.announce_end
    register(app, Following(take, announce, RUN, Pipeline(tools).run, stopping.is_set))
    if settings.worker_metrics_bind is not None:
        tools.metrics.serve(settings.worker_metrics_bind, "HEADRACE_WORKER_METRICS_BIND")
    report_services(check_services(tools.database, tools.signals, tools.store))
    if not find_digests().can_resume:
        get_logger(__name__).warning("worker.cannot_resume")
    tools.leases.start()
    jobs = _build_jobs(tools, worker, stopping)
    jobs.start()

    def hand_back(timeout_s: float) -> bool:
        # The shorter list first: it waits for nothing but a transaction.
        jobs_let_go = jobs.stop(timeout_s / 3)
        return tools.leases.hand_back(timeout_s * 2 / 3) and jobs_let_go

    try:
        consume(
            app,
            tools.signals,
            INGEST_QUEUE,
            name=worker,
            threads=settings.worker_slots,
            grace_s=settings.shutdown_grace_s,
            hand_back=hand_back,
            stopping=stopping,
        )
    finally:
        jobs.stop(HAND_BACK_S)
        tools.leases.stop()
        for executor in (tools.readers, tools.senders):
            executor.shutdown(wait=False, cancel_futures=True)
        tools.prober.close()
        tools.egress.close()
        tools.sources.close()
        tools.signals.close()
        tools.database.close()


def _build_jobs(tools: Tools, worker: str, stopping: Stopping) -> JobKeeper:
    # A door of its own: a list of ten thousand hosts would push the ingests' idle connections out.
    egress = Egress(tools.egress.policy, pool_size=4, most_hosts=8)
    database, settings, sealer = tools.database, tools.settings, tools.sealer
    loader = ListLoader(database, tools.signals, settings, sealer, egress, tools.sources)
    checker = SourceChecker(database, settings, sealer, egress, tools.sources)
    return JobKeeper(
        database,
        tools.signals,
        settings,
        worker,
        {JobKind.LOAD: loader.load, JobKind.CHECK: checker.check},
        is_stopping=stopping.is_set,
        at_end=egress.close,
    )


def build_tools(settings: Settings, worker: str, prober: Prober | None = None) -> Tools:
    """Build what an ingest works with; opens no connection, but boto3 looks for missing keys.

    Args:
        worker: the name that leases are taken under.
        prober: None for ffprobe, whose fork server is started here.

    Raises:
        ConfigError: ffprobe or the S3 endpoint is not usable.
    """
    slots = settings.worker_slots
    # One for the keepers of leases and of jobs, who are quick.
    database = Database(settings.sqlalchemy_url, pool_size=slots + 1 + MOST_JOBS)
    redis = Signals(settings.redis_url.get_secret_value())
    models = make_models()
    buffers = BufferPool(slots, settings.parts_in_flight, settings.part_bytes)
    # What all slots use of a host by one connection each, or one of them by many.
    kept_for_host = min(buffers.count, max(slots, settings.source_connections))
    return Tools(
        settings=settings,
        database=database,
        signals=redis,
        store=s3.connect(settings, pool_size=buffers.count, models=models),
        sealer=Sealer(settings.secret_keys),
        egress=Egress(
            Policy(
                connect_timeout_s=settings.connect_timeout_s,
                read_timeout_s=settings.first_byte_timeout_s,
                allowed=settings.dangerous_allow_addresses,
                networks=settings.dangerous_allow_networks,
                ports=parse_ports(settings.source_ports),
                ca_file=settings.source_ca_file,
            ),
            pool_size=kept_for_host,
            # Of each slot, the host it asks and the one it is sent on to.
            most_hosts=2 * slots,
        ),
        sources=SourceBuckets(settings, pool_size=kept_for_host, models=models),
        prober=prober or _build_prober(settings),
        leases=LeaseKeeper(
            database,
            redis,
            worker=worker,
            slots=slots,
            lease_s=settings.lease_s,
            heartbeat_s=settings.heartbeat_s,
        ),
        metrics=WorkerMetrics(slots),
        buffers=buffers,
        # One for each buffer that is read into, and one for each ingest that asks the database.
        readers=ThreadPoolExecutor(buffers.count + slots, thread_name_prefix="reader"),
        senders=ThreadPoolExecutor(buffers.count, thread_name_prefix="sender"),
    )


def _build_prober(settings: Settings) -> Prober:
    return build_prober(
        settings.ffprobe_path,
        ProbeLimits(
            timeout_s=settings.probe_timeout_s,
            memory_bytes=settings.probe_memory_bytes,
            max_pixels=settings.probe_max_pixels,
        ),
        settings.frame_ffmpegs,
        placeholders=settings.placeholders,
    )

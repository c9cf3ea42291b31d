"""The sender: a process that takes wake-ups from Redis and delivers webhooks in threads.

A queue and a process of its own, so that ingests and webhooks never wait for each other. Any number
of senders may run.
"""

from __future__ import annotations

from functools import partial

import structlog

from ingest.config import Settings
from ingest.logs import configure_logging
from ingest.outlets import parse_ports
from storage.readiness import check_services, report_services
from storage.records.database import Database
from storage.sealing import Sealer
from storage.signals import WEBHOOK_QUEUE, Signals
from storage.wakes import DELIVER
from workers.broker import create_celery
from workers.consuming import consume
from workers.deliver import Deliverer, SenderTools
from workers.egress import Egress, Policy
from workers.following import Following
from workers.holding import Holding
from workers.metrics import SenderMetrics
from workers.names import name_process
from workers.shutdown import Stopping
from workers.tasks import register


def run_sender(settings: Settings) -> None:
    """Run a sender until it is told to stop: ``webhook_slots`` deliveries at once.

    Raises:
        ConfigError: the address of its metrics, or a file of certificates, is not usable.
    """
    configure_logging(settings.log_level, settings.log_format)
    name = name_process()
    structlog.contextvars.bind_contextvars(worker=name)
    tools = build_sender_tools(settings, name)
    app = create_celery(settings)
    stopping = Stopping()
    take = partial(tools.signals.take_message, WEBHOOK_QUEUE)
    announce = tools.signals.announce_end
    register(app, Following(take, announce, DELIVER, Deliverer(tools).deliver, stopping.is_set))
    if settings.sender_metrics_bind is not None:
        tools.metrics.serve(settings.sender_metrics_bind, "HEADRACE_SENDER_METRICS_BIND")
    report_services(check_services(tools.database, tools.signals))
    tools.holding.start()
    try:
        consume(
            app,
            tools.signals,
            WEBHOOK_QUEUE,
            name=name,
            threads=settings.webhook_slots,
            grace_s=settings.shutdown_grace_s,
            hand_back=tools.holding.hand_back,
            stopping=stopping,
        )
    finally:
        tools.holding.stop()
        tools.egress.close()
        tools.signals.close()
        tools.database.close()


def build_sender_tools(settings: Settings, name: str) -> SenderTools:
    """Build what a delivery works with; opens no connection.

    Args:
        name: the name that leases are taken under.

    Raises:
        ConfigError: a file of certificates is not usable.
    """
    slots = settings.webhook_slots
    database = Database(settings.sqlalchemy_url, pool_size=slots + 1)
    redis = Signals(settings.redis_url.get_secret_value())
    return SenderTools(
        settings=settings,
        database=database,
        signals=redis,
        egress=Egress(
            Policy(
                connect_timeout_s=settings.webhook_connect_timeout_s,
                read_timeout_s=settings.webhook_timeout_s,
                allowed=settings.dangerous_allow_addresses,
                networks=settings.dangerous_allow_networks,
                ports=parse_ports(settings.source_ports),
                ca_file=settings.source_ca_file,
            ),
            pool_size=settings.webhook_endpoint_limit,
            most_hosts=2 * slots,
        ),
        sealer=Sealer(settings.secret_keys),
        holding=Holding(
            database,
            redis,
            sender=name,
            slots=slots,
            heartbeat_s=settings.heartbeat_s,
        ),
        metrics=SenderMetrics(slots),
    )

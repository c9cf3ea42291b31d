"""Celery as Headrace uses it: to take messages that wake (:mod:`storage.wakes`), and nothing else.

A message carries an id, is acknowledged before it runs, and has no result. Losing one or
getting it twice changes nothing (docs/architecture.md), so every setting here chooses the cheap
side: no result backend, no events, no remote control, no priorities in Redis.
"""

from __future__ import annotations

from celery import Celery

from ingest.config import Settings


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
        # What is fetched follows from the slots (workers/slots.py), through any reconnect.
        worker_enable_prefetch_count_reduction=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=0,
        broker_transport_options={
            "socket_connect_timeout": 2,
            "socket_timeout": 3,
            "socket_keepalive": True,
            "health_check_interval": 10,
            # What was taken is noted in memory, and not in Redis too, to be struck out at once.
            "ack_emulation": False,
        },
    )
    return app

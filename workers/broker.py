"""Celery as Headrace uses it: messages that wake, and nothing else.

A message carries an id, is acknowledged before it runs, and has no result. Losing one or
getting it twice changes nothing (docs/architecture.md), so every setting here chooses the cheap
side: no result backend, no events, no remote control, no priorities in Redis.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable

from celery import Celery
from celery.exceptions import OperationalError

from ingest.config import Settings
from ingest.errors import RedisUnavailable

# What messages ask for: to run a task, to deliver a delivery.
RUN, DELIVER = "ingest.run", "webhook.deliver"
# Whose id each of them carries, as logs call it.
CARRIES = {RUN: "task_id", DELIVER: "delivery_id"}


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


def make_wake(app: Celery, name: str, queue: str) -> Callable[[str], None]:
    """Return what sends one wake-up, by the id of what is to be done; it raises RedisUnavailable.

    Args:
        name: :data:`RUN` or :data:`DELIVER`.
        queue: the queue of those who answer that.
    """

    def wake(wanted_id: str) -> None:
        try:
            app.send_task(name, args=[wanted_id], queue=queue, retry=False)
        except (OperationalError, OSError) as error:
            raise RedisUnavailable("Redis does not take messages.") from error

    return wake


def read_wake(message: str, name: str) -> str:
    """Return the id that a wake-up carries.

    Args:
        message: as it stands in Redis: kombu's envelope around Celery's message, protocol 2.
        name: what it must ask for.

    Raises:
        ValueError: it is another message, or none.
    """
    try:
        envelope = json.loads(message)
        asked = envelope["headers"]["task"]
        arguments, _, _ = json.loads(b64decode(envelope["body"], validate=True))
        (wanted_id,) = arguments
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError("This is no message of Celery's.") from error
    if asked != name or not isinstance(wanted_id, str):
        raise ValueError("This is no wake-up.")
    return wanted_id

"""Wake-ups as they stand in Redis: messages of Celery's that carry an id, and nothing else.

Written and read here as Celery's protocol 2 has it (https://docs.celeryq.dev/en/stable/internals/
protocol.html), in the envelope that kombu puts around it: through both of them one message costs
four times as much, and each goes to Redis by itself. Invariant: Celery's workers take what is
written here, and what Celery writes can be read here.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from uuid import uuid4

from storage.signals import INGEST_QUEUE, WEBHOOK_QUEUE, Signals

# What messages ask for: to run a task, to deliver a delivery.
RUN, DELIVER = "ingest.run", "webhook.deliver"
# Whose id each of them carries, as logs call it.
CARRIES = {RUN: "task_id", DELIVER: "delivery_id"}
# The queue of those who answer each.
QUEUES = {RUN: INGEST_QUEUE, DELIVER: WEBHOOK_QUEUE}
_NOTHING_ELSE = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
# AMQP's number for what is to outlast a restart of the broker; Celery's default.
_PERSISTENT = 2


def wake(signals: Signals, name: str, wanted_ids: Sequence[str]) -> None:
    """Send wake-ups, all at once and in their order.

    Args:
        name: :data:`RUN` or :data:`DELIVER`.
        wanted_ids: of what is to be done.

    Raises:
        RedisUnavailable: they may have been sent all the same.
    """
    signals.put_messages(QUEUES[name], [write_wake(one, name) for one in wanted_ids])


def write_wake(wanted_id: str, name: str) -> str:
    """Return a wake-up as it stands in Redis."""
    message_id = str(uuid4())
    body = json.dumps([[wanted_id], {}, _NOTHING_ELSE]).encode()
    return json.dumps(
        {
            "body": b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": name,
                "id": message_id,
                "root_id": message_id,
                "parent_id": None,
                "group": None,
                "eta": None,
                "expires": None,
                "retries": 0,
                "timelimit": [None, None],
                "ignore_result": True,
            },
            "properties": {
                "correlation_id": message_id,
                "reply_to": "",
                "delivery_mode": _PERSISTENT,
                "delivery_info": {"exchange": "", "routing_key": QUEUES[name]},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": message_id,
            },
        }
    )


def read_wake(message: str, name: str) -> str:
    """Return the id that a wake-up carries.

    Args:
        message: as it stands in Redis.
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

"""The nudge: tells workers that a task waits. The only user of Celery in the API.

A nudge that is lost costs a little time and nothing else; the dispatcher sends another.
"""

from __future__ import annotations

from celery import Celery
from celery.exceptions import OperationalError
from redis.exceptions import RedisError

from ingest.config import Settings
from ingest.errors import RedisUnavailable
from ingest.logs import get_logger
from storage.signals import INGEST_QUEUE, Signals

_RUN = "ingest.run"


class WakeQueue:
    """Sends wake-ups while the window has room.

    Args:
        signals: counts what waits already.
    """

    def __init__(self, settings: Settings, signals: Signals) -> None:
        self._signals = signals
        self._window = settings.dispatch_window
        self._app = Celery(
            "headrace", broker=settings.redis_url.get_secret_value(), set_as_current=False
        )
        self._app.conf.update(
            task_ignore_result=True,
            broker_transport_options={
                "socket_connect_timeout": 1,
                "socket_timeout": 2,
                "socket_keepalive": True,
            },
        )

    def has_room(self) -> bool:
        """Return whether a wake-up may be sent now; False too if Redis does not answer."""
        try:
            return self._signals.count_queued(INGEST_QUEUE) < self._window
        except RedisUnavailable:
            return False

    def wake(self, task_id: str) -> bool:
        """Send a task's wake-up; return whether it was taken."""
        try:
            self._app.send_task(
                _RUN, args=[task_id], queue=INGEST_QUEUE, retry=False, ignore_result=True
            )
        except (OperationalError, RedisError, OSError) as error:
            get_logger(__name__).warning("nudge.lost", task_id=task_id, reason=type(error).__name__)
            return False
        return True

    def close(self) -> None:
        """Close the connections to the broker."""
        self._app.close()

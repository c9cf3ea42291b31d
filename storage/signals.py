"""Redis: what is worth knowing now and worth nothing tomorrow.

Progress of running attempts, the word that a task has ended, the length of the wake-up queue, and
which workers are alive. Losing all of it changes nothing that was promised: PostgreSQL has the
truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from ingest.errors import RedisUnavailable
from ingest.model import Transfer

# Celery's Redis transport keeps a queue as a list under its own name.
INGEST_QUEUE = "ingest"
# What a beat goes round in.
BEAT_LOOPS = ("dispatch", "sweep", "store")

WORKER_SILENT_AFTER_S = 15
_PROGRESS_TTL_S = 60
_WORKERS = "headrace:workers"
_NUDGE = "headrace:nudge"
# How long one wait on the wire may last; the caller's limit is kept by waiting again.
_SLICE_S = 5.0
_NUDGE_SLICE_S = 2.0


class Signals:
    """Everything Headrace says through Redis apart from Celery's messages.

    Args:
        url: as in :attr:`ingest.config.Settings.redis_url`.
    """

    def __init__(self, url: str) -> None:
        # A Redis that hangs must cost nobody more than a second or two: leases are kept and
        # requests answered by the same threads that speak to it.
        self._redis = _connect(url, timeout_s=1)
        # What waits for a nudge has to be answered later than that.
        self._patient = _connect(url, timeout_s=_NUDGE_SLICE_S + 1)

    def check(self) -> None:
        """Ask the server for a sign of life.

        Raises:
            RedisUnavailable: there was none.
        """
        with _translate():
            self._redis.ping()

    def count_queued(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        with _translate():
            return self._redis.llen(queue)

    def report_progress(self, task_id: str, transfer: Transfer) -> None:
        """Publish how far a running attempt is; forgotten after a minute of silence."""
        value = json.dumps(
            [transfer.transferred_bytes, transfer.total_bytes, round(transfer.rate_bps)]
        )
        with _translate():
            self._redis.set(f"headrace:progress:{task_id}", value, ex=_PROGRESS_TTL_S)

    def read_progress(self, task_ids: Sequence[str]) -> Mapping[str, Transfer]:
        """Return the progress of those tasks that have told any."""
        if not task_ids:
            return {}
        with _translate():
            values = cast(
                "list[str | None]",
                self._redis.mget([f"headrace:progress:{task_id}" for task_id in task_ids]),
            )
        return {
            task_id: Transfer(*json.loads(value))
            for task_id, value in zip(task_ids, values, strict=True)
            if value is not None
        }

    def announce_end(self, task_id: str) -> None:
        """Wake whoever waits for a task, drop its progress, and nudge: a slot is free."""
        with _translate():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.delete(f"headrace:progress:{task_id}")
            pipeline.publish(f"headrace:ended:{task_id}", "1")
            pipeline.lpush(_NUDGE, "1")
            pipeline.ltrim(_NUDGE, 0, 0)
            pipeline.execute()

    def nudge(self) -> None:
        """Have a dispatcher look for work now; many nudges are one."""
        with _translate():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.lpush(_NUDGE, "1")
            pipeline.ltrim(_NUDGE, 0, 0)
            pipeline.execute()

    def wait_for_nudge(self, timeout_s: float) -> bool:
        """Wait for a nudge and take it; of several who wait, one has it.

        Returns:
            Whether there was one; never later than after a few seconds.
        """
        with _translate():
            taken = self._patient.blpop([_NUDGE], timeout=min(timeout_s, _NUDGE_SLICE_S))
        return taken is not None

    @contextmanager
    def listen_for_end(self, task_id: str) -> Iterator[Callable[[float], bool]]:
        """Listen for the end of a task; whatever is announced inside the block is heard.

        Yields:
            ``wait(timeout_s) -> heard``, which waits no longer than a few seconds at a time.
        """
        with _translate(), PubSub(self._redis.connection_pool) as channel:
            channel.subscribe(f"headrace:ended:{task_id}")
            # The first message is the server's receipt: from here on nothing is missed.
            channel.get_message(timeout=2)

            def wait(timeout_s: float) -> bool:
                message = channel.get_message(timeout=min(timeout_s, _SLICE_S))
                return message is not None and message["type"] == "message"

            yield wait

    def report_worker(
        self, worker: str, slots: int = 1, ttl_s: float = WORKER_SILENT_AFTER_S
    ) -> None:
        """Say that a worker is alive.

        Args:
            slots: how many ingests it runs at once.
            ttl_s: how long that holds without another word.
        """
        with _translate():
            now = self._read_clock()
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zadd(_WORKERS, {worker: now + ttl_s})
            pipeline.set(_name_slots(worker), slots, px=round(1000 * ttl_s))
            pipeline.zremrangebyscore(_WORKERS, "-inf", now)
            pipeline.execute()

    def dismiss_worker(self, worker: str) -> None:
        """Say that a worker has stopped."""
        with _translate():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zrem(_WORKERS, worker)
            pipeline.delete(_name_slots(worker))
            pipeline.execute()

    def list_workers(self) -> Sequence[str]:
        """Return the workers that gave a sign of life lately."""
        with _translate():
            alive = self._redis.zrangebyscore(_WORKERS, self._read_clock(), "+inf")
        return sorted(cast("list[str]", alive))

    def count_slots(self) -> int:
        """Return how many ingests the workers that live can run at once."""
        workers = self.list_workers()
        if not workers:
            return 0
        with _translate():
            told = cast("list[str | None]", self._redis.mget(map(_name_slots, workers)))
        return sum(1 if slots is None else int(slots) for slots in told)

    def report_beat(self, loop: str, ttl_s: float) -> None:
        """Say that a beat has gone round in one of :data:`BEAT_LOOPS`; it holds for ``ttl_s``."""
        with _translate():
            self._redis.set(f"headrace:beat:{loop}", "1", px=round(1000 * ttl_s))

    def list_beats(self) -> Sequence[str]:
        """Return those of :data:`BEAT_LOOPS` that some beat goes round in."""
        with _translate():
            told = cast(
                "list[str | None]",
                self._redis.mget([f"headrace:beat:{loop}" for loop in BEAT_LOOPS]),
            )
        return [loop for loop, one in zip(BEAT_LOOPS, told, strict=True) if one is not None]

    def close(self) -> None:
        """Close every pooled connection."""
        self._redis.close()
        self._patient.close()

    def _read_clock(self) -> float:
        # Redis' own, so that the hosts' clocks need not agree.
        seconds, microseconds = self._redis.time()
        return seconds + microseconds / 1e6


def _connect(url: str, *, timeout_s: float) -> Redis:
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=1,
        socket_timeout=timeout_s,
        health_check_interval=30,
        # Once more for a pooled connection that died; never for one that hangs.
        retry=Retry(NoBackoff(), retries=1, supported_errors=(RedisConnectionError,)),
    )


def _name_slots(worker: str) -> str:
    return f"headrace:slots:{worker}"


@contextmanager
def _translate() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise RedisUnavailable("Redis does not answer.") from error

"""Redis: what is worth knowing now and worth nothing tomorrow.

Progress of running attempts, the word that a task has ended, the length of the wake-up queue, and
which workers are alive. Losing all of it changes nothing that was promised: PostgreSQL has the
truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.client import Pipeline, PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from ingest.errors import RedisUnavailable
from ingest.model import Transfer

# Celery's Redis transport keeps a queue as a list under its own name.
INGEST_QUEUE, WEBHOOK_QUEUE = "ingest", "webhooks"
# What a beat goes round in.
BEAT_LOOPS = ("dispatch", "sweep", "store", "webhooks", "prune", "batches", "moves")

WORKER_SILENT_AFTER_S = 15
_PROGRESS_TTL_S = 60
_NUDGES = {INGEST_QUEUE: "headrace:nudge", WEBHOOK_QUEUE: "headrace:nudge:webhooks"}
# How long one wait on the wire may last; the caller's limit is kept by waiting again.
_SLICE_S = 5.0
_NUDGE_SLICE_S = 2.0


class Role(StrEnum):
    """Who gives signs of life: what runs ingests, and what delivers webhooks."""

    WORKER = "worker"
    SENDER = "sender"


_LIVING = {Role.WORKER: "headrace:workers", Role.SENDER: "headrace:senders"}


@dataclass(frozen=True, slots=True)
class End:
    """The word that a task has ended; ``is_told``: there may be webhooks to send."""

    task_id: str
    is_told: bool = True


class Signals:
    """Everything Headrace says through Redis; what Celery's messages are is ``wakes``'s to say.

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

    def take_message(self, queue: str, ended: End | None = None) -> str | None:
        """Take the message that has waited longest; None if there is none.

        Args:
            ended: what :meth:`announce_end` is to say before, by the same way to Redis.

        Raises:
            RedisUnavailable: it did not answer.
            ValueError: what was taken is no text.
        """
        with _translate():
            # A Redis that is slow to answer may have given it away: that is waited for longer.
            if ended is None:
                return cast("str | None", self._patient.rpop(queue))
            pipeline = self._patient.pipeline(transaction=False)
            _push_end(pipeline, ended)
            pipeline.rpop(queue)
            # What was taken is taken, also where a word before it was refused.
            *_, taken = pipeline.execute(raise_on_error=False)
            if isinstance(taken, RedisError):
                raise taken
            return cast("str | None", taken)

    def put_messages(self, queue: str, messages: Sequence[str]) -> None:
        """Have messages wait in a queue, in their order; twice, if a connection dies meanwhile.

        Raises:
            RedisUnavailable: they may wait there all the same.
        """
        if messages:
            with _translate():
                self._redis.lpush(queue, *messages)

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

    def announce_end(self, ended: End) -> None:
        """Wake whoever waits for a task, drop its progress, and nudge: a slot is free."""
        with _translate():
            pipeline = self._redis.pipeline(transaction=False)
            _push_end(pipeline, ended)
            pipeline.execute()

    def announce_sent(self, delivery_id: str) -> None:
        """Wake whoever waits for what comes of a delivery."""
        with _translate():
            self._redis.publish(f"headrace:ended:{delivery_id}", "1")

    def nudge(self) -> None:
        """Have a dispatcher look for tasks now; many nudges are one."""
        self._nudge(INGEST_QUEUE)

    def nudge_webhooks(self) -> None:
        """Have a dispatcher look for deliveries now; many nudges are one."""
        self._nudge(WEBHOOK_QUEUE)

    def wait_for_nudge(self, timeout_s: float, queue: str = INGEST_QUEUE) -> bool:
        """Wait for a nudge to fill a queue, and take it; of several who wait, one has it.

        Returns:
            Whether there was one; never later than after a few seconds.
        """
        with _translate():
            taken = self._patient.blpop([_NUDGES[queue]], timeout=min(timeout_s, _NUDGE_SLICE_S))
        return taken is not None

    @contextmanager
    def listen_for_end(self, task_id: str) -> Iterator[Callable[[float], bool]]:
        """Listen for the end of a task, or of a delivery by its id, for as long as the block runs.

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
        self,
        worker: str,
        slots: int = 1,
        ttl_s: float = WORKER_SILENT_AFTER_S,
        role: Role = Role.WORKER,
    ) -> None:
        """Say that a worker, or a sender, is alive.

        Args:
            slots: how many ingests or deliveries it runs at once.
            ttl_s: how long that holds without another word.
        """
        with _translate():
            now = self._read_clock()
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zadd(_LIVING[role], {worker: now + ttl_s})
            pipeline.set(_name_slots(worker), slots, px=round(1000 * ttl_s))
            pipeline.zremrangebyscore(_LIVING[role], "-inf", now)
            pipeline.execute()

    def dismiss_worker(self, worker: str, role: Role = Role.WORKER) -> None:
        """Say that a worker, or a sender, has stopped."""
        with _translate():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.zrem(_LIVING[role], worker)
            pipeline.delete(_name_slots(worker))
            pipeline.execute()

    def list_workers(self, role: Role = Role.WORKER) -> Sequence[str]:
        """Return the workers, or senders, that gave a sign of life lately."""
        with _translate():
            alive = self._redis.zrangebyscore(_LIVING[role], self._read_clock(), "+inf")
        return sorted(cast("list[str]", alive))

    def count_slots(self, role: Role = Role.WORKER) -> int:
        """Return how much the workers, or senders, that live can run at once."""
        workers = self.list_workers(role)
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

    def _nudge(self, queue: str) -> None:
        with _translate():
            pipeline = self._redis.pipeline(transaction=False)
            _push_nudge(pipeline, _NUDGES[queue])
            pipeline.execute()

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


def _push_end(pipeline: Pipeline, ended: End) -> None:
    pipeline.delete(f"headrace:progress:{ended.task_id}")
    pipeline.publish(f"headrace:ended:{ended.task_id}", "1")
    _push_nudge(pipeline, _NUDGES[INGEST_QUEUE])
    if ended.is_told:
        _push_nudge(pipeline, _NUDGES[WEBHOOK_QUEUE])


def _push_nudge(pipeline: Pipeline, name: str) -> None:
    pipeline.lpush(name, "1")
    pipeline.ltrim(name, 0, 0)


def _name_slots(worker: str) -> str:
    return f"headrace:slots:{worker}"


@contextmanager
def _translate() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise RedisUnavailable("Redis does not answer.") from error

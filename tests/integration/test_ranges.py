"""The rest of a file over several connections, from a real server that does not always help."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

import crc32c
import pytest

from ingest.errors import (
    IngestError,
    SourceChanged,
    SourceForbidden,
    SourceUnavailable,
)
from ingest.urls import parse_source_url
from tests.support.origin import Cut, Drip, Generated, Origin, Reply, Stall
from workers.answers import Resume
from workers.buffers import BufferPool
from workers.egress import Egress
from workers.fetch import Limits, Source, open_source
from workers.ramp import Ramp
from workers.ranges import RangedFile, RangeReader
from workers.watchdog import Cancellation

LIMITS = Limits(
    max_bytes=10_000_000, total_timeout_s=60, lowest_bps=1, lowest_window_s=60, max_redirects=5
)
PART_BYTES = 65_536
BODY = Generated(10 * PART_BYTES - 1000, seed=5)
WHOLE = b"".join(BODY.read_pieces(0, BODY.size_bytes))
FILE = RangedFile('"one"', BODY.size_bytes, PART_BYTES)
GOOD = Reply(body=BODY, ranges=True, etag='"one"')


@dataclass
class Reading:
    """Reads a file from its second part on, and counts."""

    egress: Egress
    executor: Executor
    url: str
    most: int = 4
    find_most: Callable[[], int] | None = None
    # How many the source serves at once.
    cap: int = 100
    pool: BufferPool = field(default_factory=lambda: BufferPool(1, 7, PART_BYTES))
    checked: Callable[[int], None] = lambda _: None

    def __post_init__(self) -> None:
        self.cancellation = Cancellation()
        self.open_now = self.most_open = self.refused = 0
        self._lock = threading.Lock()

    def read(self) -> bytes:
        ramp = Ramp(time.monotonic(), 1.0, self.find_most or (lambda: self.most))
        found = b""
        with self.pool.open(PART_BYTES) as buffers:
            reader = RangeReader(
                FILE,
                self._open,
                buffers,
                self.executor,
                ramp,
                opened=self._open(FILE.ask_for(2, 0)),
                clock=time.monotonic,
                cancellation=self.cancellation,
                check=self.checked,
            )
            for part in reader.read(2):
                piece = bytes(part.buffer[: part.size_bytes])
                assert part.crc32c == crc32c.crc32c(piece)
                found += piece
                buffers.give(part.buffer)
        return found

    def _open(self, resume: Resume) -> Source:
        with self._lock:
            if self.open_now >= self.cap:
                self.refused += 1
                raise SourceForbidden("Too many connections.")
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
        try:
            source = open_source(
                self.egress,
                parse_source_url(self.url),
                LIMITS,
                resume=resume,
                cancellation=self.cancellation,
            )
        except IngestError:
            with self._lock:
                self.open_now -= 1
            raise
        close = source.close

        def count_close() -> None:
            with self._lock:
                self.open_now -= 1
            close()

        source.close = count_close  # type: ignore[method-assign]
        return source


def list_free(pool: BufferPool) -> int:
    with pool.open(PART_BYTES) as buffers:
        return sum(buffers.take_now() is not None for _ in range(pool.count + 1))


def test_all_parts_come_in_order_each_asked_for_once(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    reading = Reading(egress, executor, origin.route("/ranges/good", GOOD))
    assert reading.read() == WHOLE[PART_BYTES:]
    asked = sorted(str(one.range) for one in origin.list_served("/ranges/good"))
    firsts = range(PART_BYTES, BODY.size_bytes, PART_BYTES)
    ends = (min(first + PART_BYTES, BODY.size_bytes) for first in firsts)
    assert asked == sorted(
        f"bytes={first}-{end - 1}" for first, end in zip(firsts, ends, strict=True)
    )
    assert {one.if_range for one in origin.list_served("/ranges/good")} == {'"one"'}


@pytest.mark.parametrize("most", [1, 2, 4])
def test_there_are_never_more_connections_than_are_allowed(
    most: int, egress: Egress, executor: Executor, origin: Origin
) -> None:
    drip = Drip(8192, 0.005)
    url = origin.route(f"/ranges/most-{most}", replace(GOOD, drip=drip))
    reading = Reading(egress, executor, url, most=most)
    assert reading.read() == WHOLE[PART_BYTES:]
    assert reading.most_open == most
    assert reading.open_now == 0


def test_a_part_that_broke_off_goes_on_where_it_was(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    url = origin.route("/ranges/cut", replace(GOOD, cut=Cut(10_000)), GOOD)
    reading = Reading(egress, executor, url, most=1)
    assert reading.read() == WHOLE[PART_BYTES:]
    asked = [str(one.range) for one in origin.list_served("/ranges/cut")]
    assert asked[:2] == [
        f"bytes={PART_BYTES}-{2 * PART_BYTES - 1}",
        f"bytes={PART_BYTES + 10_000}-{2 * PART_BYTES - 1}",
    ]


def test_a_source_that_refuses_for_a_moment_is_asked_again_by_fewer(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    busy = Reply(status=503, headers=(("Retry-After", "0"),))
    url = origin.route("/ranges/busy", GOOD, busy, busy, GOOD)
    assert Reading(egress, executor, url).read() == WHOLE[PART_BYTES:]


def test_who_is_one_too_many_waits_until_another_has_gone(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    # A part takes longer than all pauses between tries together.
    url = origin.route("/ranges/capped", replace(GOOD, drip=Drip(8192, 0.2)))
    reading = Reading(egress, executor, url, most=4, cap=2)
    assert reading.read() == WHOLE[PART_BYTES:]
    assert reading.most_open == 2
    assert 1 <= reading.refused <= 2
    assert list_free(reading.pool) == reading.pool.count


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        pytest.param(replace(GOOD, etag='"two"'), SourceChanged, id="changed"),
        pytest.param(replace(GOOD, ranges=False), SourceChanged, id="no ranges"),
        pytest.param(Reply(status=403), SourceForbidden, id="refused"),
        pytest.param(Reply(status=503), SourceUnavailable, id="busy for good"),
        pytest.param(
            Reply(status=429, headers=(("Retry-After", "3600"),)), SourceUnavailable, id="patience"
        ),
    ],
)
def test_a_part_that_cannot_be_had_ends_the_reading_and_frees_every_buffer(
    reply: Reply, error: type[IngestError], egress: Egress, executor: Executor, origin: Origin
) -> None:
    reading = Reading(egress, executor, origin.route(f"/ranges/bad-{id(reply)}", GOOD, reply))
    with pytest.raises(error):
        reading.read()
    assert reading.open_now == 0
    assert list_free(reading.pool) == reading.pool.count


def test_who_may_not_go_on_does_not_wait_for_a_silent_source(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    stall = Stall(1000)
    url = origin.route("/ranges/silent", replace(GOOD, stall=stall))

    def give_up(received_bytes: int) -> None:
        if stall.reached.is_set():
            raise InterruptedError(received_bytes)

    reading = Reading(egress, executor, url, checked=give_up)
    began = time.monotonic()
    with pytest.raises(InterruptedError):
        reading.read()
    assert time.monotonic() - began < 5
    stall.released.set()
    assert list_free(reading.pool) == reading.pool.count


def test_a_database_that_hangs_holds_the_reading_up_in_nothing(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    answered, asked = threading.Event(), threading.Event()

    def hang() -> int:
        asked.set()
        answered.wait(30)
        return 4

    url = origin.route("/ranges/hang", replace(GOOD, drip=Drip(8192, 0.005)))
    reading = Reading(egress, executor, url, find_most=hang)
    assert reading.read() == WHOLE[PART_BYTES:]
    assert asked.is_set()
    assert not answered.is_set()
    assert reading.most_open == 1
    assert list_free(reading.pool) == reading.pool.count
    answered.set()


def test_an_asking_that_breaks_ends_the_reading_as_what_it_is(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    def fail() -> int:
        raise LookupError

    url = origin.route("/ranges/breaks", replace(GOOD, drip=Drip(8192, 0.005)))
    reading = Reading(egress, executor, url, find_most=fail)
    with pytest.raises(LookupError):
        reading.read()
    assert list_free(reading.pool) == reading.pool.count

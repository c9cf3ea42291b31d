"""A source as parts, from a real server: over one connection or many, and the same bytes always."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import cast

import crc32c
import pytest

from ingest.errors import IngestError, LeaseLost, SourceUnavailable
from ingest.model import Lease
from ingest.urls import parse_source_url
from tests.support.origin import Cut, Drip, Ending, Framing, Generated, Origin, Reply
from workers.answers import Resume
from workers.buffers import BufferPool
from workers.checksums import Checksums
from workers.egress import Egress
from workers.fetch import Limits, Source, open_source
from workers.leases import HeldLease
from workers.reading import FilledPart, PartReader, Splitting
from workers.stream import Stream
from workers.watchdog import Cancellation

LIMITS = Limits(
    max_bytes=10_000_000, total_timeout_s=60, lowest_bps=1, lowest_window_s=60, max_redirects=5
)
PART_BYTES = 65_536
BODY = Generated(12 * PART_BYTES - 1000, seed=9)
WHOLE = b"".join(BODY.read_pieces(0, BODY.size_bytes))
# Some 3 MiB/s a connection, of which a reader spends all its time waiting.
SLOW = Reply(body=BODY, ranges=True, etag='"one"', drip=Drip(16_384, 0.005))


@dataclass
class Reading:
    """One ingest's reading of a URL."""

    egress: Egress
    executor: Executor
    url: str
    most: int = 4
    held: HeldLease = field(
        default_factory=lambda: HeldLease(cast("Lease", None), time.monotonic, math.inf)
    )
    opened: list[Source] = field(default_factory=list)
    resumable: list[bool] = field(default_factory=list)
    pool: BufferPool = field(default_factory=lambda: BufferPool(2, 4, PART_BYTES))

    def read(
        self,
        *,
        splits: bool = True,
        stop_after: int | None = None,
        find_most: Callable[[], int] | None = None,
    ) -> bytes:
        """Read it, with its checksums checked on the way; ``stop_after`` counts parts."""
        cancellation, checksums = Cancellation(), Checksums(None)
        find_most = find_most or (lambda: self.most)
        splitting = Splitting(self._open, self.executor, find_most) if splits else None
        first = open_source(self.egress, parse_source_url(self.url), LIMITS)
        stream = Stream(first, lambda resume: self._open(resume, cancellation), cancellation)
        found = b""
        try:
            with self.pool.open(PART_BYTES) as buffers:
                reader = PartReader(
                    stream, checksums, buffers, self.held, cancellation, splitting, time.monotonic
                )
                for number, part in enumerate(parts := reader.read(), 1):
                    found += self._take(part, found)
                    buffers.give(part.buffer)
                    if number == stop_after:
                        parts.close()
                        return found
        finally:
            stream.close()
        assert reader.received_bytes == len(found)
        # Nobody goes on in a file that was whole in its first part.
        assert all(self.resumable) or len(self.resumable) == 1
        assert checksums.sha256 == hashlib.sha256(found).hexdigest()
        return found

    def count_free(self) -> int:
        """Return how many buffers the next ingest could have, were it alone."""
        with self.pool.open(PART_BYTES) as buffers:
            return sum(buffers.take_now() is not None for _ in range(self.pool.count + 1))

    def _open(self, resume: Resume, cancellation: Cancellation) -> Source:
        url = parse_source_url(self.url)
        source = open_source(self.egress, url, LIMITS, resume=resume, cancellation=cancellation)
        self.opened.append(source)
        return source

    def _take(self, part: FilledPart, before: bytes) -> bytes:
        piece = bytes(part.content)
        assert part.crc32c == crc32c.crc32c(piece)
        self.resumable.append(part.digests is not None)
        if part.digests is not None:
            restored = Checksums.restore(None, part.digests)
            assert restored is not None
            assert restored.sha256 == hashlib.sha256(before + piece).hexdigest()
        return piece


def list_ranges(origin: Origin, path: str) -> list[str | None]:
    return [one.range for one in origin.list_served(path)]


def test_a_source_that_is_slow_is_read_over_several_connections(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    reading = Reading(egress, executor, origin.route("/reading/slow", SLOW))
    assert reading.read() == WHOLE
    asked = list_ranges(origin, "/reading/slow")
    assert asked[0] == "bytes=0-"
    assert len(asked) == 12
    assert reading.count_free() == 2 + 2 * 3


@pytest.mark.parametrize("size_bytes", [1, PART_BYTES - 1, PART_BYTES])
def test_a_file_of_one_part_is_read_whole(
    egress: Egress, executor: Executor, origin: Origin, size_bytes: int
) -> None:
    body = WHOLE[:size_bytes]
    url = origin.route(f"/reading/short/{size_bytes}", Reply(body=body, ranges=True, etag='"one"'))
    reading = Reading(egress, executor, url)
    assert reading.read() == body
    assert reading.resumable == [False]


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("no ranges", replace(SLOW, ranges=False)),
        ("no etag", replace(SLOW, etag=None)),
        ("weak etag", replace(SLOW, etag='W/"one"')),
        ("no length", replace(SLOW, ranges=False, framing=Framing.CHUNKED)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_source_that_cannot_be_split_is_read_over_one(
    name: str, reply: Reply, egress: Egress, executor: Executor, origin: Origin
) -> None:
    path = f"/reading/{name.replace(' ', '-')}"
    assert Reading(egress, executor, origin.route(path, reply)).read() == WHOLE
    assert list_ranges(origin, path) == ["bytes=0-"]


def test_a_source_that_is_not_to_be_split_is_read_over_one(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    url = origin.route("/reading/whole", SLOW)
    assert Reading(egress, executor, url).read(splits=False) == WHOLE
    assert list_ranges(origin, "/reading/whole") == ["bytes=0-"]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(Reply(status=403), id="refused"),
        pytest.param(Reply(status=503), id="busy"),
        pytest.param(replace(SLOW, etag='"two"'), id="another file"),
        pytest.param(replace(SLOW, ranges=False), id="all of it"),
        pytest.param(Reply(raw=b""), id="nothing"),
    ],
)
def test_a_source_that_serves_one_connection_alone_is_read_to_its_end(
    second: Reply, egress: Egress, executor: Executor, origin: Origin
) -> None:
    path = f"/reading/once-{id(second)}"
    # A link that works once is the plainest case.
    reading = Reading(egress, executor, origin.route(path, SLOW, second))
    assert reading.read() == WHOLE
    assert len(list_ranges(origin, path)) == 2
    assert reading.count_free() == 2 + 2 * 3


@pytest.mark.parametrize(
    "later", [Reply(status=404), replace(SLOW, ranges=False)], ids=["refused", "all of it"]
)
def test_a_source_that_refuses_others_later_is_gone_on_in_over_one(
    later: Reply, egress: Egress, executor: Executor, origin: Origin
) -> None:
    path = f"/reading/later-{id(later)}"
    url = origin.route(path, SLOW, SLOW, later, SLOW)
    reading = Reading(egress, executor, url, most=2)
    assert reading.read() == WHOLE
    # The first request and one more go to the end; noted when they are over, so in any order.
    assert sum(str(one).endswith("-") for one in list_ranges(origin, path)) == 2


def test_a_source_that_forbids_one_too_many_is_read_over_fewer(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    url = origin.route("/reading/forbids", SLOW, SLOW, SLOW, Reply(status=403), SLOW)
    assert Reading(egress, executor, url).read() == WHOLE
    # Nothing but the first request went to the end.
    assert sum(str(one).endswith("-") for one in list_ranges(origin, "/reading/forbids")) == 1


@pytest.mark.parametrize(
    ("status", "said"), [(403, "answered 403"), (404, "answered 404"), (503, "answered 503")]
)
def test_a_source_that_refuses_everybody_later_may_be_tried_again(
    status: int, said: str, egress: Egress, executor: Executor, origin: Origin
) -> None:
    path = f"/reading/closed-{status}"
    url = origin.route(path, SLOW, SLOW, Reply(status=status))
    reading = Reading(egress, executor, url)
    # It served the file just now: several connections may be why it does not any more.
    with pytest.raises(SourceUnavailable, match=said):
        reading.read()
    assert reading.count_free() == 2 + 2 * 3


def test_a_source_that_needs_a_moment_to_serve_one_again_is_gone_on_in(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    path = "/reading/moment"
    # The second refuses a range, which ends the splitting; the third refuses the rest.
    refusals = [Reply(status=404)] * 2
    url = origin.route(path, SLOW, SLOW, *refusals, SLOW)
    assert Reading(egress, executor, url, most=2).read() == WHOLE


def test_a_host_whose_share_is_one_is_asked_by_nobody_twice(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    url = origin.route("/reading/share", SLOW)
    assert Reading(egress, executor, url, most=1).read() == WHOLE
    assert list_ranges(origin, "/reading/share") == ["bytes=0-"]


def test_a_share_that_cannot_be_learned_leaves_no_connection_open(
    egress: Egress, executor: Executor, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Source] = []
    close = Source.close

    def note(source: Source) -> None:
        closed.append(source)
        close(source)

    monkeypatch.setattr(Source, "close", note)
    reading = Reading(egress, executor, origin.route("/reading/unlearned", SLOW))
    shares = iter([4])

    def find_most() -> int:
        found = next(shares, None)
        if found is None:
            raise RuntimeError("no share")
        return found

    with pytest.raises(RuntimeError, match="no share"):
        reading.read(find_most=find_most)
    assert reading.count_free() == 2 + 2 * 3
    assert len(reading.opened) == 1
    assert reading.opened[0] in closed


def test_all_that_was_read_over_many_is_reported(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    reading = Reading(egress, executor, origin.route("/reading/reported", SLOW))
    reading.read()
    assert reading.held.transferred_bytes == BODY.size_bytes


@pytest.mark.parametrize("ending", Ending)
@pytest.mark.parametrize("connections", ["many", "one"])
def test_connections_that_break_again_and_again_are_gone_on_after(
    ending: Ending, connections: str, egress: Egress, executor: Executor, origin: Origin
) -> None:
    path = f"/reading/broken-{ending}-{connections}"
    broken = replace(SLOW, cut=Cut(2 * PART_BYTES + 100, ending))
    url = origin.route(path, broken, broken, broken, SLOW)
    assert Reading(egress, executor, url).read(splits=connections == "many") == WHOLE


def test_who_stops_reading_leaves_no_connection_and_no_buffer(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    reading = Reading(egress, executor, origin.route("/reading/stopped", SLOW))
    assert reading.read(stop_after=4) == WHOLE[: 4 * PART_BYTES]
    assert reading.count_free() == 2 + 2 * 3


def test_a_lost_lease_ends_the_reading_whatever_comes(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    reading = Reading(egress, executor, origin.route("/reading/lost", SLOW))
    reading.held.lose()
    with pytest.raises(LeaseLost):
        reading.read()


def test_an_error_of_the_source_is_its_own(
    egress: Egress, executor: Executor, origin: Origin
) -> None:
    url = origin.route("/reading/cut", replace(SLOW, etag=None, cut=Cut(100_000)))
    with pytest.raises(IngestError, match="ended after"):
        Reading(egress, executor, url).read()

"""A body that goes on where its connection dropped, and ends where it is not the same any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import pytest

from ingest.errors import (
    IngestError,
    SourceChanged,
    SourceForbidden,
    SourceTimeout,
    SourceTooSlow,
    SourceTruncated,
    SourceUnavailable,
)
from ingest.urls import parse_source_url
from workers.answers import Resume
from workers.fetch import Source
from workers.stream import Stream
from workers.watchdog import Cancellation

WHOLE = bytes(range(100))
Step = bytes | IngestError


class FakeSource:
    """Gives pieces, and fails where an error stands among them."""

    def __init__(
        self,
        steps: Iterable[Step],
        *,
        from_byte: int = 0,
        etag: str | None = '"a"',
        size_bytes: int | None = len(WHOLE),
        ranged: bool = True,
    ) -> None:
        self.url = parse_source_url("http://source.example/a")
        self.size_bytes, self.etag, self.ranged = size_bytes, etag, ranged
        self.received_bytes = self.resumed_from = from_byte
        self.reading_s = 1.0
        self.ended = self.closed = False
        self._steps: Iterator[Step] = iter(steps)

    def fill(self, buffer: memoryview, take: Callable[[memoryview], None]) -> int:
        filled = 0
        while filled < len(buffer):
            step = next(self._steps, b"")
            if isinstance(step, IngestError):
                raise step
            if not step:
                self.ended = True
                break
            buffer[filled : filled + len(step)] = step
            take(buffer[filled : filled + len(step)])
            filled += len(step)
            self.received_bytes += len(step)
        return filled

    def close(self) -> None:
        self.closed = True


class Reopener:
    """Gives out sources, or refuses, in turn; remembers what was asked for."""

    def __init__(self, *answers: FakeSource | IngestError) -> None:
        self.answers = list(answers)
        self.asked: list[Resume] = []

    def __call__(self, resume: Resume) -> Source:
        self.asked.append(resume)
        answer = self.answers.pop(0)
        if isinstance(answer, IngestError):
            raise answer
        return cast("Source", answer)


def read(first: FakeSource, reopen: Reopener, cancellation: Cancellation | None = None) -> bytes:
    """Read to the end in parts of 40 bytes, and check that all was taken in on the way."""
    stream = Stream(cast("Source", first), reopen, cancellation or Cancellation())
    taken, found = b"", b""

    def take(piece: memoryview) -> None:
        nonlocal taken
        taken += piece

    while not stream.ended:
        buffer = bytearray(40)
        found += buffer[: stream.fill(buffer, take)]
    assert taken == found
    assert stream.received_bytes == len(found)
    return found


@pytest.mark.parametrize(
    "drop", [SourceTruncated("x"), SourceTimeout("x"), SourceUnavailable("x")], ids=type
)
@pytest.mark.parametrize("at", [1, 39, 40, 41, 99])
def test_what_follows_a_drop_is_asked_for_and_nothing_else(drop: IngestError, at: int) -> None:
    first = FakeSource([*(WHOLE[n : n + 1] for n in range(at)), drop])
    rest = FakeSource([WHOLE[n : n + 1] for n in range(at, 100)], from_byte=at)
    reopen = Reopener(rest)
    assert read(first, reopen) == WHOLE
    assert reopen.asked == [Resume(at, '"a"', 100)]
    assert first.closed


def test_a_source_may_drop_again_and_again_while_it_brings_something() -> None:
    sources = [
        FakeSource([WHOLE[at : at + 10], SourceTruncated("x")], from_byte=at)
        for at in range(0, 90, 10)
    ]
    last = FakeSource([WHOLE[90:]], from_byte=90)
    assert read(sources[0], Reopener(*sources[1:], last)) == WHOLE


def test_a_source_that_brings_nothing_any_more_is_given_up() -> None:
    first = FakeSource([WHOLE[:10], SourceTruncated("first")])
    barren = [FakeSource([SourceTruncated(str(n))], from_byte=10) for n in range(9)]
    reopen = Reopener(*barren)
    with pytest.raises(SourceTruncated):
        read(first, reopen)
    assert len(reopen.asked) == 3


@pytest.mark.parametrize(
    "first",
    [
        FakeSource([WHOLE[:10], SourceTruncated("drop")], etag=None),
        FakeSource([WHOLE[:10], SourceTruncated("drop")], ranged=False),
        FakeSource([WHOLE[:10], SourceTruncated("drop")], size_bytes=None),
        FakeSource([SourceTruncated("drop")]),
        FakeSource([WHOLE[:10], SourceTooSlow("drop")]),
    ],
    ids=["no validator", "no ranges", "no length", "nothing yet", "too slow"],
)
def test_a_drop_that_cannot_be_mended_ends_the_reading(first: FakeSource) -> None:
    reopen = Reopener()
    with pytest.raises(IngestError, match="drop"):
        read(first, reopen)
    assert reopen.asked == []


@pytest.mark.parametrize(
    "answer",
    [SourceChanged("other"), SourceForbidden("no"), FakeSource([WHOLE], from_byte=0)],
    ids=["changed", "refused", "whole"],
)
def test_a_source_that_does_not_go_on_is_told_by_its_drop(
    answer: FakeSource | IngestError,
) -> None:
    first = FakeSource([WHOLE[:10], SourceTruncated("drop")])
    with pytest.raises(SourceTruncated, match="drop"):
        read(first, Reopener(answer))
    if isinstance(answer, FakeSource):
        assert answer.closed


def test_nothing_is_asked_for_once_the_attempt_is_given_up() -> None:
    cancellation = Cancellation()
    cancellation.abort()
    reopen = Reopener()
    with pytest.raises(SourceUnavailable):
        read(FakeSource([WHOLE[:10], SourceUnavailable("given up")]), reopen, cancellation)
    assert reopen.asked == []


def test_time_spent_on_dropped_connections_counts() -> None:
    first = FakeSource([WHOLE[:10], SourceTruncated("x")])
    rest = FakeSource([WHOLE[10:40]], from_byte=10)
    stream = Stream(cast("Source", first), Reopener(rest), Cancellation())
    stream.fill(bytearray(40), lambda _: None)
    assert stream.reading_s == 2.0

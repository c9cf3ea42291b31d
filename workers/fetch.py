"""A source as bytes: opened through redirects, judged by its head, read under limits.

Invariants: what is read is what was announced, to the byte, or an error; nothing is read past
``max_bytes``; a source that drips or stalls is dropped; a reader that waits can be told to stop.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from ingest.errors import (
    FieldInvalid,
    QuotaExceeded,
    SourceInvalid,
    SourceTimeout,
    SourceTooLarge,
    SourceTooSlow,
    SourceTruncated,
)
from ingest.urls import SourceUrl, resolve_redirect
from workers.answers import Head, Resume, judge_answer
from workers.egress import Answer, Egress
from workers.watchdog import Cancellation

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "Headrace/0.1"}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# More at once saves calls; what has arrived is given at once, whatever fits.
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one download; see the settings of the same names.

    ``room_bytes`` is what the project may still store; None: any number.
    """

    max_bytes: int
    total_timeout_s: float
    lowest_bps: int
    lowest_window_s: float
    max_redirects: int
    room_bytes: int | None = None


class Source:
    """The body of a source, read front to back.

    Attributes:
        url: where the bytes came from in the end.
        headers: those of the order that went there, too: none if that is another origin.
        size_bytes: the announced length of the whole file, or None.
        etag: the strong ETag, or None: what another attempt needs to go on from here.
        dispositions: every Content-Disposition that was sent, as it was sent.
        ranged: whether the source answers ranges.
        reading_s: seconds spent waiting for the source so far.
        resumed_from: where in the file the body began; 0 unless a rest was asked for and came.
        received_bytes: how much of the file is here, what lies before ``resumed_from`` included.
        ended: whether the end of the body was seen.
    """

    def __init__(
        self,
        answer: Answer,
        head: Head,
        limits: Limits,
        clock: Callable[[], float],
        deadline: float,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        self.url = answer.url
        self.headers = headers
        self.size_bytes = head.size_bytes
        self.etag = head.etag
        self.dispositions = answer.list_header("Content-Disposition")
        self.ranged = head.ranged
        self.resumed_from = head.first_byte
        self.received_bytes = head.first_byte
        self.ended = False
        self._end_byte = head.end_byte
        self._answer = answer
        self._limits = limits
        self._clock = clock
        self._deadline = deadline
        # Time spent waiting for the source alone: a slow object store must not look like a slow
        # source. The marks are (reading time, bytes) along the window of the lowest speed.
        self.reading_s = 0.0
        self._marks: deque[tuple[float, int]] = deque([(0.0, head.first_byte)])

    def fill(
        self, buffer: bytearray | memoryview, take: Callable[[memoryview], None] = lambda _: None
    ) -> int:
        """Read until the buffer is full or the body ends; return how many bytes were put in.

        Args:
            take: called with each piece that has arrived; what it raises ends the reading. What
                counts as received was taken, whatever ends the reading after it.

        Raises:
            SourceTooLarge, SourceTruncated, SourceTimeout, SourceTooSlow, SourceUnavailable
        """
        filled = 0
        view = memoryview(buffer)
        while filled < len(view) and not self.ended:
            began = self._clock()
            try:
                count = self._answer.read_into(view[filled : filled + _READ_BYTES])
            except SourceTruncated:
                # Where the length is known it says more.
                self._check_end()
                raise
            self.reading_s += self._clock() - began
            if not count:
                self._check_end()
                break
            self._admit(count)
            self.received_bytes += count
            take(view[filled : filled + count])
            filled += count
            self.ended = self.received_bytes == self._end_byte
            if not self.ended:
                self._check_time()
        return filled

    def get_header(self, name: str) -> str | None:
        """Return a header as it was sent, or None."""
        return self._answer.headers.get(name)

    def close(self) -> None:
        """Let the connection go."""
        self._answer.close()

    def _check_end(self) -> None:
        self.ended = True
        if self._end_byte is not None and self.received_bytes != self._end_byte:
            raise SourceTruncated(
                f"The source ended after {self.received_bytes} of {self._end_byte} bytes."
            )

    def _admit(self, piece_bytes: int) -> None:
        received_bytes = self.received_bytes + piece_bytes
        _judge_size(received_bytes, self._limits)
        if self._end_byte is not None and received_bytes > self._end_byte:
            raise SourceInvalid("The source sent more bytes than it announced.")

    def _check_time(self) -> None:
        if self._clock() > self._deadline:
            raise explain_lateness(self._limits)
        window_s = self._limits.lowest_window_s
        now = self.reading_s
        # Some twenty marks a window are enough to see a drip.
        if now - self._marks[-1][0] >= window_s / 20:
            self._marks.append((now, self.received_bytes))
        while len(self._marks) > 1 and now - self._marks[1][0] >= window_s:
            self._marks.popleft()
        since, count = self._marks[0]
        elapsed_s = now - since
        if elapsed_s < window_s:
            return
        rate_bps = (self.received_bytes - count) / elapsed_s
        if rate_bps < self._limits.lowest_bps:
            raise SourceTooSlow(
                f"The source sent {rate_bps:.0f} bytes/s over {elapsed_s:.0f} s; "
                f"the lowest speed is {self._limits.lowest_bps}."
            )


def explain_lateness(limits: Limits) -> SourceTimeout:
    """Return the error of a download that is not done when its time is over."""
    return SourceTimeout(f"The download took longer than {limits.total_timeout_s:g} s.")


def _read_wall_clock() -> datetime:
    return datetime.now(UTC)


def open_source(
    egress: Egress,
    url: SourceUrl,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
    *,
    headers: Mapping[str, str] = _NO_HEADERS,
    resume: Resume | None = None,
    head_bytes: int | None = None,
    cancellation: Cancellation | None = None,
    deadline: float | None = None,
    now: Callable[[], datetime] = _read_wall_clock,
) -> Source:
    """Ask for a source, follow its redirects, and return its body ready to read.

    Args:
        clock: seconds, never running backwards.
        headers: the order's own, in lower case, for the URL's origin: where a redirect leads to
            another one they are left behind, and stay so should it lead back.
        resume: asks for the rest of a file only. A source that has another file now, or no ranges,
            sends all of what it has; then ``resumed_from`` is 0 and what was here is worth nothing.
        head_bytes: asks for so much of the beginning only, of a file that is to be looked at. A
            source without ranges sends all of it.
        cancellation: ends the wait for the head, and each read of the body. One that was used
            already ends this call at once, so each purpose takes its own.
        deadline: when the download has to be done, by the clock; ``total_timeout_s`` from now
            unless it began before.
        now: the time of day, aware; sources tell some things by date.

    Raises:
        SourceChanged: the source sent something else than the rest that was asked for; ask again
            without ``resume``.
        IngestError: one of the other ``source_*`` errors, or ``address_blocked``.
    """
    cancellation = cancellation or Cancellation()
    deadline = clock() + limits.total_timeout_s if deadline is None else deadline
    ranging = _make_range_headers(resume, head_bytes)
    for _ in range(limits.max_redirects + 1):
        if clock() > deadline:
            raise explain_lateness(limits)
        answer = egress.get(url, {**_HEADERS, **headers, **ranging}, cancellation)
        try:
            if answer.status in _REDIRECTS:
                target = _read_location(answer)
                if target.origin != url.origin:
                    headers = _NO_HEADERS
                url = target
                answer.close()
                continue
            head = judge_answer(answer, resume, now(), head_bytes=head_bytes)
            _judge_size(head.size_bytes, limits)
        except BaseException:
            answer.close()
            raise
        return Source(answer, head, limits, clock, deadline, headers)
    raise SourceInvalid(f"The source redirects more than {limits.max_redirects} times.")


def _make_range_headers(resume: Resume | None, head_bytes: int | None) -> dict[str, str]:
    if resume is None:
        # A 206 tells the size and that ranges work; HEAD would break presigned URLs.
        return {"range": f"bytes=0-{'' if head_bytes is None else head_bytes - 1}"}
    last = "" if resume.until is None else resume.until - 1
    return {"range": f"bytes={resume.from_byte}-{last}", "if-range": resume.etag}


def _read_location(answer: Answer) -> SourceUrl:
    location = answer.headers.get("Location")
    if not location:
        raise SourceInvalid(f"The source answered {answer.status} without a Location.")
    try:
        return resolve_redirect(answer.url, location)
    except FieldInvalid as error:
        raise SourceInvalid(f"The source redirects to a bad URL: {error.message}") from error


def _judge_size(size_bytes: int | None, limits: Limits) -> None:
    if size_bytes is None:
        return
    if size_bytes > limits.max_bytes:
        raise SourceTooLarge(
            f"The source has {size_bytes} bytes or more; {limits.max_bytes} are allowed."
        )
    if limits.room_bytes is not None and size_bytes > limits.room_bytes:
        raise QuotaExceeded(
            f"The source has {size_bytes} bytes or more; the project may store {limits.room_bytes}."
        )

"""A source as bytes: opened through redirects, judged by its head, read under limits.

Invariants: what is read is what was announced, to the byte, or an error; a body that comes encoded
is refused, since identity was asked for; nothing is read past ``max_bytes``; a source that drips or
stalls is dropped.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ingest.errors import (
    FieldInvalid,
    SourceEmpty,
    SourceForbidden,
    SourceInvalid,
    SourceNotFound,
    SourceTimeout,
    SourceTooLarge,
    SourceTooSlow,
    SourceTruncated,
    SourceUnavailable,
)
from ingest.urls import SourceUrl, resolve_redirect
from workers.egress import Answer, Egress

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FORBIDDEN = frozenset({401, 402, 403, 407, 451})
_MISSING = frozenset({404, 410})
_BUSY = frozenset({408, 425, 429})
_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    # A 206 tells the size and that ranges work; HEAD would break presigned URLs.
    "Range": "bytes=0-",
    "User-Agent": "Headrace/0.1",
}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_LENGTH = re.compile(r"[0-9]{1,19}")
_LONGEST_RETRY_AFTER_S = 3600.0
_READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one download; see the settings of the same names."""

    max_bytes: int
    total_timeout_s: float
    lowest_bps: int
    lowest_window_s: float
    max_redirects: int


class Source:
    """The body of a source, read front to back.

    Attributes:
        url: where the bytes came from in the end.
        size_bytes: the announced length, or None.
        received_bytes: how much was read so far.
        ended: whether the end of the body was seen.
    """

    def __init__(
        self,
        answer: Answer,
        size_bytes: int | None,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self.url = answer.url
        self.size_bytes = size_bytes
        self.received_bytes = 0
        self.ended = False
        self._answer = answer
        self._limits = limits
        self._clock = clock
        self._deadline = clock() + limits.total_timeout_s
        # Time spent waiting for the source alone: a slow object store must not look like a slow
        # source. The marks are (reading time, bytes) along the window of the lowest speed.
        self._reading_s = 0.0
        self._marks: deque[tuple[float, int]] = deque([(0.0, 0)])

    def fill(self, buffer: bytearray, after_piece: Callable[[], None] = lambda: None) -> int:
        """Read until the buffer is full or the body ends; return how many bytes were put in.

        Args:
            after_piece: called whenever something has arrived; what it raises ends the reading.

        Raises:
            SourceTooLarge, SourceTruncated, SourceTimeout, SourceTooSlow, SourceUnavailable
        """
        filled = 0
        view = memoryview(buffer)
        while filled < len(view) and not self.ended:
            began = self._clock()
            piece = self._answer.read_some(min(_READ_BYTES, len(view) - filled))
            self._reading_s += self._clock() - began
            if not piece:
                self._check_end()
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._count(len(piece))
            after_piece()
        return filled

    def close(self) -> None:
        """Let the connection go."""
        self._answer.close()

    def _check_end(self) -> None:
        self.ended = True
        if self.size_bytes is not None and self.received_bytes != self.size_bytes:
            raise SourceTruncated(
                f"The source ended after {self.received_bytes} of {self.size_bytes} bytes."
            )

    def _count(self, piece_bytes: int) -> None:
        self.received_bytes += piece_bytes
        if self.received_bytes > self._limits.max_bytes:
            raise _too_large(self.received_bytes, self._limits.max_bytes)
        if self.size_bytes is not None and self.received_bytes > self.size_bytes:
            raise SourceInvalid("The source sent more bytes than it announced.")
        if self._clock() > self._deadline:
            raise SourceTimeout(
                f"The download took longer than {self._limits.total_timeout_s:g} s."
            )
        self._check_speed()
        if self.received_bytes == self.size_bytes:
            self.ended = True

    def _check_speed(self) -> None:
        window_s = self._limits.lowest_window_s
        now = self._reading_s
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


def open_source(
    egress: Egress,
    url: SourceUrl,
    limits: Limits,
    clock: Callable[[], float] = time.monotonic,
) -> Source:
    """Ask for a source, follow its redirects, and return its body ready to read.

    Args:
        clock: seconds, never running backwards.

    Raises:
        IngestError: one of the ``source_*`` or ``address_blocked`` errors.
    """
    for _ in range(limits.max_redirects + 1):
        answer = egress.get(url, _HEADERS)
        try:
            if answer.status in _REDIRECTS:
                url = _read_location(answer)
                answer.close()
                continue
            size_bytes = _judge_head(answer)
            _judge_size(size_bytes, limits)
        except BaseException:
            answer.close()
            raise
        return Source(answer, size_bytes, limits, clock)
    raise SourceInvalid(f"The source redirects more than {limits.max_redirects} times.")


def _read_location(answer: Answer) -> SourceUrl:
    location = answer.headers.get("Location")
    if not location:
        raise SourceInvalid(f"The source answered {answer.status} without a Location.")
    try:
        return resolve_redirect(answer.url, location)
    except FieldInvalid as error:
        raise SourceInvalid(f"The source redirects to a bad URL: {error.message}") from error


def _judge_head(answer: Answer) -> int | None:
    _judge_status(answer)
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise SourceInvalid(
            f"The source sent its body encoded ('{encoding[:32]}') though identity was asked for."
        )
    length = _read_length(answer)
    if answer.status == 200:
        return length
    return _read_range_total(answer, length)


def _judge_status(answer: Answer) -> None:
    status = answer.status
    if status in {200, 206}:
        return
    message = f"The source answered {status}."
    if status in _MISSING:
        raise SourceNotFound(message)
    if status in _FORBIDDEN:
        raise SourceForbidden(message)
    if status in _BUSY or status >= 500:
        raise SourceUnavailable(message, retry_after_s=_read_retry_after(answer))
    if status in {204, 205, 416}:
        # An empty file has no byte 0 to answer the range with.
        raise SourceEmpty(f"The source has no content (it answered {status}).")
    raise SourceInvalid(message)


def _read_length(answer: Answer) -> int | None:
    values = answer.list_header("Content-Length")
    if answer.list_header("Transfer-Encoding"):
        if values:
            # RFC 9112, 6.3: to be handled as an error; the two disagree about where the body ends.
            raise SourceInvalid("The source sent both Content-Length and Transfer-Encoding.")
        return None
    if not values:
        return None
    parts = {part.strip() for value in values for part in value.split(",")}
    only = parts.pop()
    if parts or _LENGTH.fullmatch(only) is None:
        raise SourceInvalid("The source sent a malformed or contradicting Content-Length.")
    return int(only)


def _read_range_total(answer: Answer, length: int | None) -> int | None:
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if found is None:
        raise SourceInvalid("The source answered 206 without a Content-Range of its own.")
    first, last, total = int(found[1]), int(found[2]), found[3]
    size = last + 1
    if first != 0 or (total != "*" and int(total) != size) or length not in {None, size}:
        raise SourceInvalid("The source answered another range than was asked for.")
    return size


def _judge_size(size_bytes: int | None, limits: Limits) -> None:
    if size_bytes is not None and size_bytes > limits.max_bytes:
        raise _too_large(size_bytes, limits.max_bytes)


def _read_retry_after(answer: Answer) -> float | None:
    value = answer.headers.get("Retry-After", "").strip()
    if _LENGTH.fullmatch(value) is None:
        return None
    return min(float(value), _LONGEST_RETRY_AFTER_S)


def _too_large(size_bytes: int, max_bytes: int) -> SourceTooLarge:
    return SourceTooLarge(f"The source has {size_bytes} bytes or more; {max_bytes} are allowed.")

"""Where the body of an answer ends (RFC 9112, 6 and 7).

Stricter than most clients: a length of a chunk that is cut off, or that is no plain hexadecimal
number, ends the reading, where others take it for another number and make a whole file of a part;
and a coding that is not known is refused, where others take its framing for the file.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from contextlib import suppress

from storage.http1.errors import EndedEarly, Malformed
from storage.http1.feed import Feed
from storage.http1.heads import Head

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,32})[ \t]*(;[^\r\n]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,19}")
_MOST_TRAILERS = 256
_BODILESS = frozenset({204, 304})


class Body(ABC):
    """Reads a body.

    Attributes:
        ended: whether all of it has been read, and nothing but it.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.ended = False

    @property
    def leaves_open(self) -> bool:
        """Whether another answer may follow on the connection."""
        return self.ended and self._feed.is_empty

    @abstractmethod
    def read_into(self, view: memoryview) -> int:
        """Read what has arrived, no more than fits; 0 at the end.

        Raises:
            EndedEarly: the connection ended before the body did.
            Malformed: what ends it is in doubt.
            OSError
        """


class _Counted(Body):
    """Knows how many bytes are to come before anything else does."""

    def __init__(self, feed: Feed, left: int) -> None:
        super().__init__(feed)
        self._left = left

    def _read_left(self, view: memoryview) -> int:
        count = self._feed.read_into(view[: self._left])
        if not count and len(view):
            raise EndedEarly
        self._left -= count
        return count


class _Sized(_Counted):
    def __init__(self, feed: Feed, length: int) -> None:
        super().__init__(feed, length)
        self.ended = not length

    def read_into(self, view: memoryview) -> int:
        if not self._left:
            return 0
        count = self._read_left(view)
        self.ended = not self._left
        return count


class _Chunked(_Counted):
    def __init__(self, feed: Feed) -> None:
        super().__init__(feed, 0)
        self._is_first = True

    def read_into(self, view: memoryview) -> int:
        if self.ended:
            return 0
        if not self._left:
            self._left = self._read_size()
            if not self._left:
                self._read_trailers()
                self.ended = True
                return 0
        return self._read_left(view)

    def _read_size(self) -> int:
        try:
            if not self._is_first and self._feed.read_line() not in {b"\r\n", b"\n"}:
                raise EndedEarly
            self._is_first = False
            found = _CHUNK_SIZE.fullmatch(self._feed.read_line())
        except Malformed:
            found = None
        if found is None:
            # What follows is not known to be the file's; what came may be a cut one's.
            raise EndedEarly
        return int(found[1], 16)

    def _read_trailers(self) -> None:
        # The length of nothing has said that all is here; some servers close right behind it.
        with suppress(EndedEarly):
            for _ in range(_MOST_TRAILERS):
                if self._feed.read_line() in {b"\r\n", b"\n"}:
                    return
            raise Malformed("trailers without an end")


class _UntilClose(Body):
    def read_into(self, view: memoryview) -> int:
        count = self._feed.read_into(view)
        self.ended = not count and bool(len(view))
        return count

    @property
    def leaves_open(self) -> bool:
        return False


def frame_body(method: str, head: Head, feed: Feed) -> Body:
    """Return what reads the body of an answer to a request.

    Where others may see the end elsewhere, the head keeps the connection open no more (RFC 9112,
    6.1 and 6.3), and neither where a body that must not be may come yet.

    Raises:
        Malformed: its end is in doubt.
    """
    if method == "HEAD":
        return _Sized(feed, 0)
    if head.status in _BODILESS:
        head.keeps_open = False
        return _Sized(feed, 0)
    told_lengths = head.headers.list_values("content-length")
    told_codings = head.headers.list_values("transfer-encoding")
    if not told_codings and len(told_lengths) == 1 and _LENGTH.fullmatch(told_lengths[0]):
        # Nearly every answer; what follows is for the others.
        return _Sized(feed, int(told_lengths[0]))
    lengths = _list_words(told_lengths)
    codings = _list_words(told_codings) - {""}
    if not codings <= {"identity"}:
        if codings != {"chunked"}:
            raise Malformed("a transfer coding that is not known")
        if lengths or not head.minor_version:
            head.keeps_open = False
        return _Chunked(feed)
    if len(lengths) > 1:
        raise Malformed("contradicting lengths")
    length = lengths.pop() if lengths else ""
    return _Sized(feed, int(length)) if _LENGTH.fullmatch(length) else _UntilClose(feed)


def _list_words(values: list[str]) -> set[str]:
    return {part.strip(" \t").lower() for value in values for part in value.split(",")}

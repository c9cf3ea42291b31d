"""What an origin answers, as data: one :class:`Reply` holds every way to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.support.origin.bodies import Body

# A mapping, or pairs where a header is sent twice.
Headers = Mapping[str, str] | Sequence[tuple[str, str]]


class Framing(StrEnum):
    """How the end of a body is told."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


class Ending(StrEnum):
    """How a body that is cut ends: as if all was well, or with a reset."""

    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Cut:
    """The body stops after ``at_bytes``, whatever was announced."""

    at_bytes: int
    ending: Ending = Ending.CLOSE


@dataclass(frozen=True, slots=True)
class Drip:
    """A body or a head comes in small pieces with a pause after each."""

    piece_bytes: int
    interval_s: float


@dataclass(frozen=True, slots=True)
class Stall:
    """The origin falls silent after ``at_bytes`` of body (None: before the head) until released.

    ``reached`` tells a test that the client is waiting now. Closing the origin releases it.
    """

    at_bytes: int | None = None
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Say that the place is reached, and stay there."""
        self.reached.set()
        self.released.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer.

    Attributes:
        body: the whole body; a 206 sends the range that was asked for.
        content_type: None leaves the header out.
        headers: sent as they are, after the origin's own.
        framing: how the end of the body is told; a stream without announced length needs
            CHUNKED or CLOSE.
        content_lengths: the values of Content-Length to send instead of the true one.
        ranges: whether Range is obeyed (206, 416, If-Range against ``etag``).
        methods: what is answered at all; the rest gets 405, as presigned URLs do.
        head_drip: how the head comes, or all of ``raw``.
        raw: bytes to send instead of any HTTP; the connection is closed after them.
        before: called with the client's address and port before anything is answered.
    """

    body: Body = b""
    status: int = 200
    content_type: str | None = "application/octet-stream"
    headers: Headers = ()
    framing: Framing = Framing.LENGTH
    content_lengths: Sequence[str] | None = None
    ranges: bool = False
    etag: str | None = None
    methods: frozenset[str] = frozenset({"GET"})
    cut: Cut | None = None
    stall: Stall | None = None
    drip: Drip | None = None
    head_drip: Drip | None = None
    raw: bytes | None = None
    before: Callable[[tuple[str, int]], None] | None = None

"""One request read and one reply written, byte by byte, right or wrong as the reply says."""

from __future__ import annotations

import http
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from tests.support.origin.bodies import measure, read_pieces
from tests.support.origin.replies import Ending, Framing, Reply

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MAX_LINE_BYTES = 64 * 1024

Stopping = threading.Event


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it stands on the wire; header names in lower case."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]
    body: bytes


def read_request(reader: BinaryIO) -> Asked | None:
    """Read one request, or None if the client is done."""
    line = reader.readline(_MAX_LINE_BYTES)
    parts = line.decode("latin-1").split()
    if len(parts) != 3:
        return None
    headers: dict[str, str] = {}
    while (line := reader.readline(_MAX_LINE_BYTES)) not in {b"\r\n", b"\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return Asked(parts[0], parts[1], parts[2], headers, body)


def answer(
    connection: socket.socket,
    asked: Asked,
    reply: Reply,
    count: Callable[[int], None],
    stopping: Stopping,
) -> bool:
    """Write a reply; return whether the connection can carry another request.

    Args:
        count: told the size of each piece of body that was handed over.
        stopping: ends a drip at once.
    """
    if reply.raw is not None:
        _send_head(connection, reply.raw, reply, stopping)
        return False
    if asked.method not in reply.methods | {"HEAD"} or (
        asked.method == "HEAD" and "HEAD" not in reply.methods
    ):
        reply = Reply(status=405, body=b"", methods=frozenset({asked.method}))
    plan = _plan(asked, reply)
    if reply.stall is not None and reply.stall.at_bytes is None:
        reply.stall.wait()
    if not _send_head(connection, _write_head(plan, reply), reply, stopping):
        return False
    if asked.method == "HEAD" or plan.status in {204, 304}:
        return plan.keeps_open
    whole = _send_body(connection, plan, reply, count, stopping)
    return whole and plan.keeps_open


@dataclass(frozen=True, slots=True)
class _Plan:
    status: int
    first: int
    end: int | None
    total: int | None
    keeps_open: bool

    @property
    def length(self) -> int | None:
        return None if self.end is None else self.end - self.first


def _plan(asked: Asked, reply: Reply) -> _Plan:
    total = measure(reply.body)
    keeps_open = (
        asked.version == "HTTP/1.1"
        and asked.headers.get("connection", "").lower() != "close"
        and reply.framing is not Framing.CLOSE
        and reply.content_lengths is None
    )
    whole = _Plan(reply.status, 0, total, total, keeps_open)
    if not reply.ranges or reply.status != 200 or total is None:
        return whole
    wanted = _RANGE.fullmatch(asked.headers.get("range", ""))
    if wanted is None or wanted[0] == "bytes=-":
        return whole
    if not _holds(asked.headers.get("if-range"), reply.etag):
        return whole
    if wanted[1] == "":
        first, end = max(0, total - int(wanted[2])), total
    else:
        first = int(wanted[1])
        end = total if wanted[2] == "" else min(total, int(wanted[2]) + 1)
    if first >= total or first >= end:
        return _Plan(416, 0, 0, total, keeps_open)
    return _Plan(206, first, end, total, keeps_open)


def _holds(if_range: str | None, etag: str | None) -> bool:
    # RFC 9110, 13.1.5: a strong comparison, so a weak tag never holds; dates are not kept here.
    return if_range is None or (if_range == etag and not if_range.startswith("W/"))


def _write_head(plan: _Plan, reply: Reply) -> bytes:
    try:
        phrase = http.HTTPStatus(plan.status).phrase
    except ValueError:
        phrase = "Unheard Of"
    lines = [f"HTTP/1.1 {plan.status} {phrase}"]
    if reply.content_type is not None:
        lines.append(f"Content-Type: {reply.content_type}")
    if reply.ranges:
        lines.append("Accept-Ranges: bytes")
    if reply.etag is not None:
        lines.append(f"ETag: {reply.etag}")
    if plan.status == 206:
        end = plan.first if plan.end is None else plan.end
        lines.append(f"Content-Range: bytes {plan.first}-{end - 1}/{plan.total}")
    elif plan.status == 416:
        lines.append(f"Content-Range: bytes */{plan.total}")
    lines += _write_framing(plan, reply)
    pairs = reply.headers.items() if isinstance(reply.headers, Mapping) else reply.headers
    lines += [f"{name}: {value}" for name, value in pairs]
    return "\r\n".join([*lines, "", ""]).encode()


def _send_head(connection: socket.socket, head: bytes, reply: Reply, stopping: Stopping) -> bool:
    if reply.head_drip is None:
        connection.sendall(head)
        return True
    size = reply.head_drip.piece_bytes
    for at in range(0, len(head), size):
        connection.sendall(head[at : at + size])
        if stopping.wait(reply.head_drip.interval_s):
            return False
    return True


def _write_framing(plan: _Plan, reply: Reply) -> list[str]:
    lines = [] if plan.keeps_open else ["Connection: close"]
    if reply.content_lengths is not None:
        lines += [f"Content-Length: {value}" for value in reply.content_lengths]
    elif reply.framing is Framing.LENGTH:
        if plan.length is None:
            raise ValueError("a stream needs framing CHUNKED or CLOSE, or content_lengths")
        lines.append(f"Content-Length: {plan.length}")
    if reply.framing is Framing.CHUNKED:
        lines.append("Transfer-Encoding: chunked")
    return lines


def _send_body(
    connection: socket.socket,
    plan: _Plan,
    reply: Reply,
    count: Callable[[int], None],
    stopping: Stopping,
) -> bool:
    sent = 0
    chunked = reply.framing is Framing.CHUNKED
    for piece in _divide(read_pieces(reply.body, plan.first, plan.end), reply):
        if not _pass_marks(connection, reply, sent):
            return False
        # Before it is sent: who has read it all may ask at once how much it was.
        count(len(piece))
        if chunked:
            connection.sendall(b"%x\r\n" % len(piece))
        connection.sendall(piece)
        if chunked:
            connection.sendall(b"\r\n")
        sent += len(piece)
        if reply.drip is not None and stopping.wait(reply.drip.interval_s):
            return False
    if not _pass_marks(connection, reply, sent):
        return False
    if chunked:
        connection.sendall(b"0\r\n\r\n")
    return True


def _pass_marks(connection: socket.socket, reply: Reply, sent: int) -> bool:
    if reply.stall is not None and reply.stall.at_bytes == sent:
        reply.stall.wait()
    if reply.cut is None or reply.cut.at_bytes != sent:
        return True
    if reply.cut.ending is Ending.RESET:
        # A linger of zero seconds turns the close into a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _divide(pieces: Iterator[memoryview], reply: Reply) -> Iterator[memoryview]:
    """Cut pieces where the reply stalls or is cut, and to the size of a drip."""
    marks = {
        reply.stall.at_bytes if reply.stall else None,
        reply.cut.at_bytes if reply.cut else None,
    }
    sent = 0
    for piece in pieces:
        left = piece
        while len(left):
            ahead = [mark - sent for mark in marks if mark is not None and mark > sent]
            size = min([len(left), *ahead])
            if reply.drip is not None:
                size = min(size, reply.drip.piece_bytes)
            yield left[:size]
            sent += size
            left = left[size:]

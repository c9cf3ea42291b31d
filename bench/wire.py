"""HTTP/1.1 as a server reads it, with as little work a byte as the system allows.

Shared by the source and the sink, which must never be what a measured transfer waits for. On Linux
a body that nobody wants is thrown away inside the kernel (``MSG_TRUNC``): not one byte is copied.
"""

from __future__ import annotations

import mmap
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

HOST = "127.0.0.1"
_HEAD_BYTES = 64 * 1024
_SCRATCH_BYTES = 64 * 1024 * 1024
_DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body; ``path`` is decoded, names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def body_bytes(self) -> int:
        """How long the body is on the wire."""
        return int(self.headers.get("content-length", "0"))


def parse_head(raw: bytes) -> RequestHead:
    """Read a request's head, the empty line at its end left out.

    Raises:
        ValueError: it is none.
    """
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return RequestHead(
        method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers
    )


def parse_range(value: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return the first byte and the end (not included) that a Range header asks for.

    None stands for the whole file: there is no header, or one that need not be obeyed.

    Raises:
        ValueError: nothing of the file is asked for; the answer is 416.
    """
    wanted = _RANGE.fullmatch(value or "")
    if wanted is None or wanted[0] == "bytes=-":
        return None
    if wanted[1] == "":
        first, end = max(0, size_bytes - int(wanted[2])), size_bytes
    else:
        first = int(wanted[1])
        end = size_bytes if wanted[2] == "" else min(size_bytes, int(wanted[2]) + 1)
    if first >= end:
        raise ValueError("there is no such range")
    return first, end


class Inlet:
    """What comes in on one connection."""

    # Never touched where the kernel discards, so it takes no memory; threads may share it.
    _scratch = mmap.mmap(-1, _SCRATCH_BYTES)

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = b""

    def read_head(self) -> RequestHead | None:
        """Return the next request; None if the client is done.

        Raises:
            ValueError: what came is no request.
        """
        while (at := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > _HEAD_BYTES:
                raise ValueError("the head does not end")
            piece = self._connection.recv(_HEAD_BYTES)
            if not piece:
                return None
            self._held += piece
        raw, self._held = self._held[:at], self._held[at + 4 :]
        return parse_head(raw)

    def read_some(self, limit_bytes: int) -> bytes:
        """Return bytes of a body as they come, ``limit_bytes`` at most.

        Raises:
            ConnectionError: the client is gone.
        """
        if self._held:
            piece, self._held = self._held[:limit_bytes], self._held[limit_bytes:]
            return piece
        piece = self._connection.recv(limit_bytes)
        if not piece:
            raise ConnectionError("the body broke off")
        return piece

    def drain(self, size_bytes: int) -> None:
        """Throw bytes of a body away.

        Raises:
            ConnectionError: the client is gone.
        """
        left = size_bytes - len(self._held[:size_bytes])
        self._held = self._held[size_bytes:]
        while left:
            limit = min(left, _SCRATCH_BYTES)
            taken = self._connection.recv_into(self._scratch, limit, _DISCARD | socket.MSG_WAITALL)
            if not taken:
                raise ConnectionError("the body broke off")
            left -= taken


def serve_forever(listener: socket.socket, converse: Callable[[socket.socket], None]) -> None:
    """Give each connection a thread of its own that answers until the client is done."""

    def run(connection: socket.socket) -> None:
        # A client that hangs up in the middle is no concern of the server's.
        with connection, suppress(OSError, ValueError):
            converse(connection)

    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=run, args=(connection,), daemon=True).start()

"""Requests over many connections at once, each sent when the one before is answered.

As wrk does it: one thread, keep-alive, no pipelining. An answer is read by its Content-Length, and
its status is counted; nothing else of it is looked at.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field

_PIECE_BYTES = 64 * 1024
_LENGTH = b"content-length:"


@dataclass(slots=True)
class _Wire:
    """A connection, and what has come of the answer that is awaited."""

    socket: socket.socket
    got: bytearray = field(default_factory=bytearray)
    whole_bytes: int | None = None

    def send(self, request: bytes) -> None:
        self.got.clear()
        self.whole_bytes = None
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take in what is there; return whether the answer is whole.

        Raises:
            ConnectionError: the server hung up.
        """
        piece = self.socket.recv(_PIECE_BYTES)
        if not piece:
            raise ConnectionError("the API closed a connection")
        self.got += piece
        if self.whole_bytes is None:
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.whole_bytes = end + 4 + _find_length(bytes(self.got[:end]))
        return len(self.got) >= self.whole_bytes


def measure_rate(host: str, port: int, request: bytes, connections: int, seconds: float) -> float:
    """Return how many answers a second come, over so many connections for so long.

    Raises:
        RuntimeError: an answer was no 2xx.
        ConnectionError: the server hung up.
    """
    statuses: Counter[bytes] = Counter()
    with ExitStack() as held, selectors.DefaultSelector() as ready:
        for _ in range(connections):
            opened = held.enter_context(socket.create_connection((host, port)))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ready.register(opened, selectors.EVENT_READ, _Wire(opened))
        began = time.perf_counter()
        for key in list(ready.get_map().values()):
            key.data.send(request)
        while time.perf_counter() - began < seconds:
            for key, _ in ready.select(timeout=1):
                wire: _Wire = key.data
                if wire.receive():
                    statuses[bytes(wire.got[9:12])] += 1
                    wire.send(request)
        elapsed_s = time.perf_counter() - began
    bad = {status.decode(): count for status, count in statuses.items() if status[:1] != b"2"}
    if bad:
        raise RuntimeError(f"not all went well: {bad}")
    return statuses.total() / elapsed_s


def write_request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """Return a request with a key, and with a body of JSON if there is one."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _find_length(head: bytes) -> int:
    at = head.lower().find(_LENGTH)
    return int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0

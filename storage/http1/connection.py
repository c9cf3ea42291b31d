"""One connection: a request out, its answer in."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterable

from storage.http1.bodies import Body, frame_body
from storage.http1.errors import HttpError, Malformed
from storage.http1.feed import Feed
from storage.http1.heads import Head, parse_head, write_head

_SWITCHING_PROTOCOLS = 101
# Far more than any server sends.
_MOST_INTERIM = 64
# TLS sends all that it is given in one call, and the socket's limit would count for all of it.
_TLS_SLICE_BYTES = 256 * 1024


class Connection:
    """Speaks HTTP/1.1 on a socket that is connected, one request after the other.

    Each wait on the network lasts as long as the socket's own time limit. Not for several threads.

    Attributes:
        socket: to be watched; it is closed by :meth:`close`.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._feed = Feed(connected)
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)

    @property
    def is_stale(self) -> bool:
        """Whether a connection that lay idle has ended, or says what nobody asked."""
        # TLS takes whole records off the socket, and keeps what nobody has read of them.
        held_back = self.socket.pending() if isinstance(self.socket, ssl.SSLSocket) else 0
        return bool(held_back or self._poll.poll(0))

    def ask(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: memoryview | None = None,
    ) -> tuple[Head, Body]:
        """Send a request; return the head of its answer, and what reads the rest.

        Answers that come before the answer (1xx) are passed over.

        Args:
            headers: all of them, those that frame the body included.

        Raises:
            HttpError: as :class:`storage.http1.errors.HttpError` says.
            OSError: the connection broke, or a wait was too long.
            ValueError: the request cannot be written.
        """
        written = write_head(method, target, headers)
        try:
            self._send(written, body)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
            # A server may answer a body that it does not want before it has all of it. Of TLS 1.3
            # nothing can be read any more once a send has failed.
            try:
                head, answer = self._hear(method)
            except (HttpError, OSError):
                raise error from None
            # What is left of the body would be taken for the next request.
            head.keeps_open = False
            return head, answer
        return self._hear(method)

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def _send(self, head: bytes, body: memoryview | None) -> None:
        if not body:
            self.socket.sendall(head)
            return
        if isinstance(self.socket, ssl.SSLSocket):
            # It has no call for both.
            sent, most = -len(head), _TLS_SLICE_BYTES
        else:
            sent, most = self.socket.sendmsg([head, body]) - len(head), len(body)
        if sent < 0:
            self.socket.sendall(head[sent:])
            sent = 0
        # One send each, since the socket's limit counts for all that a sendall sends.
        while sent < len(body):
            sent += self.socket.send(body[sent : sent + most])

    def _hear(self, method: str) -> tuple[Head, Body]:
        for _ in range(_MOST_INTERIM):
            head = parse_head(self._feed.read_head())
            if head.status >= 200:
                return head, frame_body(method, head, self._feed)
            if head.status == _SWITCHING_PROTOCOLS:
                raise Malformed("another protocol")
        raise Malformed("no answer behind those that come before it")

"""The origin itself: accepts, records what it was asked, and answers as its routes say."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Self, TypedDict, Unpack

from tests.support.origin.bodies import Body
from tests.support.origin.exchange import Stopping, answer, read_request
from tests.support.origin.replies import Cut, Drip, Framing, Headers, Reply, Stall

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked. ``target`` is path and query as they were sent, byte for byte."""

    method: str
    target: str
    headers: Mapping[str, str]
    peer: tuple[str, int]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Served:
    """What one request asked for, and how many bytes of body it has got so far."""

    range: str | None
    if_range: str | None
    sent_bytes: int


class ReplyOptions(TypedDict, total=False):
    """The fields of :class:`Reply` that :meth:`Origin.serve` takes."""

    status: int
    content_type: str | None
    headers: Headers
    framing: Framing
    content_lengths: tuple[str, ...] | None
    ranges: bool
    etag: str | None
    methods: frozenset[str]
    cut: Cut | None
    stall: Stall | None
    drip: Drip | None
    head_drip: Drip | None
    before: Callable[[tuple[str, int]], None] | None


class Origin:
    """A server on the loopback for the length of a ``with`` block.

    Args:
        port: a fixed port, or 0 for any free one.
        host: the address to listen on, and on no other.
        tls: a context to speak TLS with (:class:`Certificates`), or None for plain HTTP.
    """

    def __init__(
        self, *, port: int = 0, host: str = _HOST, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self._host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._routes: dict[str, list[Reply]] = {}
        self._families: dict[str, Callable[[str], Reply]] = {}
        self._stalls: list[Stall] = []
        self._requests: list[Request] = []
        self._sent_bytes: list[int] = []
        self._connections: set[socket.socket] = set()
        self._connection_count = 0
        self._threads: list[threading.Thread] = []
        self._stopping = Stopping()
        self._acceptor = threading.Thread(target=self._accept, name="origin", daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in order of arrival."""
        with self._changed:
            return list(self._requests)

    @property
    def connection_count(self) -> int:
        """How many connections were accepted so far, whether or not anything was asked on them."""
        with self._changed:
            return self._connection_count

    def url(self, path: str = "/", *, host: str | None = None) -> str:
        """Return the absolute URL of a path; ``host`` may be another name of this machine."""
        if host is None:
            host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}{path}"

    def serve(self, path: str, body: Body = b"", **options: Unpack[ReplyOptions]) -> str:
        """Answer ``path`` with one reply from now on; return its URL."""
        return self.route(path, Reply(body=body, **options))

    def redirect(self, path: str, location: str, status: int = 302) -> str:
        """Answer ``path`` with a redirect; ``location`` goes out as it is, in UTF-8."""
        return self.route(path, Reply(status=status, headers={"Location": location}))

    def serve_raw(self, path: str, raw: bytes) -> str:
        """Answer ``path`` with bytes that need not be HTTP at all, and hang up."""
        return self.route(path, Reply(raw=raw))

    def route(self, path: str, *replies: Reply) -> str:
        """Answer ``path`` (with its query, or without to match any) with these replies in turn.

        The last one repeats. Returns the URL.
        """
        if not replies:
            raise ValueError("a route needs a reply")
        with self._changed:
            self._routes[path] = list(replies)
            self._stalls += [reply.stall for reply in replies if reply.stall is not None]
        return self.url(path)

    def serve_family(self, prefix: str, make: Callable[[str], Reply]) -> str:
        """Answer every path under ``prefix`` that has no route of its own; return its URL.

        Args:
            make: returns the reply for what follows the prefix; it must be quick.
        """
        with self._changed:
            self._families[prefix] = make
        return self.url(prefix)

    def sent_bytes(self, path: str) -> int:
        """Return how many bytes of body were handed to the network for a path, all told."""
        return sum(one.sent_bytes for one in self.list_served(path))

    def list_served(self, path: str) -> list[Served]:
        """Return what each request for a path asked for and got, in order of arrival."""
        with self._changed:
            return [
                Served(request.headers.get("range"), request.headers.get("if-range"), sent_bytes)
                for request, sent_bytes in zip(self._requests, self._sent_bytes, strict=True)
                if request.path == path
            ]

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> list[Request]:
        """Return all requests once ``count`` have arrived.

        Raises:
            TimeoutError: they did not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self._requests)} of {count} requests arrived")
            return list(self._requests)

    def close(self) -> None:
        """Release every stall, drop every connection and give the port back."""
        self._stopping.set()
        # A blocked accept() wakes for a connection on every system; for close() only on some.
        with suppress(OSError), socket.create_connection((self._host, self.port), 5):
            pass
        self._acceptor.join(5)
        self._listener.close()
        with self._changed:
            for stall in self._stalls:
                stall.released.set()
            for connection in self._connections:
                _hang_up(connection)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            connection, address = self._listener.accept()
            # IPv6 tells more than these two.
            peer: tuple[str, int] = address[:2]
            if self._stopping.is_set():
                connection.close()
                return
            with self._changed:
                self._connections.add(connection)
                self._connection_count += 1
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(
                    target=self._converse,
                    args=(connection, peer),
                    name="origin-client",
                    daemon=True,
                )
                self._threads.append(thread)
                thread.start()

    def _converse(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        plain = connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                secured = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
                connection = secured
                with self._changed:
                    self._connections.add(secured)
                secured.do_handshake()
            with connection.makefile("rb") as reader:
                while self._answer_one(connection, reader, peer):
                    pass
        except OSError:
            # The client hung up, reset, or did not like our certificate: all part of the trade.
            pass
        finally:
            with self._changed:
                self._connections -= {plain, connection}
            connection.close()
            plain.close()

    def _answer_one(
        self, connection: socket.socket, reader: BinaryIO, peer: tuple[str, int]
    ) -> bool:
        asked = read_request(reader)
        if asked is None:
            return False
        request = Request(asked.method, asked.target, asked.headers, peer, asked.body)
        with self._changed:
            number = len(self._requests)
            self._requests.append(request)
            self._sent_bytes.append(0)
            self._changed.notify_all()
            reply = self._choose(request)
        if reply.before is not None:
            reply.before(peer)

        def count(piece_bytes: int) -> None:
            with self._changed:
                self._sent_bytes[number] += piece_bytes

        return answer(connection, asked, reply, count, self._stopping)

    def _choose(self, request: Request) -> Reply:
        replies = self._routes.get(request.target) or self._routes.get(request.path)
        if replies is not None:
            return replies.pop(0) if len(replies) > 1 else replies[0]
        for prefix, make in self._families.items():
            if request.path.startswith(prefix):
                return make(request.path.removeprefix(prefix))
        return Reply(status=404, body=b"nothing here\n", content_type="text/plain")


def _hang_up(connection: socket.socket) -> None:
    # Past SSLSocket's own shutdown(), which pulls its state from under a thread that is sending.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

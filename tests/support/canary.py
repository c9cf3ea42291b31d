"""A listener that nobody may ever reach: it counts who does."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

_HOST = "127.0.0.1"


class Canary:
    """Counts connections to a port for the length of a ``with`` block.

    Args:
        port: a fixed port, or 0 for any free one.
        host: the address of this machine's own that it listens on.
    """

    def __init__(self, port: int = 0, host: str = _HOST) -> None:
        self._host = host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self._peers: list[int] = []
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name="canary", daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping = True
        self._knock()
        self._acceptor.join(5)
        self._listener.close()

    def url(self, path: str = "/", *, host: str = _HOST) -> str:
        """Return an HTTP URL that leads here, by any spelling of the host."""
        return f"http://{host}:{self.port}{path}"

    def count_connections(self) -> int:
        """Return how many connections have been made so far, even if none was accepted yet.

        Connections are accepted in the order they were made, so one of our own marks the place
        up to which all others have been counted.
        """
        own = self._knock()
        with self._changed:
            if not self._changed.wait_for(lambda: own in self._peers, 5):
                raise TimeoutError("the canary does not accept")
            self._peers.remove(own)
            return len(self._peers)

    def _knock(self) -> int:
        with socket.create_connection((self._host, self.port), 5) as knock:
            port: int = knock.getsockname()[1]
            return port

    def _accept(self) -> None:
        while not self._stopping:
            connection, peer = self._listener.accept()
            connection.close()
            with self._changed:
                self._peers.append(peer[1])
                self._changed.notify_all()

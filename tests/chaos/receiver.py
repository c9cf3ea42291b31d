"""A receiver of webhooks that can be told to misbehave; it verifies on arrival, as receivers do."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from standardwebhooks import Webhook, WebhookVerificationError


class Fate(Enum):
    """What becomes of a request."""

    TAKEN = "taken"
    ERROR = "error"
    HANG = "hang"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request."""

    id: str
    type: str
    subject_id: str
    happened: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    fate: Fate


@dataclass(slots=True)
class Mailbox:
    """What comes to one path.

    Attributes:
        decide: says what becomes of each request.
        unverified: how many came that the published library refused.
        most_at_once: the most that were there in one moment.
        keeps_bodies: False where so many come that they would fill the memory.
    """

    url: str
    secret: str = ""
    decide: Callable[[], Fate] = lambda: Fate.TAKEN
    arrivals: list[Arrival] = field(default_factory=list)
    unverified: int = 0
    at_once: int = 0
    most_at_once: int = 0
    keeps_bodies: bool = True

    @property
    def taken_ids(self) -> list[str]:
        """The ids of what was taken, in order."""
        return [one.id for one in list(self.arrivals) if one.fate is Fate.TAKEN]


class Receiver:
    """A server on the loopback for the length of a ``with`` block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._boxes: dict[str, Mailbox] = {}
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _make_handler(self))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def open(self, name: str, decide: Callable[[], Fate] = lambda: Fate.TAKEN) -> Mailbox:
        """Return the mailbox at a path of this name."""
        box = Mailbox(f"http://127.0.0.1:{self.port}/{name}", decide=decide)
        self._boxes[f"/{name}"] = box
        return box

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Fate:
        """Note a request and return what becomes of it; one that hangs does so in here."""
        box, at = self._boxes[path], time.time()
        named = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            box.at_once += 1
            box.most_at_once = max(box.most_at_once, box.at_once)
            fate = box.decide()
            try:
                Webhook(box.secret).verify(body, named)
                payload = json.loads(body)
                subject = str(payload["data"]["id"])
                told = (str(payload["type"]), subject, str(payload["timestamp"]))
                kept = body if box.keeps_bodies else b""
                box.arrivals.append(
                    Arrival(named["webhook-id"], *told, headers=named, body=kept, at=at, fate=fate)
                )
            except WebhookVerificationError:
                box.unverified += 1
        return fate

    def leave(self, path: str, fate: Fate) -> None:
        """Let a request end."""
        if fate is Fate.HANG:
            self._released.wait(30)
        with self._lock:
            self._boxes[path].at_once -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections break here on purpose."""


def _make_handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # What waits for the second half of an answer is not what is measured here.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fate = receiver.take(self.path, dict(self.headers), body)
            try:
                if fate is Fate.RESET:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    return
                if fate is not Fate.HANG:
                    self.send_response(204 if fate is Fate.TAKEN else 500)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
            finally:
                with suppress(OSError):
                    self.wfile.flush()
                receiver.leave(self.path, fate)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    return Handler

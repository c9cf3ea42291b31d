"""The body of a PUT as it comes in: through memory into the store, part by part.

Invariants: no more than one part of a body is held, and nothing is written to a disk; what is not
whole, too long or too slow leaves nothing behind, or what the sweep of the store finds; the SHA-256
is of what was sent to the store, which has verified each part by its own checksum.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Protocol

from flask import request
from werkzeug.exceptions import ClientDisconnected

from ingest.config import Settings
from ingest.errors import BodyInvalid, HeadraceError, ServiceError
from ingest.logs import get_logger
from storage.objects.store import ObjectHeaders, ObjectStore, Part

# A read returns when it has all that it asked for. So it asks for little of whoever is slow, who
# would seem dead; and for much of others, since the server copies what it holds at each read.
_LARGEST_READ_BYTES = 256 * 1024
_SMALLEST_READ_BYTES = 1024
_FAST_S, _SLOW_S = 0.1, 1.0
_HEADERS = ObjectHeaders("application/octet-stream", "attachment", {})


# As `socket` calls it: what comes is not waited for any more.
_SHUT_RD = 0


class _Socket(Protocol):
    """The connection of a request, as the server hands it on."""

    def shutdown(self, how: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Staged:
    """What was sent, and lies whole in the store."""

    size_bytes: int
    sha256: str


def take_in(
    settings: Settings,
    store: ObjectStore,
    key: str,
    most_bytes: int,
    too_large: Callable[[], HeadraceError],
) -> Staged:
    """Store the body of this request under a key that nobody else has.

    Args:
        too_large: makes the error of a body that is longer than ``most_bytes``.

    Raises:
        BodyInvalid: it is empty, a part of something, broken off or too slow.
        StorageUnavailable: the store does not take it.
    """
    if "Content-Range" in request.headers:
        raise BodyInvalid("A file is sent whole, without a Content-Range.")
    declared = request.content_length
    if (declared or 0) > most_bytes:
        raise too_large()
    # Werkzeug cuts a body without a length here and says nothing.
    request.max_content_length = most_bytes + 1
    part_bytes = settings.part_bytes_for(declared)
    buffer = bytearray(part_bytes if declared is None else max(1, min(part_bytes, declared)))
    with _watching(settings) as watch:
        read_bytes = _find_least(settings)
        body = _Body(request.stream, declared, most_bytes, too_large, read_bytes, watch.came.set)
        filled = body.fill(buffer)
        if not filled:
            raise BodyInvalid("The body is empty.")
        if body.ended:
            sha256 = body.sha256.hexdigest()
            content = memoryview(buffer)[:filled]
            with watch.pausing():
                store.put(key, content, _HEADERS, overwrite=True, sha256=sha256)
        else:
            _send_parts(store, key, body, buffer, filled, watch)
    return Staged(body.size_bytes, body.sha256.hexdigest())


def _send_parts(
    store: ObjectStore, key: str, body: _Body, buffer: bytearray, filled: int, watch: _Watch
) -> None:
    with watch.pausing():
        upload = store.begin(key, _HEADERS)
    parts: list[Part] = []
    try:
        while filled:
            content = memoryview(buffer)[:filled]
            with watch.pausing():
                parts.append(store.put_part(upload, len(parts) + 1, content))
            filled = 0 if body.ended else body.fill(buffer)
        with watch.pausing():
            store.complete(upload, parts, overwrite=True)
    except BaseException:
        with suppress(ServiceError):
            store.abort(upload)
        raise


class _Body:
    """A body that is read into a buffer, and is whole or is none.

    Attributes:
        ended: whether all of it was read.
        sha256: of what was read.
    """

    def __init__(
        self,
        stream: IO[bytes],
        declared: int | None,
        most_bytes: int,
        too_large: Callable[[], HeadraceError],
        read_bytes: int,
        note: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._declared = declared
        self._most_bytes = most_bytes
        self._too_large = too_large
        self._least_bytes = self._read_bytes = read_bytes
        self._note = note
        self.size_bytes = 0
        self.ended = declared == 0
        self.sha256 = hashlib.sha256()

    def fill(self, buffer: bytearray) -> int:
        """Read until a buffer is full or the body has ended; return how much is in it."""
        filled = 0
        while filled < len(buffer) and not self.ended:
            chunk = self._read(min(self._read_bytes, len(buffer) - filled))
            buffer[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        return filled

    def _read(self, most_bytes: int) -> bytes:
        began = time.monotonic()
        try:
            chunk = self._stream.read(most_bytes)
        except (OSError, ValueError, ClientDisconnected) as error:
            # Of a connection that breaks, or of chunks that are none.
            raise _say_broken_off() from error
        if chunk:
            self._note()
            self._adapt(time.monotonic() - began)
        self.size_bytes += len(chunk)
        self.sha256.update(chunk)
        if self.size_bytes > self._most_bytes:
            raise self._too_large()
        if self._declared is None:
            self.ended = not chunk
        elif not chunk:
            raise _say_broken_off()
        else:
            self.ended = self.size_bytes == self._declared
        return chunk

    def _adapt(self, took_s: float) -> None:
        if took_s < _FAST_S:
            self._read_bytes = min(2 * self._read_bytes, _LARGEST_READ_BYTES)
        elif took_s > _SLOW_S:
            self._read_bytes = max(self._read_bytes // 4, self._least_bytes)


def _say_broken_off() -> BodyInvalid:
    return BodyInvalid("The body broke off, or came too slowly; nothing of it was kept.")


def _find_least(settings: Settings) -> int:
    """Return what comes in a window of whoever is just fast enough."""
    least = int(settings.lowest_bps * settings.lowest_window_s)
    return max(_SMALLEST_READ_BYTES, min(_LARGEST_READ_BYTES, least))


class _Watch:
    """What is known of a body to the thread beside it.

    Attributes:
        came: set whenever something has come.
        stores: while the store has what has come: nothing is read, and nobody is to blame for it.
    """

    def __init__(self) -> None:
        self.came, self.stores = threading.Event(), threading.Event()

    @contextmanager
    def pausing(self) -> Iterator[None]:
        self.stores.set()
        try:
            yield
        finally:
            # From here on there is a whole window again.
            self.came.set()
            self.stores.clear()


@contextmanager
def _watching(settings: Settings) -> Iterator[_Watch]:
    """Hang up on whoever sends nothing for a whole window, or takes too long for all of it.

    A socket's time limit counts from the last byte, so one now and then would hold the thread.
    """
    connection: _Socket | None = request.environ.get("gunicorn.socket")
    done, seen = threading.Event(), _Watch()
    ends = time.monotonic() + settings.total_timeout_s
    window_s = settings.lowest_window_s if settings.lowest_bps else settings.total_timeout_s

    def watch() -> None:
        while not done.wait(min(window_s, max(0.0, ends - time.monotonic()))):
            is_alive = seen.came.is_set() or seen.stores.is_set()
            if not is_alive or time.monotonic() >= ends:
                get_logger(__name__).info("upload.too_slow")
                if connection is not None:
                    with suppress(OSError):
                        # The answer can still be sent.
                        connection.shutdown(_SHUT_RD)
                return
            seen.came.clear()

    watcher = threading.Thread(target=watch, name="upload-watch", daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()

"""From a source into a multipart upload, in memory that does not depend on the file.

One ingest holds ``parts_in_flight + 1`` buffers of one part each: while those in flight are sent,
the next is filled. Buffers are used again as their parts are done. Whatever fails, the upload is
aborted, after every part still on the wire has ended; where the store is silent even then, its
parts stay until the bucket's own rule for incomplete uploads removes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from contextlib import suppress

from ingest.errors import FileExists, ServiceError, StorageUnavailable
from ingest.logs import get_logger
from storage.objects.store import ObjectHeaders, ObjectStore, Part, Upload


class PartSender:
    """Sends the parts of one upload.

    Args:
        store: where to.
        executor: runs the requests; shared by all ingests of a worker.
        parts_in_flight: parts that are sent while the next one is filled.
    """

    def __init__(self, store: ObjectStore, executor: Executor, parts_in_flight: int) -> None:
        self._store = store
        self._executor = executor
        self._parts_in_flight = parts_in_flight

    def send(
        self,
        key: str,
        headers: ObjectHeaders,
        first: bytearray,
        fill: Callable[[bytearray], int],
        before_complete: Callable[[], None],
        is_there: Callable[[], bool],
    ) -> None:
        """Upload a file that is longer than one part.

        Args:
            first: the first part, full; its length is the part size.
            fill: puts the next bytes into a buffer and returns how many; less than its length
                only at the end of the file.
            before_complete: called when all parts are stored and nothing is visible yet; what it
                raises keeps the object from ever being visible.
            is_there: whether the object became visible although completing it seemed to fail,
                because the answer was lost.

        Raises:
            StorageUnavailable, FileExists, and whatever ``fill`` or ``before_complete`` raise.
        """
        upload = self._store.begin(key, headers)
        in_flight: deque[tuple[Future[Part], bytearray]] = deque()
        try:
            parts = self._send_parts(upload, first, fill, in_flight)
            before_complete()
            try:
                self._store.complete(upload, parts, overwrite=False)
            except (FileExists, StorageUnavailable):
                if not is_there():
                    raise
        except BaseException:
            wait([future for future, _ in in_flight if not future.cancel()])
            # The first error is the one to tell.
            with suppress(ServiceError):
                self._store.abort(upload)
            raise
        get_logger(__name__).debug("transfer.completed", key=key, parts=len(parts))

    def _send_parts(
        self,
        upload: Upload,
        first: bytearray,
        fill: Callable[[bytearray], int],
        in_flight: deque[tuple[Future[Part], bytearray]],
    ) -> list[Part]:
        parts: list[Part] = []
        part_bytes = len(first)
        buffer, filled, number = first, part_bytes, 0
        while filled:
            number += 1
            if filled < part_bytes:
                del buffer[filled:]
            in_flight.append(
                (self._executor.submit(self._store.put_part, upload, number, buffer), buffer)
            )
            if filled < part_bytes:
                break
            if number <= self._parts_in_flight:
                buffer = bytearray(part_bytes)
            else:
                future, buffer = in_flight[0]
                parts.append(future.result())
                in_flight.popleft()
            filled = fill(buffer)
        while in_flight:
            parts.append(in_flight[0][0].result())
            in_flight.popleft()
        return parts

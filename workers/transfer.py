"""From a source into the parts of an upload, in memory that does not depend on the file.

One ingest holds ``parts_in_flight + 1`` buffers of one part each: while those in flight are sent,
the next is filled. Buffers are used again as their parts are done. Whatever fails, nothing is on
the wire any more when :meth:`PartSender.send` returns or raises; what becomes of the upload is the
caller's to decide.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait

from storage.objects.store import ObjectStore, Part, Upload


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
        upload: Upload,
        done: Sequence[Part],
        first: bytearray,
        filled: int,
        fill: Callable[[bytearray], int],
        note: Callable[[Part, bytes | None], None],
        export: Callable[[], bytes | None],
    ) -> list[Part]:
        """Send what follows the parts that are done; return all parts.

        Args:
            done: the parts the store has already, from the first on.
            first: the next part; its length is the part size.
            filled: how much of it there is; less than its length only at the end of the file.
            fill: puts the next bytes into a buffer and returns how many; less than its length
                only at the end of the file.
            note: told of each part that the store has taken, with what ``export`` gave when its
                last byte was read; called from any thread, and what it raises ends the sending.
            export: gives the state of the digests of what was filled so far.

        Raises:
            StorageUnavailable, UploadLost, and whatever ``fill`` or ``note`` raise.
        """
        in_flight: deque[tuple[Future[Part], bytearray]] = deque()

        def put(number: int, buffer: bytearray, digests: bytes | None) -> Part:
            part = self._store.put_part(upload, number, buffer)
            note(part, digests)
            return part

        try:
            parts = list(done)
            part_bytes = len(first)
            buffer, number = first, len(parts)
            while filled:
                number += 1
                if filled < part_bytes:
                    del buffer[filled:]
                in_flight.append((self._executor.submit(put, number, buffer, export()), buffer))
                if filled < part_bytes:
                    break
                if len(in_flight) <= self._parts_in_flight:
                    buffer = bytearray(part_bytes)
                else:
                    buffer = _take_oldest(in_flight, parts)
                filled = fill(buffer)
            while in_flight:
                _take_oldest(in_flight, parts)
        except BaseException:
            wait([future for future, _ in in_flight if not future.cancel()])
            raise
        return parts


def _take_oldest(in_flight: deque[tuple[Future[Part], bytearray]], parts: list[Part]) -> bytearray:
    """Wait for the part that was sent first; return its buffer."""
    future, buffer = in_flight[0]
    parts.append(future.result())
    in_flight.popleft()
    return buffer

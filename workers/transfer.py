"""Parts on their way into an upload, some at a time, as they come.

Memory is bounded by the buffers that the parts come in (:mod:`workers.buffers`): whoever reads
waits for one to be given back. Whatever fails, nothing is on the wire any more when
:meth:`PartSender.send` returns or raises; what becomes of the upload is the caller's to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, as_completed, wait

from storage.objects.store import ObjectStore, Part, Upload
from workers.buffers import Buffers
from workers.reading import FilledPart


class PartSender:
    """Sends the parts of one upload.

    Args:
        store: where to.
        executor: runs the requests; shared by all ingests of a worker.
        buffers: where the parts' buffers are given back to.
        note: told of each part that the store has taken, with the digests behind it; called from
            any thread, and what it raises ends the sending.
    """

    def __init__(
        self,
        store: ObjectStore,
        executor: Executor,
        buffers: Buffers,
        note: Callable[[Part, bytes | None], None],
    ) -> None:
        self._store = store
        self._executor = executor
        self._buffers = buffers
        self._note = note

    def send(
        self, upload: Upload, done: Sequence[Part], parts: Iterable[FilledPart]
    ) -> Sequence[Part]:
        """Send what follows the parts that are done; return all parts.

        Args:
            done: the parts the store has already, from the first on.

        Raises:
            StorageUnavailable, UploadLost, and whatever ``parts`` or ``note`` raise.
        """
        sent = {part.number: part for part in done}
        in_flight: dict[Future[Part], FilledPart] = {}
        try:
            for number, part in enumerate(parts, len(done) + 1):
                in_flight[self._executor.submit(self._put, upload, number, part)] = part
                # One that has failed is noticed whatever goes before it.
                _collect([one for one in in_flight if one.done()], in_flight, sent)
            _collect(as_completed(list(in_flight)), in_flight, sent)
        except BaseException:
            for future, part in in_flight.items():
                if future.cancel():
                    self._buffers.give(part.buffer)
            wait(in_flight)
            raise
        return [sent[number] for number in sorted(sent)]

    def _put(self, upload: Upload, number: int, part: FilledPart) -> Part:
        try:
            stored = self._store.put_part(upload, number, part.content, part.crc32c)
        finally:
            self._buffers.give(part.buffer)
        self._note(stored, part.digests)
        return stored


def _collect(
    done: Iterable[Future[Part]], in_flight: dict[Future[Part], FilledPart], sent: dict[int, Part]
) -> None:
    for future in done:
        part = future.result()
        sent[part.number] = part
        del in_flight[future]

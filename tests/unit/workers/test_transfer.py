"""Parts: all of them, in order, bounded in memory, and none on the wire when it is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import crc32c
import pytest

from ingest.errors import LeaseLost, SourceTruncated, StorageUnavailable
from storage.objects.memory import MemoryObjectStore
from storage.objects.store import Content, ObjectHeaders, Part, Upload
from workers.buffers import BufferPool, Buffers
from workers.reading import FilledPart
from workers.transfer import PartSender

HEADERS = ObjectHeaders("video/mp4", "inline", {})
PART_BYTES = 8
Note = Callable[[Part, bytes | None], None]


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as running:
        yield running


class FailingStore(MemoryObjectStore):
    """Takes the first part and refuses the third."""

    def put_part(
        self, upload: Upload, number: int, body: Content, checksum: int | None = None
    ) -> Part:
        """Store a part, or not."""
        if number == 3:
            raise StorageUnavailable("No.")
        return super().put_part(upload, number, body, checksum)


def fill_parts(buffers: Buffers, content: bytes) -> Iterator[FilledPart]:
    """Give out a file's parts, each in a buffer that is waited for; digests tell how far it is."""
    for first in range(0, len(content), PART_BYTES):
        piece = content[first : first + PART_BYTES]
        buffer = buffers.take()
        buffer[: len(piece)] = piece
        state = str(first + len(piece)).encode()
        yield FilledPart(buffer, len(piece), crc32c.crc32c(piece), state)


def send(
    store: MemoryObjectStore,
    executor: Executor,
    content: bytes,
    pool: BufferPool | None = None,
    note: Note = lambda _part, _digests: None,
    done: int = 0,
) -> list[Part]:
    upload = store.begin("key", HEADERS)
    parts = [
        store.put_part(upload, number, content[(number - 1) * PART_BYTES : number * PART_BYTES])
        for number in range(1, done + 1)
    ]
    pool = pool or BufferPool(1, 2, PART_BYTES)
    with pool.open(PART_BYTES) as buffers:
        sender = PartSender(store, executor, buffers, note)
        sent = sender.send(upload, parts, fill_parts(buffers, content[done * PART_BYTES :]))
    store.complete(upload, sent, overwrite=False)
    return list(sent)


@pytest.mark.parametrize("size", [8, 9, 15, 16, 17, 80, 81, 1000])
@pytest.mark.parametrize("parts_in_flight", [1, 2, 5])
def test_every_length_arrives_as_it_was(
    executor: Executor, size: int, parts_in_flight: int
) -> None:
    store = MemoryObjectStore()
    content = bytes(number % 251 for number in range(size))
    parts = send(store, executor, content, BufferPool(1, parts_in_flight, PART_BYTES))
    assert store.read("key") == content
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))


@pytest.mark.parametrize("size", [17, 24, 25, 80, 81])
@pytest.mark.parametrize("done", [1, 2])
def test_what_is_done_already_is_gone_on_from(executor: Executor, size: int, done: int) -> None:
    store = MemoryObjectStore()
    content = bytes(number % 251 for number in range(size))
    parts = send(store, executor, content, done=done)
    assert store.read("key") == content
    assert len(parts) == -(-size // PART_BYTES)


def test_each_part_is_noted_with_the_digests_behind_it(executor: Executor) -> None:
    noted: dict[int, tuple[str, bytes | None]] = {}

    def note(part: Part, digests: bytes | None) -> None:
        noted[part.number] = (part.etag, digests)

    parts = send(MemoryObjectStore(), executor, bytes(36), note=note)
    assert noted == {
        part.number: (part.etag, str(min(36, part.number * PART_BYTES)).encode()) for part in parts
    }


def test_a_part_that_was_damaged_on_its_way_is_refused(executor: Executor) -> None:
    store = MemoryObjectStore()
    upload = store.begin("key", HEADERS)
    with BufferPool(1, 2, PART_BYTES).open(PART_BYTES) as buffers:
        damaged = FilledPart(buffers.take(), PART_BYTES, crc32c.crc32c(b"other"), None)
        with pytest.raises(StorageUnavailable):
            PartSender(store, executor, buffers, lambda _part, _digests: None).send(
                upload, [], [damaged]
            )


def test_a_part_that_fails_ends_the_sending_and_gives_every_buffer_back(
    executor: Executor,
) -> None:
    store, pool = FailingStore(), BufferPool(1, 3, PART_BYTES)
    for _ in range(5):
        with pytest.raises(StorageUnavailable):
            send(store, executor, bytes(1000), pool)
    assert store.describe("key") is None
    with pool.open(PART_BYTES) as buffers:
        assert sum(buffers.take_now() is not None for _ in range(10)) == pool.count


def test_a_note_that_is_refused_ends_the_sending(executor: Executor) -> None:
    def refuse(part: Part, digests: bytes | None) -> None:
        del part, digests
        raise LeaseLost("Another attempt has the upload.")

    with pytest.raises(LeaseLost):
        send(MemoryObjectStore(), executor, bytes(100), note=refuse)


def test_when_the_sending_has_failed_no_part_is_on_the_wire(executor: Executor) -> None:
    on_the_wire, released = threading.Event(), threading.Event()
    ended: list[str] = []

    class SlowStore(MemoryObjectStore):
        def put_part(
            self, upload: Upload, number: int, body: Content, checksum: int | None = None
        ) -> Part:
            on_the_wire.set()
            released.wait()
            ended.append("part")
            return super().put_part(upload, number, body, checksum)

    def fail(buffers: Buffers) -> Iterator[FilledPart]:
        yield next(fill_parts(buffers, bytes(PART_BYTES)))
        on_the_wire.wait()
        threading.Timer(0.05, released.set).start()
        raise SourceTruncated("No.")

    store = SlowStore()
    upload = store.begin("key", HEADERS)
    with BufferPool(1, 2, PART_BYTES).open(PART_BYTES) as buffers:
        sender = PartSender(store, executor, buffers, lambda _part, _digests: None)
        with pytest.raises(SourceTruncated):
            sender.send(upload, [], fail(buffers))
    assert ended == ["part"]

"""Parts: all of them, in order, bounded in memory, and none on the wire when it is over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from ingest.errors import LeaseLost, SourceTruncated, StorageUnavailable
from storage.objects.memory import MemoryObjectStore
from storage.objects.store import Content, ObjectHeaders, Part, Upload
from workers.transfer import PartSender

HEADERS = ObjectHeaders("video/mp4", "inline", {})
PART_BYTES = 8


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(4) as running:
        yield running


class WatchedStore(MemoryObjectStore):
    """Counts the buffers it was ever given."""

    def __init__(self) -> None:
        super().__init__()
        self.buffers: dict[int, Content] = {}

    def put_part(self, upload: Upload, number: int, body: Content) -> Part:
        """Store a part, and keep the buffer so that its id stays its own."""
        self.buffers[id(body)] = body
        return super().put_part(upload, number, body)


class FailingStore(MemoryObjectStore):
    """Takes the first part and refuses the third."""

    def put_part(self, upload: Upload, number: int, body: Content) -> Part:
        """Store a part, or not."""
        if number == 3:
            raise StorageUnavailable("No.")
        return super().put_part(upload, number, body)


def make_fill(content: bytes) -> Callable[[bytearray], int]:
    left = memoryview(content)

    def fill(buffer: bytearray) -> int:
        nonlocal left
        piece = left[: len(buffer)]
        buffer[: len(piece)] = piece
        left = left[len(piece) :]
        return len(piece)

    return fill


def send(
    store: MemoryObjectStore,
    executor: Executor,
    content: bytes,
    parts_in_flight: int = 2,
    note: Callable[[Part, bytes | None], None] = lambda _part, _digests: None,
    done: int = 0,
) -> list[Part]:
    upload = store.begin("key", HEADERS)
    parts = [
        store.put_part(upload, number, content[(number - 1) * PART_BYTES : number * PART_BYTES])
        for number in range(1, done + 1)
    ]
    rest = content[done * PART_BYTES :]
    first, fill = bytearray(PART_BYTES), make_fill(rest)
    filled = fill(first)
    taken = filled

    def count(buffer: bytearray) -> int:
        nonlocal taken
        more = fill(buffer)
        taken += more
        return more

    sender = PartSender(store, executor, parts_in_flight)
    sent = sender.send(
        upload, parts, first, filled, count, note, lambda: str(done * PART_BYTES + taken).encode()
    )
    store.complete(upload, sent, overwrite=False)
    return sent


@pytest.mark.parametrize("size", [8, 9, 15, 16, 17, 80, 81, 1000])
@pytest.mark.parametrize("parts_in_flight", [1, 2, 5])
def test_every_length_arrives_as_it_was(
    executor: Executor, size: int, parts_in_flight: int
) -> None:
    store = MemoryObjectStore()
    content = bytes(number % 251 for number in range(size))
    parts = send(store, executor, content, parts_in_flight)
    assert store.read("key") == content
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))


@pytest.mark.parametrize("size", [17, 24, 25, 80, 81])
@pytest.mark.parametrize("done", [1, 2])
def test_what_is_done_already_is_gone_on_from(executor: Executor, size: int, done: int) -> None:
    store = WatchedStore()
    content = bytes(number % 251 for number in range(size))
    parts = send(store, executor, content, done=done)
    assert store.read("key") == content
    assert len(parts) == -(-size // PART_BYTES)


@pytest.mark.parametrize("parts_in_flight", [1, 2, 5])
def test_one_buffer_more_than_parts_in_flight_is_all_it_takes(
    executor: Executor, parts_in_flight: int
) -> None:
    store = WatchedStore()
    send(store, executor, bytes(1000), parts_in_flight)
    assert len(store.buffers) <= parts_in_flight + 1


def test_each_part_is_noted_with_the_digests_behind_it(executor: Executor) -> None:
    noted: dict[int, tuple[str, bytes | None]] = {}

    def note(part: Part, digests: bytes | None) -> None:
        noted[part.number] = (part.etag, digests)

    parts = send(MemoryObjectStore(), executor, bytes(36), note=note)
    assert noted == {
        part.number: (part.etag, str(min(36, part.number * PART_BYTES)).encode()) for part in parts
    }


def test_a_part_that_fails_ends_the_sending(executor: Executor) -> None:
    store = FailingStore()
    with pytest.raises(StorageUnavailable):
        send(store, executor, bytes(100))
    assert store.describe("key") is None


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
        def put_part(self, upload: Upload, number: int, body: Content) -> Part:
            on_the_wire.set()
            released.wait()
            ended.append("part")
            return super().put_part(upload, number, body)

    def fail(buffer: bytearray) -> int:
        del buffer
        on_the_wire.wait()
        threading.Timer(0.05, released.set).start()
        raise SourceTruncated("No.")

    store = SlowStore()
    upload = store.begin("key", HEADERS)
    sender = PartSender(store, executor, 2)
    with pytest.raises(SourceTruncated):
        sender.send(
            upload,
            [],
            bytearray(PART_BYTES),
            PART_BYTES,
            fail,
            lambda _part, _digests: None,
            lambda: None,
        )
    assert ended == ["part"]

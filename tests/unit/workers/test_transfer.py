"""Parts: all of them, in order, bounded in memory, and none left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from ingest.errors import SourceTruncated, StorageUnavailable
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
    before_complete: Callable[[], None] = lambda: None,
    parts_in_flight: int = 2,
) -> None:
    first, fill = bytearray(content[:PART_BYTES]), make_fill(content[PART_BYTES:])
    sender = PartSender(store, executor, parts_in_flight)
    sender.send("key", HEADERS, first, fill, before_complete, lambda: False)


@pytest.mark.parametrize("size", [8, 9, 15, 16, 17, 80, 81, 1000])
@pytest.mark.parametrize("parts_in_flight", [1, 2, 5])
def test_every_length_arrives_as_it_was(
    executor: Executor, size: int, parts_in_flight: int
) -> None:
    store = MemoryObjectStore()
    content = bytes(number % 251 for number in range(size))
    send(store, executor, content, parts_in_flight=parts_in_flight)
    assert store.read("key") == content
    assert store.list_uploads() == []


@pytest.mark.parametrize("parts_in_flight", [1, 2, 5])
def test_one_buffer_more_than_parts_in_flight_is_all_it_takes(
    executor: Executor, parts_in_flight: int
) -> None:
    store = WatchedStore()
    send(store, executor, bytes(1000), parts_in_flight=parts_in_flight)
    assert len(store.buffers) <= parts_in_flight + 1


def test_nothing_is_visible_before_the_last_word(executor: Executor) -> None:
    store = MemoryObjectStore()
    seen: list[object] = []
    send(store, executor, bytes(20), lambda: seen.append(store.describe("key")))
    assert seen == [None]
    assert store.describe("key") is not None


def test_a_last_word_against_it_leaves_nothing(executor: Executor) -> None:
    store = MemoryObjectStore()

    def refuse() -> None:
        raise SourceTruncated("No.")

    with pytest.raises(SourceTruncated):
        send(store, executor, bytes(20), refuse)
    assert store.describe("key") is None
    assert store.list_uploads() == []


def test_a_part_that_fails_ends_the_upload_and_leaves_nothing(executor: Executor) -> None:
    store = FailingStore()
    with pytest.raises(StorageUnavailable):
        send(store, executor, bytes(100))
    assert store.describe("key") is None
    assert store.list_uploads() == []


def test_an_upload_is_aborted_only_when_no_part_is_on_the_wire(executor: Executor) -> None:
    on_the_wire, released = threading.Event(), threading.Event()
    ended: list[str] = []

    class SlowStore(MemoryObjectStore):
        def put_part(self, upload: Upload, number: int, body: Content) -> Part:
            on_the_wire.set()
            released.wait()
            ended.append("part")
            return super().put_part(upload, number, body)

        def abort(self, upload: Upload) -> None:
            ended.append("abort")
            super().abort(upload)

    def fail(buffer: bytearray) -> int:
        del buffer
        on_the_wire.wait()
        threading.Timer(0.05, released.set).start()
        raise SourceTruncated("No.")

    sender = PartSender(SlowStore(), executor, 2)
    with pytest.raises(SourceTruncated):
        sender.send("key", HEADERS, bytearray(PART_BYTES), fail, lambda: None, lambda: False)
    assert ended == ["part", "abort"]

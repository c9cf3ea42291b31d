"""Each implementation of the protocol, and real S3 as the stack runs it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from ingest.config import Settings
from storage.objects import s3
from storage.objects.memory import MemoryObjectStore
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders, ObjectStore, Upload

Read = Callable[[str], bytes]
Begin = Callable[[str], Upload]
PAGE_SIZE = 2


@pytest.fixture(scope="session")
def s3_store(settings: Settings) -> S3ObjectStore:
    """The stack's SeaweedFS."""
    return s3.connect(settings, pool_size=8)


@contextmanager
def ask_for_small_pages(store: S3ObjectStore) -> Iterator[list[str]]:
    """Have every list come in pages of two; gives the operations asked for, as they are asked."""
    asked: list[str] = []

    def limit(name: str) -> Callable[..., None]:
        def note(params: dict[str, object], model: object, **_: object) -> None:
            asked.append(str(getattr(model, "name", "")))
            params[name] = PAGE_SIZE

        return note

    events = store._client.meta.events
    handlers = {
        "before-parameter-build.s3.ListParts": limit("MaxParts"),
        "before-parameter-build.s3.ListMultipartUploads": limit("MaxUploads"),
        "before-parameter-build.s3.ListObjectsV2": limit("MaxKeys"),
    }
    for name, handler in handlers.items():
        events.register(name, handler)
    try:
        yield asked
    finally:
        for name, handler in handlers.items():
            events.unregister(name, handler)


@pytest.fixture
def small_pages(s3_store: S3ObjectStore) -> Iterator[list[str]]:
    """The operations of one test on the stack's SeaweedFS, whose lists come in pages of two."""
    with ask_for_small_pages(s3_store) as asked:
        yield asked


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each implementation in turn."""
    if request.param == "memory":
        return MemoryObjectStore()
    found: ObjectStore = request.getfixturevalue("s3_store")
    return found


@pytest.fixture
def read(store: ObjectStore) -> Read:
    """Reads an object back, by each store's own way."""

    def fetch(key: str) -> bytes:
        if isinstance(store, MemoryObjectStore):
            return store.read(key)
        answer = requests.get(store.presign(key, 60), timeout=10)
        assert answer.status_code == 200
        return answer.content

    return fetch


@pytest.fixture
def key() -> str:
    """A key that nobody else uses."""
    return f"contract/{secrets.token_hex(8)}"


@pytest.fixture
def begin(store: ObjectStore) -> Iterator[Begin]:
    """Begins uploads, and aborts them in the end: other tests look for leftovers."""
    headers = ObjectHeaders("video/mp4", "inline", {})
    begun: list[Upload] = []

    def start(key: str) -> Upload:
        begun.append(store.begin(key, headers))
        return begun[-1]

    yield start
    for upload in begun:
        store.abort(upload)

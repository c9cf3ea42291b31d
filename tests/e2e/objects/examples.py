"""What the tests of ``s3://`` sources have in common: orders, objects, and what moved."""

from __future__ import annotations

import hashlib
from pathlib import Path

import requests

from cli.local import LocalStack
from ingest.config import MIB, Settings
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.media import make_media
from tests.support.origin import Generated
from tests.support.padding import pad_mp4
from tests.support.waiting import wait_until

PART_BYTES = 5 * MIB
HEADERS = ObjectHeaders("text/html", "attachment", {"headrace-sha256": "0" * 64})
REFUSED = "'url' names nothing that a connection of this project reads."


def give_keys(settings: Settings) -> dict[str, object]:
    """Return the keys of a store, as a connection has them."""
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    return {
        "access_key_id": settings.s3_access_key_id.get_secret_value(),
        "secret_access_key": settings.s3_secret_access_key.get_secret_value(),
    }


def make_video(media_folder: Path, size_bytes: int) -> Generated:
    """Return a video of this length."""
    return pad_mp4(make_media("mp4", media_folder).read_bytes(), size_bytes)


def put_in_parts(store: S3ObjectStore, key: str, content: Generated, part_bytes: int) -> None:
    """Store an object in parts of this size."""
    upload = store.begin(key, HEADERS)
    parts = []
    for number, at in enumerate(range(0, content.size_bytes, part_bytes), 1):
        end = min(at + part_bytes, content.size_bytes)
        parts.append(store.put_part(upload, number, b"".join(content.read_pieces(at, end))))
    store.complete(upload, parts, overwrite=False)


def ingest(api: Api, url: str, filename: str, **more: object) -> JsonDict:
    """Order a file and return it."""
    return read_object(
        api.post("/files", {"url": url, "folder": "in", "filename": filename, **more}), 201
    )


def fail(api: Api, url: str, code: str, **more: object) -> JsonDict:
    """Order what fails; return the error."""
    return read_error(api.post("/files", {"url": url, **more}), 422, code)


def hash_stored(store: S3ObjectStore, key: str) -> str:
    """Return the SHA-256 of an object, read back."""
    answer = requests.get(store.presign(key, 60), timeout=60, stream=True)
    assert answer.status_code == 200
    digest = hashlib.sha256()
    for piece in answer.iter_content(MIB):
        digest.update(piece)
    return digest.hexdigest()


def count_bytes(stack: LocalStack, metric: str) -> float:
    """Return the value of a metric of the worker."""
    port = stack.home.read_state().ports["worker-metrics"]
    lines = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text.splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{metric} ")]
    return float(value)


class Moved:
    """How many bytes went which way since it was made, once all attempts have ended."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._before = self._look()

    def count(self, size_bytes: int) -> tuple[float, float]:
        """Return what passed the worker and what was copied, when both are ``size_bytes``."""
        before = self._before

        def look() -> tuple[float, float] | None:
            now = self._look()
            moved = (now[0] - before[0], now[1] - before[1])
            return moved if sum(moved) >= size_bytes else None

        return wait_until(look, "bytes in the metrics")

    def _look(self) -> tuple[float, float]:
        names = ("headrace_transferred_bytes_total", "headrace_copied_bytes_total")
        return count_bytes(self._stack, names[0]), count_bytes(self._stack, names[1])

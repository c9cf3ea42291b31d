"""A worker's memory is a formula, not a hope: it does not grow with the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.client import ApiClient
from cli.local import LocalStack
from ingest.config import MIB, Settings
from storage.objects.s3 import S3ObjectStore
from tests.support.media import make_media
from tests.support.meter import Peaks
from tests.support.origin import OriginProcess
from tests.support.padding import pad_mp4

LARGE_BYTES = 2 * 1024 * MIB
ALLOWED_GROWTH_BYTES = 200 * MIB


@pytest.mark.timeout(300)
def test_two_gibibytes_pass_through_a_worker_in_less_than_200_mib(
    stack: LocalStack,
    client: ApiClient,
    settings: Settings,
    store: S3ObjectStore,
    large_origin: OriginProcess,
    media_folder: Path,
) -> None:
    with Peaks(stack.processes["worker"]) as memory:
        asked = client.create_task({"url": large_origin.url("/large.mp4")})
        task = client.wait_for_task(asked.id, lambda _: None)
    file = task.file

    assert task.error is None
    assert file is not None
    assert file.filesize == LARGE_BYTES
    original = pad_mp4(make_media("mp4", media_folder).read_bytes(), LARGE_BYTES)
    assert file.checksum == f"sha256:{original.hash_sha256()}"
    assert (file.raw["width"], file.raw["duration"]) == (160, 1.0)
    key = f"{file.id}.mp4"
    stored = store.describe(key)
    assert stored is not None
    assert stored.size_bytes == LARGE_BYTES
    assert memory.grown_bytes < ALLOWED_GROWTH_BYTES
    # The formula of docs/operations.md, which one ingest may use up, and what the probe takes.
    count = settings.worker_slots * (settings.parts_in_flight + 1)
    buffers = count * settings.part_bytes_for(LARGE_BYTES)
    assert memory.grown_bytes < buffers + 100 * MIB
    client.delete_file(file.id)
    assert store.describe(key) is None

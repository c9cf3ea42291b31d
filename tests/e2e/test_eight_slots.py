"""A worker's memory is a formula with all its slots at work, and its descriptors are one too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.config import MIB, Settings
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, JsonDict
from tests.support.media import make_media
from tests.support.meter import Peaks
from tests.support.origin import Origin, Reply, Stall
from tests.support.padding import pad_mp4
from tests.support.tasks import create_task, wait_for_end
from tests.support.waiting import wait_until

SLOTS = 8
# Three times what its buffers hold, so that each of them is used again.
SIZE_BYTES = 72 * MIB
# The constant of docs/operations.md, above what an idle worker takes.
CONSTANT_BYTES = 48 * MIB
ENDS_WITHIN_S = 100.0


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, source: Origin) -> Iterator[LocalStack]:
    """A stack of this module's own, whose worker has done nothing yet."""
    with make_stack(source, HEADRACE_WORKER_SLOTS=str(SLOTS), HEADRACE_HOST_LIMIT="0") as running:
        yield running
    shutil.rmtree(running.home.path / "seaweedfs", ignore_errors=True)


def test_eight_ingests_at_once_take_what_the_formulas_say(
    stack: LocalStack, api: Api, source: Origin, own_settings: Settings, media_folder: Path
) -> None:
    video = pad_mp4(make_media("mp4", media_folder).read_bytes(), SIZE_BYTES)
    stalls = [Stall(MIB) for _ in range(SLOTS)]
    urls = [
        source.route(f"/{number}.mp4", Reply(body=video, ranges=True, etag='"v"', stall=stall))
        for number, stall in enumerate(stalls)
    ]
    pid = stack.processes["worker"]
    with Peaks(pid, children=False) as memory:
        tasks = [create_task(api, url) for url in urls]
        for stall in stalls:
            wait_until(stall.reached.is_set, "all of them to be at work at once", 30)
        for stall in stalls:
            stall.released.set()
        ended = [wait_for_end(api, task, ENDS_WITHIN_S) for task in tasks]

    assert [task["status"] for task in ended] == ["complete"] * SLOTS
    files = [cast("JsonDict", task["output"]) for task in ended]
    assert {file["checksum"] for file in files} == {f"sha256:{video.hash_sha256()}"}
    buffers = SLOTS * (own_settings.parts_in_flight + 1)
    formula = buffers * own_settings.part_bytes_for(own_settings.max_bytes)
    assert memory.grown_bytes <= formula + CONSTANT_BYTES
    idle = 2 * SLOTS * max(SLOTS, own_settings.source_connections)
    assert memory.peak_descriptors <= idle + 2 * buffers + 12 * SLOTS + 64

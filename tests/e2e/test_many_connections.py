"""A long file from a source that is slow on each connection: many of them, and whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import func, select

from cli.local import LocalStack
from ingest.config import MIB
from storage.objects.s3 import S3ObjectStore
from storage.records.database import Database
from storage.records.tables import parts
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, JsonDict
from tests.support.media import make_media
from tests.support.origin import Drip, Generated, Origin, Reply
from tests.support.padding import pad_mp4
from tests.support.tasks import create_task, list_errors, wait_for_end
from tests.support.waiting import wait_until

PART_BYTES = 5 * MIB
SIZE_BYTES = 12 * PART_BYTES - MIB
ENDS_WITHIN_S = 60.0
# Some 6 MiB/s, so that one connection takes ten seconds.
SLOWLY = Drip(256 * 1024, 0.04)


@pytest.fixture(scope="module")
def video(media_folder: Path) -> Generated:
    """Twelve parts."""
    return pad_mp4(make_media("mp4", media_folder).read_bytes(), SIZE_BYTES)


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, source: Origin) -> Iterator[LocalStack]:
    """A stack of this module's own, whose worker is killed."""
    with make_stack(
        source,
        HEADRACE_PART_BYTES=str(PART_BYTES),
        HEADRACE_SOURCE_CONNECTIONS="6",
        HEADRACE_LEASE_S="3",
        HEADRACE_HEARTBEAT_S="0.5",
        HEADRACE_RESEND_AFTER_S="2",
        HEADRACE_RETRY_BASE_S="0.1",
    ) as running:
        yield running


def _order(api: Api, url: str, name: str) -> JsonDict:
    return create_task(api, url, folder="many", filename=name, max_attempts=3)


def _check_file(task: JsonDict, video: Generated, store: S3ObjectStore) -> None:
    assert task["status"] == "complete", (task["error"], task["attempts"])
    file = cast("JsonDict", task["output"])
    assert file["checksum"] == f"sha256:{video.hash_sha256()}"
    assert file["filesize"] == SIZE_BYTES
    stored = store.describe(f"many/{file['filename']}")
    assert stored is not None
    assert stored.size_bytes == SIZE_BYTES
    assert list(store.list_uploads()) == []


def test_a_slow_source_is_read_over_several_connections_at_once(
    api: Api, source: Origin, video: Generated, own_store: S3ObjectStore
) -> None:
    url = source.route("/slow.mp4", Reply(body=video, ranges=True, etag='"s"', drip=SLOWLY))
    ended = wait_for_end(api, _order(api, url, "slow.mp4"), ENDS_WITHIN_S)

    _check_file(ended, video, own_store)
    assert list_errors(ended) == [None]
    asked = source.list_served("/slow.mp4")
    assert len([one for one in asked if one.if_range == '"s"']) >= 6
    # What the first connection had sent ahead is all that came twice.
    assert sum(one.sent_bytes for one in asked) <= SIZE_BYTES + PART_BYTES


def test_a_source_that_was_killed_in_the_middle_of_many_is_gone_on_in(
    stack: LocalStack,
    api: Api,
    source: Origin,
    video: Generated,
    own_store: S3ObjectStore,
    own_database: Database,
) -> None:
    url = source.route("/killed.mp4", Reply(body=video, ranges=True, etag='"k"', drip=SLOWLY))
    task = _order(api, url, "killed.mp4")

    def count_parts() -> int:
        with own_database.transaction() as connection:
            counted = select(func.count()).where(parts.c.task_id == task["id"])
            return connection.execute(counted).scalar_one()

    wait_until(lambda: count_parts() >= 3, "parts to be noted", 30)
    pid = stack.processes["worker"]
    stack.kill("worker")
    wait_until(lambda: stack.processes.get("worker") not in {None, pid}, "another worker")

    ended = wait_for_end(api, task, ENDS_WITHIN_S)
    _check_file(ended, video, own_store)
    assert list_errors(ended) == ["lease_lost", None]


@pytest.mark.parametrize(
    "second",
    [Reply(status=403), Reply(status=429), Reply(raw=b"")],
    ids=["forbidden", "too many", "closed"],
)
def test_a_link_that_works_once_is_enough(
    second: Reply, api: Api, source: Origin, video: Generated, own_store: S3ObjectStore
) -> None:
    path = f"/once-{id(second)}.mp4"
    good = Reply(body=video, ranges=True, etag='"o"', drip=Drip(1024 * 1024, 0.04))
    ended = wait_for_end(
        api, _order(api, source.route(path, good, second), path[1:]), ENDS_WITHIN_S
    )
    _check_file(ended, video, own_store)
    assert list_errors(ended) == [None]

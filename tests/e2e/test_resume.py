"""Long files whose attempts die half-way: what is there already is not fetched again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.config import MIB
from storage.objects.s3 import S3ObjectStore
from storage.records import uploads
from storage.records.database import Database
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, JsonDict, read_object
from tests.support.media import make_media
from tests.support.origin import Cut, Generated, Origin, Reply, Stall
from tests.support.padding import pad_mp4
from tests.support.tasks import create_task, list_errors, wait_for_end
from tests.support.waiting import wait_until

PART_BYTES = 8 * MIB
SIZE_BYTES = 40 * MIB
GRACE_S = 1.0
ENDS_WITHIN_S = 40.0


@pytest.fixture(scope="module")
def video(media_folder: Path) -> Generated:
    """Five parts."""
    return pad_mp4(make_media("mp4", media_folder).read_bytes(), SIZE_BYTES)


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, source: Origin) -> Iterator[LocalStack]:
    """A stack of this module's own, whose worker is killed."""
    with make_stack(
        source,
        HEADRACE_LEASE_S="3",
        HEADRACE_HEARTBEAT_S="0.5",
        HEADRACE_RESEND_AFTER_S="2",
        HEADRACE_RETRY_BASE_S="0.1",
        HEADRACE_SHUTDOWN_GRACE_S=str(GRACE_S),
        # One connection, so that what is fetched again is told by what was asked for.
        HEADRACE_SOURCE_CONNECTIONS="1",
    ) as running:
        yield running


def _order(api: Api, url: str, name: str, **more: object) -> JsonDict:
    return create_task(api, url, folder="resumed", filename=name, **more)


def _check_file(task: JsonDict, video: Generated, store: S3ObjectStore) -> None:
    assert task["status"] == "complete", (task["error"], task["attempts"])
    file = cast("JsonDict", task["output"])
    assert file["checksum"] == f"sha256:{video.hash_sha256()}"
    stored = store.describe(f"{file['folder']}/{file['filename']}")
    assert stored is not None
    assert stored.size_bytes == file["filesize"] == SIZE_BYTES
    assert list(store.list_uploads()) == []


def test_an_attempt_goes_on_from_the_last_part_that_a_killed_worker_finished(
    stack: LocalStack,
    api: Api,
    source: Origin,
    video: Generated,
    own_store: S3ObjectStore,
    own_database: Database,
) -> None:
    # Stalls inside the fourth part; by then the first is on its way or there.
    stall = Stall(at_bytes=3 * PART_BYTES + MIB)
    etag = '"the-same"'
    url = source.route(
        "/killed.mp4",
        Reply(body=video, etag=etag, ranges=True, stall=stall),
        Reply(body=video, etag=etag, ranges=True),
    )
    task = _order(api, url, "killed.mp4", checksum=f"md5:{_hash_md5(video)}")
    assert stall.reached.wait(20)
    _wait_for_notes(own_database, task, 3)
    pid = stack.processes["worker"]
    stack.kill("worker")
    wait_until(lambda: stack.processes.get("worker") not in {None, pid}, "another worker")

    ended = wait_for_end(api, task, ENDS_WITHIN_S)

    _check_file(ended, video, own_store)
    assert list_errors(ended) == ["lease_lost", None]
    asked = source.list_served("/killed.mp4")
    assert [one.range for one in asked] == ["bytes=0-", f"bytes={3 * PART_BYTES}-"]
    assert asked[1].if_range == etag
    assert asked[1].sent_bytes == SIZE_BYTES - 3 * PART_BYTES


@pytest.mark.parametrize("second", ["changed", "weak", "no_ranges"])
def test_a_source_that_is_not_what_it_was_is_fetched_from_the_start(
    second: str, api: Api, source: Origin, video: Generated, own_store: S3ObjectStore
) -> None:
    first = Reply(body=video, etag='"one"', cut=Cut(3 * PART_BYTES + MIB))
    then = {
        "changed": Reply(body=video, etag='"two"', ranges=True),
        "weak": Reply(body=video, etag='W/"one"', ranges=True),
        "no_ranges": Reply(body=video, etag='"one"'),
    }[second]
    task = _order(api, source.route(f"/{second}.mp4", first, then), f"{second}.mp4")

    ended = wait_for_end(api, task, ENDS_WITHIN_S)

    _check_file(ended, video, own_store)
    assert list_errors(ended) == ["source_truncated", None]
    assert sum(one.sent_bytes for one in source.list_served(f"/{second}.mp4")[1:]) == SIZE_BYTES


def test_a_source_without_a_validator_is_fetched_from_the_start(
    api: Api, source: Origin, video: Generated, own_store: S3ObjectStore
) -> None:
    cut = Reply(body=video, cut=Cut(2 * PART_BYTES + MIB))
    task = _order(api, source.route("/none.mp4", cut, Reply(body=video)), "none.mp4")

    ended = wait_for_end(api, task, ENDS_WITHIN_S)

    _check_file(ended, video, own_store)
    assert [one.range for one in source.list_served("/none.mp4")] == ["bytes=0-"] * 2


def test_a_worker_that_is_told_to_stop_hands_back_what_another_goes_on_with(
    stack: LocalStack,
    api: Api,
    source: Origin,
    video: Generated,
    own_store: S3ObjectStore,
    own_database: Database,
) -> None:
    stall = Stall(at_bytes=2 * PART_BYTES + MIB)
    url = source.route(
        "/stopped.mp4",
        Reply(body=video, etag='"s"', ranges=True, stall=stall),
        Reply(body=video, etag='"s"', ranges=True),
    )
    # Being stopped costs no attempt.
    task = _order(api, url, "stopped.mp4", max_attempts=1)
    assert stall.reached.wait(20)
    _wait_for_notes(own_database, task, 2)
    stack.restart("worker")

    ended = wait_for_end(api, task, ENDS_WITHIN_S)

    _check_file(ended, video, own_store)
    assert list_errors(ended) == ["worker_stopped", None]
    assert source.list_served("/stopped.mp4")[1].range == f"bytes={2 * PART_BYTES}-"


def test_a_failed_task_goes_on_under_a_fresh_url(
    api: Api, source: Origin, video: Generated, own_store: S3ObjectStore
) -> None:
    cut = Reply(body=video, etag='"f"', cut=Cut(3 * PART_BYTES + MIB))
    url = source.route("/signed.mp4", cut, Reply(status=403))
    fresh = source.route("/fresh.mp4", Reply(body=video, etag='"f"', ranges=True))
    task = _order(api, url, "signed.mp4")
    failed = wait_for_end(api, task, ENDS_WITHIN_S)
    assert cast("JsonDict", failed["error"])["code"] == "source_forbidden"

    read_object(api.patch(f"/tasks/{task['id']}", {"url": fresh}), 200)
    read_object(api.post(f"/tasks/{task['id']}/retry", {}), 200)
    ended = wait_for_end(api, task, ENDS_WITHIN_S)

    _check_file(ended, video, own_store)
    (rest,) = source.list_served("/fresh.mp4")
    assert rest.range is not None
    assert rest.range != "bytes=0-"


def test_a_failed_task_overwrites_the_file_that_got_its_name_meanwhile(
    api: Api, source: Origin, video: Generated, own_store: S3ObjectStore
) -> None:
    cut = Reply(body=video, etag='"o"', cut=Cut(3 * PART_BYTES + MIB))
    whole = Reply(body=video, etag='"o"', ranges=True)
    url = source.route("/overwrites.mp4", cut, Reply(status=403), whole)
    task = _order(api, url, "overwrites.mp4", if_exists="overwrite")
    failed = wait_for_end(api, task, ENDS_WITHIN_S)
    assert cast("JsonDict", failed["error"])["code"] == "source_forbidden"
    other = source.route("/other.mp4", Reply(body=video, etag='"p"', ranges=True))
    between = wait_for_end(api, _order(api, other, "overwrites.mp4"), ENDS_WITHIN_S)
    assert between["status"] == "complete"

    read_object(api.post(f"/tasks/{task['id']}/retry", {}), 200)
    ended = wait_for_end(api, task, ENDS_WITHIN_S)

    assert ended["status"] == "complete", ended["error"]


def _wait_for_notes(records: Database, task: JsonDict, count: int) -> None:
    """Return once so many parts are noted: the store has each a moment earlier."""

    def look() -> bool:
        with records.transaction() as connection:
            found = uploads.find(connection, str(task["id"]))
        return found is not None and len(found.parts) >= count

    wait_until(look, f"{count} noted parts", 20)


def _hash_md5(video: Generated) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in video.read_pieces(0, SIZE_BYTES):
        digest.update(piece)
    return digest.hexdigest()

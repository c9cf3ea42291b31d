"""``s3://`` sources through connections: copied in the store, or read by signed addresses.

The stack of this module lands its files in a bucket of the session's SeaweedFS, which it reaches
through a proxy, so that the network to its store can be made slow.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import requests
from sqlalchemy import func, select
from sqlalchemy import text as sql

from cli.local import LocalStack
from ingest.config import MIB, Settings, load_settings
from ingest.urls import ObjectUrl
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders
from storage.records.database import Database
from storage.records.tables import tasks
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.faults import FaultProxy
from tests.support.media import make_media
from tests.support.origin import Cut, Drip, Generated, Origin, Reply
from tests.support.padding import pad_mp4
from tests.support.pages import find_blocks, read_page
from tests.support.tasks import create_task, list_errors, wait_for_end
from tests.support.waiting import wait_until

PART_BYTES = 5 * MIB
HEADERS = ObjectHeaders("text/html", "attachment", {"headrace-sha256": "0" * 64})
REFUSED = "'url' names nothing that a connection of this project reads."


def _give_keys(settings: Settings) -> dict[str, object]:
    assert settings.s3_access_key_id is not None
    assert settings.s3_secret_access_key is not None
    return {
        "access_key_id": settings.s3_access_key_id.get_secret_value(),
        "secret_access_key": settings.s3_secret_access_key.get_secret_value(),
    }


@pytest.fixture(scope="module")
def hidden() -> Iterator[Origin]:
    """A server that no user's URL may reach, and one connection does."""
    with Origin() as running:
        yield running


@pytest.fixture(scope="module")
def outer(stack: LocalStack) -> Settings:
    """The settings of the session's stack, whose SeaweedFS is used."""
    return load_settings(stack.environ)


@pytest.fixture(scope="module")
def buckets(outer: Settings) -> dict[str, S3ObjectStore]:
    """The bucket that files land in and the one they come from, reached past the proxy."""
    names = {name: f"{name}-{secrets.token_hex(4)}" for name in ("landing", "archive")}
    found = {
        name: s3.connect(outer.model_copy(update={"s3_bucket": bucket}), pool_size=4)
        for name, bucket in names.items()
    }
    for name, store in found.items():
        store._client.create_bucket(Bucket=names[name])
    return found


@pytest.fixture(scope="module")
def proxy(outer: Settings) -> Iterator[FaultProxy]:
    """The way from this module's stack to its store."""
    with FaultProxy(int(str(outer.s3_endpoint).rpartition(":")[2])) as running:
        yield running


@pytest.fixture(scope="module")
def inner(
    make_stack: MakeStack,
    source: Origin,
    hidden: Origin,
    outer: Settings,
    buckets: dict[str, S3ObjectStore],
    proxy: FaultProxy,
) -> Iterator[LocalStack]:
    """A stack whose operator has connected buckets."""
    archive, keys = buckets["archive"]._bucket, _give_keys(outer)
    connections = {
        archive: {},
        "archive": {"bucket": archive},
        "streamed": {"bucket": archive, "copy": "stream"},
        "part": {"bucket": archive, "prefix": "done/"},
        "others": {"bucket": archive, "projects": ["prj_01m859r1yny08r1ap8hz69hcss"]},
        "far": {"bucket": archive, "endpoint": outer.s3_endpoint, **keys},
        "nowhere": {"bucket": "no-such-bucket"},
        "own": {"bucket": buckets["landing"]._bucket, "prefix": "inbox/"},
        # The same server past the proxy, which is another one to whoever compares addresses.
        "own-again": {
            "bucket": buckets["landing"]._bucket,
            "endpoint": outer.s3_endpoint,
            **keys,
        },
        "locked-out": {
            "bucket": archive,
            "endpoint": outer.s3_endpoint,
            **keys,
            "secret_access_key": "another",
        },
        "odd": {"bucket": "odd", "endpoint": f"http://127.0.0.1:{hidden.port}", **keys},
    }
    with make_stack(
        source,
        HEADRACE_S3_ENDPOINT=f"http://127.0.0.1:{proxy.port}",
        HEADRACE_S3_BUCKET=buckets["landing"]._bucket,
        HEADRACE_S3_ACCESS_KEY_ID=str(keys["access_key_id"]),
        HEADRACE_S3_SECRET_ACCESS_KEY=str(keys["secret_access_key"]),
        HEADRACE_S3_SOURCES=json.dumps(connections),
        HEADRACE_PART_BYTES=str(PART_BYTES),
        HEADRACE_MAX_ATTEMPTS="1",
        HEADRACE_LEASE_S="3",
        HEADRACE_HEARTBEAT_S="0.5",
        HEADRACE_RESEND_AFTER_S="2",
        HEADRACE_RETRY_BASE_S="0.1",
    ) as running:
        yield running


@pytest.fixture
def api(inner: LocalStack) -> Iterator[Api]:
    """The API of this module's stack."""
    with Api(inner.api_url, inner.api_key) as opened:
        yield opened


@pytest.fixture
def records(inner: LocalStack) -> Iterator[Database]:
    """The database of this module's stack."""
    opened = Database(load_settings(inner.environ).sqlalchemy_url)
    yield opened
    opened.close()


@pytest.fixture
def landing(buckets: dict[str, S3ObjectStore]) -> S3ObjectStore:
    return buckets["landing"]


@pytest.fixture
def archive(buckets: dict[str, S3ObjectStore]) -> S3ObjectStore:
    return buckets["archive"]


@pytest.fixture
def name() -> str:
    """A name that nobody else uses."""
    return f"{secrets.token_hex(8)}.mp4"


def _make_video(media_folder: Path, size_bytes: int) -> Generated:
    return pad_mp4(make_media("mp4", media_folder).read_bytes(), size_bytes)


@pytest.fixture(scope="session")
def long_video(media_folder: Path) -> bytes:
    """More than a part."""
    pieces = _make_video(media_folder, PART_BYTES + MIB).read_pieces(0, PART_BYTES + MIB)
    return b"".join(pieces)


def _put_in_parts(store: S3ObjectStore, key: str, content: Generated, part_bytes: int) -> None:
    upload = store.begin(key, HEADERS)
    parts = []
    for number, at in enumerate(range(0, content.size_bytes, part_bytes), 1):
        end = min(at + part_bytes, content.size_bytes)
        parts.append(store.put_part(upload, number, b"".join(content.read_pieces(at, end))))
    store.complete(upload, parts, overwrite=False)


def _ingest(api: Api, url: str, filename: str, **more: object) -> JsonDict:
    return read_object(
        api.post("/files", {"url": url, "folder": "in", "filename": filename, **more}), 201
    )


def _fail(api: Api, url: str, code: str, **more: object) -> JsonDict:
    return read_error(api.post("/files", {"url": url, **more}), 422, code)


def _hash_stored(store: S3ObjectStore, key: str) -> str:
    answer = requests.get(store.presign(key, 60), timeout=60, stream=True)
    assert answer.status_code == 200
    digest = hashlib.sha256()
    for piece in answer.iter_content(MIB):
        digest.update(piece)
    return digest.hexdigest()


def _count(stack: LocalStack, metric: str) -> float:
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
        return _count(self._stack, names[0]), _count(self._stack, names[1])


KEYS = {
    "plain": "a.jpg",
    "folders": "2024/a/b.jpg",
    "space": "a b.jpg",
    "plus": "a+b.jpg",
    "percent": "100%25.jpg",
    "unicode": "\u00fc\U0001f3ac \u6620.jpg",
    "marks": "a?b#c&d=e;f'g\"h.jpg",
}


@pytest.mark.parametrize("connection", ["archive", "far"])
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_short_object_arrives_whatever_its_key(
    key: str, connection: str, api: Api, picture: bytes, archive: S3ObjectStore, name: str
) -> None:
    key = f"{name}/{key}"
    archive.put(key, picture, HEADERS, overwrite=False)
    url = str(ObjectUrl(connection, key))

    file = _ingest(api, url, f"{name}-{connection}.jpg")

    assert file["source"] == url
    assert (file["type"], file["filesize"]) == ("image/jpeg", len(picture))
    assert file["checksum"] == f"sha256:{hashlib.sha256(picture).hexdigest()}"
    assert requests.get(str(file["url"]), timeout=10).content == picture


def test_the_order_that_the_page_shows_is_done_as_shown(
    inner: LocalStack, picture: bytes, archive: S3ObjectStore
) -> None:
    archive.put("2024/film #1.mp4", picture, HEADERS, overwrite=False)
    (block,) = find_blocks(read_page("docs/sources.md"), "console")
    ran = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", block.text.removeprefix("$ ")],
        env={
            "PATH": os.environ["PATH"],
            "HEADRACE_URL": inner.api_url,
            "HEADRACE_KEY": inner.api_key,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    file = json.loads(ran.stdout)["data"]
    assert (file["folder"], file["source"]) == ("films", "s3://archive/2024/film%20%231.mp4")


def test_a_long_object_is_copied_past_the_worker(
    inner: LocalStack,
    api: Api,
    media_folder: Path,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    name: str,
) -> None:
    # Two parts of 128 MiB at most.
    video = _make_video(media_folder, 130 * MIB)
    _put_in_parts(archive, name, video, 26 * MIB)
    moved = Moved(inner)

    ended = wait_for_end(
        api, create_task(api, f"s3://archive/{name}", folder="in", filename="long.mp4"), 60
    )

    assert ended["status"] == "complete", ended["error"]
    file = cast("JsonDict", ended["output"])
    assert moved.count(video.size_bytes) == (0, video.size_bytes)
    (attempt,) = cast("list[JsonDict]", ended["attempts"])
    assert attempt["bytes"] == video.size_bytes
    # The store knows none, and what the metadata say is worth nothing.
    assert file["checksum"] is None
    assert (file["type"], file["filesize"]) == ("video/mp4", video.size_bytes)
    assert file["duration"]
    assert _hash_stored(landing, "in/long.mp4") == video.hash_sha256()
    found = landing.describe("in/long.mp4")
    assert found is not None
    assert found.content_type == "video/mp4"
    assert found.metadata == {"headrace-file-id": file["id"], "headrace-attempt": "1"}
    assert list(landing.list_uploads()) == []


def test_a_copy_of_what_was_put_with_its_sha256_has_that_one(
    inner: LocalStack,
    api: Api,
    long_video: bytes,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    name: str,
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    moved = Moved(inner)

    file = _ingest(api, f"s3://archive/{name}", name)

    sha256 = hashlib.sha256(long_video).hexdigest()
    assert file["checksum"] == f"sha256:{sha256}"
    assert moved.count(len(long_video)) == (0, len(long_video))
    assert _hash_stored(landing, f"in/{name}") == sha256
    found = landing.describe(f"in/{name}")
    assert found is not None
    assert found.metadata["headrace-sha256"] == sha256


@pytest.mark.parametrize(
    ("connection", "checked"),
    [("streamed", False), ("far", False), ("archive", True)],
    ids=["told to stream", "another store", "a checksum to verify"],
)
def test_what_is_not_copied_passes_the_worker_and_has_its_sha256(
    connection: str,
    inner: LocalStack,
    api: Api,
    media_folder: Path,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    name: str,
    *,
    checked: bool,
) -> None:
    video = _make_video(media_folder, 2 * PART_BYTES + MIB)
    _put_in_parts(archive, name, video, PART_BYTES)
    checksum = f"sha256:{video.hash_sha256()}"
    moved = Moved(inner)

    more = {"checksum": checksum} if checked else {}
    file = _ingest(api, f"s3://{connection}/{name}", name, **more)

    assert file["checksum"] == checksum
    assert moved.count(video.size_bytes) == (video.size_bytes, 0)
    assert _hash_stored(landing, f"in/{name}") == video.hash_sha256()


def test_a_wrong_checksum_fails_and_nothing_is_visible(
    api: Api, long_video: bytes, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)

    error = _fail(
        api,
        f"s3://archive/{name}",
        "checksum_mismatch",
        filename=name,
        checksum="sha256:" + "0" * 64,
    )

    assert error["param"] == "checksum"
    assert landing.describe(name) is None
    assert list(landing.list_uploads()) == []


def test_a_page_is_told_from_media_before_anything_is_copied(
    inner: LocalStack, api: Api, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>".ljust(PART_BYTES + MIB)
    archive.put(name, page, HEADERS, overwrite=False)
    copied = _count(inner, "headrace_copied_bytes_total")

    _fail(api, f"s3://archive/{name}", "source_not_media", filename=name)

    assert landing.describe(name) is None
    assert list(landing.list_uploads()) == []
    assert _count(inner, "headrace_copied_bytes_total") == copied


def test_a_copy_is_no_way_around_the_longest_that_is_taken(
    api: Api, long_video: bytes, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    _fail(
        api,
        f"s3://archive/{name}",
        "source_too_large",
        filename=name,
        max_bytes=len(long_video) - 1,
    )
    assert landing.describe(name) is None
    _ingest(api, f"s3://archive/{name}", name, max_bytes=len(long_video))


def test_a_copy_replaces_no_object_of_somebody_elses(
    api: Api, long_video: bytes, archive: S3ObjectStore, landing: S3ObjectStore, name: str
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    landing.put(name, b"theirs", HEADERS, overwrite=False)
    _fail(api, f"s3://archive/{name}", "file_exists", filename=name)
    assert _hash_stored(landing, name) == hashlib.sha256(b"theirs").hexdigest()
    assert list(landing.list_uploads()) == []


@pytest.mark.parametrize("connection", ["archive", "far", "streamed"])
def test_an_object_that_is_not_there_is_not_found(connection: str, api: Api, name: str) -> None:
    error = _fail(api, f"s3://{connection}/{name}", "source_not_found")
    assert (error["param"], error["message"]) == ("url", "The source answered 404.")


def test_a_bucket_that_is_not_there_is_not_found(api: Api) -> None:
    _fail(api, "s3://nowhere/a.mp4", "source_not_found")


@pytest.mark.parametrize(
    "url",
    [
        "s3://unknown/done/a.mp4",
        "s3://others/done/a.mp4",
        "s3://part/doing/a.mp4",
        "s3://archive//done/a.mp4",
        "s3://archive/done//a.mp4",
        "s3://archive/%5Cdone%5Ca.mp4",
    ],
    ids=[
        "no connection",
        "another project's",
        "outside the prefix",
        "a slash first",
        "two slashes",
        "backslashes",
    ],
)
def test_what_a_project_may_not_read_is_refused_alike_and_no_task_is_made(
    url: str, api: Api, records: Database, origin_free_url: str
) -> None:
    def count() -> int:
        with records.transaction() as connection:
            return connection.execute(select(func.count()).select_from(tasks)).scalar_one()

    task = create_task(api, origin_free_url)
    before = count()
    for answer in (
        api.post("/files", {"url": url}),
        api.post("/tasks", {"kind": "ingest", "url": url}),
        api.patch(f"/tasks/{task['id']}", {"url": url}),
    ):
        error = read_error(answer, 422, "field_invalid")
        assert (error["message"], error["param"]) == (REFUSED, "url")
    assert count() == before
    assert read_object(api.get(f"/tasks/{task['id']}"))["input"] == {
        "url": origin_free_url,
        "folder": None,
        "filename": None,
    }


@pytest.mark.parametrize("connection", ["own", "own-again"])
def test_a_file_of_ours_is_no_source_whatever_the_key_it_is_asked_for_by(
    connection: str,
    inner: LocalStack,
    api: Api,
    picture: bytes,
    long_video: bytes,
    landing: S3ObjectStore,
    name: str,
) -> None:
    ours = replace(HEADERS, metadata={"headrace-file-id": "file_1", "headrace-attempt": "1"})
    landing.put(f"inbox/{name}", picture, ours, overwrite=False)
    landing.put(f"inbox/long-{name}", long_video, ours, overwrite=False)
    landing.put(f"inbox/theirs-{name}", picture, HEADERS, overwrite=False)
    copied = _count(inner, "headrace_copied_bytes_total")

    keys = [name, f"long-{name}"]
    if connection == "own-again":
        # Which is no store of ours by its address, so that its keys are taken as they come.
        keys += [f"/{name}", f"%5C{name}"]
    for key in keys:
        _fail(api, f"s3://{connection}/inbox/{key}", "source_forbidden")
    _ingest(api, f"s3://{connection}/inbox/theirs-{name}", f"{name}-{connection}")

    assert _count(inner, "headrace_copied_bytes_total") == copied


@pytest.mark.parametrize("place", [{"folder": "inbox"}, {"folder": "inbox/a", "filename": "b"}])
def test_no_file_is_put_where_a_connection_reads(
    place: dict[str, str], api: Api, origin_free_url: str
) -> None:
    error = _fail(api, origin_free_url, "field_invalid", **place)
    assert error["param"] == "folder"
    assert "a place for sources" in str(error["message"])


def test_a_key_of_a_connection_that_its_store_refuses_is_worth_another_try(
    api: Api, picture: bytes, archive: S3ObjectStore, name: str
) -> None:
    archive.put(name, picture, HEADERS, overwrite=False)
    error = _fail(api, f"s3://locked-out/{name}", "source_unavailable")
    assert error["message"] == (
        "The store of 's3://locked-out' refuses the connection's key, clock or region "
        "(SignatureDoesNotMatch)."
    )


@pytest.fixture
def origin_free_url(source: Origin, picture: bytes) -> str:
    """A source of no connection."""
    return source.serve("/plain.jpg", picture)


def test_a_key_under_the_prefix_is_read(
    api: Api, picture: bytes, archive: S3ObjectStore, name: str
) -> None:
    archive.put(f"done/{name}", picture, HEADERS, overwrite=False)
    assert _ingest(api, f"s3://part/done/{name}", f"{name}.jpg")["filesize"] == len(picture)


def test_a_task_may_be_given_an_object_for_its_url(
    api: Api, source: Origin, picture: bytes, archive: S3ObjectStore, name: str
) -> None:
    archive.put(name, picture, HEADERS, overwrite=False)
    task = wait_for_end(api, create_task(api, source.serve("/gone", status=404)))
    assert list_errors(task) == ["source_not_found"]

    read_object(api.patch(f"/tasks/{task['id']}", {"url": f"s3://archive/{name}"}))
    read_object(api.post(f"/tasks/{task['id']}/retry", {}))

    ended = wait_for_end(api, task)
    assert ended["status"] == "complete"
    assert cast("JsonDict", ended["output"])["source"] == f"s3://archive/{name}"


def test_a_connection_that_was_taken_away_meanwhile_fails_its_task(
    api: Api, source: Origin, records: Database
) -> None:
    task = wait_for_end(api, create_task(api, source.serve("/gone", status=404)))
    with records.transaction() as connection:
        connection.execute(
            sql("UPDATE tasks SET url = 's3://taken-away/a.mp4' WHERE id = :id"), {"id": task["id"]}
        )
    read_object(api.post(f"/tasks/{task['id']}/retry", {}))

    error = cast("JsonDict", wait_for_end(api, task)["error"])
    assert (error["code"], error["retryable"]) == ("source_forbidden", False)


def test_a_users_url_gains_nothing_from_a_connection_to_its_address(
    api: Api, outer: Settings, proxy: FaultProxy, hidden: Origin, picture: bytes, source: Origin
) -> None:
    hidden.serve("/plain.jpg", picture)
    hidden.serve("/odd/a.jpg", picture)
    # The connection has been used, and its connections are kept.
    _ingest(api, "s3://odd/a.jpg", "through-a-connection.jpg")
    targets = [
        f"{outer.s3_endpoint}/x/y.jpg",
        f"http://127.0.0.1:{proxy.port}/x/y.jpg",
        hidden.url("/plain.jpg"),
    ]
    for number, target in enumerate(targets):
        _fail(api, target, "address_blocked")
        _fail(api, source.redirect(f"/to/{number}", target), "address_blocked")


@pytest.mark.parametrize("target", ["s3://archive/a.mp4", "S3://part/done/a.mp4"])
def test_a_redirect_to_an_object_stays_refused(target: str, api: Api, source: Origin) -> None:
    error = _fail(api, source.redirect("/to-object", target), "source_invalid")
    assert "takes http or https" in str(error["message"])


def test_a_redirect_of_a_connections_server_is_not_followed(
    api: Api, hidden: Origin, source: Origin, picture: bytes
) -> None:
    asked = source.serve("/from-endpoint.jpg", picture)
    for number, target in enumerate((asked, hidden.url("/plain.jpg"), "http://169.254.169.254/")):
        hidden.redirect(f"/odd/{number}.jpg", target)
        error = _fail(api, f"s3://odd/{number}.jpg", "source_unavailable")
        assert "key, clock or region (302)" in str(error["message"])
    assert source.list_served("/from-endpoint.jpg") == []


def test_a_connections_server_that_forbids_is_told_by_its_name_alone(
    api: Api, hidden: Origin
) -> None:
    hidden.serve("/odd/forbidden.jpg", status=403)
    _fail(api, "s3://odd/forbidden.jpg", "source_forbidden")
    hidden.serve_raw("/odd/broken.jpg", b"")
    error = _fail(api, "s3://odd/broken.jpg", "source_unavailable")
    assert "'s3://odd'" in str(error["message"])
    assert "127.0.0.1" not in str(error["message"])


def test_a_download_that_drops_goes_on_under_another_signature(
    api: Api, hidden: Origin, long_video: bytes, name: str
) -> None:
    whole = Reply(body=long_video, ranges=True, etag='"a"')
    hidden.route(f"/odd/{name}", replace(whole, cut=Cut(len(long_video) // 2)), whole)

    file = _ingest(api, f"s3://odd/{name}", name)

    assert file["checksum"] == f"sha256:{hashlib.sha256(long_video).hexdigest()}"
    first, second = hidden.list_served(f"/odd/{name}")
    assert (first.range, second.if_range) == ("bytes=0-", '"a"')


def test_a_slow_store_is_read_over_several_connections(
    api: Api, hidden: Origin, media_folder: Path, name: str
) -> None:
    video = _make_video(media_folder, 8 * PART_BYTES)
    slowly = Drip(256 * 1024, 0.04)
    hidden.route(f"/odd/{name}", Reply(body=video, ranges=True, etag='"s"', drip=slowly))

    ended = wait_for_end(api, create_task(api, f"s3://odd/{name}", folder="in", filename=name), 60)

    assert ended["status"] == "complete", ended["error"]
    file = cast("JsonDict", ended["output"])
    assert file["checksum"] == f"sha256:{video.hash_sha256()}"
    assert len([one for one in hidden.list_served(f"/odd/{name}") if one.if_range == '"s"']) >= 4


def test_a_worker_that_is_killed_in_the_middle_of_a_copy_leaves_no_upload(
    inner: LocalStack,
    api: Api,
    long_video: bytes,
    archive: S3ObjectStore,
    landing: S3ObjectStore,
    proxy: FaultProxy,
    name: str,
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    # The store has copied long before the worker hears of it.
    proxy.delay(0.7)
    try:
        task = create_task(api, f"s3://archive/{name}", folder="in", filename=name, max_attempts=3)

        def find_copied() -> bool:
            parts = [landing.list_parts(one.upload) for one in landing.list_uploads()]
            return any(parts)

        wait_until(find_copied, "a copied part", 30)
        pid = inner.processes["worker"]
        inner.kill("worker")
        assert landing.describe(f"in/{name}") is None
    finally:
        proxy.heal()
    wait_until(lambda: inner.processes.get("worker") not in {None, pid}, "another worker")

    ended = wait_for_end(api, task, 60)

    assert ended["status"] == "complete", ended["error"]
    assert list_errors(ended) == ["lease_lost", None]
    assert _hash_stored(landing, f"in/{name}") == hashlib.sha256(long_video).hexdigest()
    assert list(landing.list_uploads()) == []


def test_no_signed_address_is_written_down_anywhere(
    inner: LocalStack, api: Api, records: Database
) -> None:
    logs = [(inner.home.logs / f"{role}.log").read_text() for role in ("api", "worker", "beat")]
    assert '"copy.done"' in logs[1]
    with records.transaction() as connection:
        rows = [
            str(row)
            for table in ("tasks", "files", "attempts", "uploads")
            for row in connection.execute(sql(f"SELECT * FROM {table}"))  # noqa: S608
        ]
    answers = [api.get("/tasks?limit=100").text, api.get("/files?limit=100").text]
    for written in (*logs, *rows, *answers):
        assert "X-Amz-" not in written
        assert "Signature=" not in written

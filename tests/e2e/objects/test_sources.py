"""``s3://`` sources read by signed addresses, whatever their keys."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import requests

from cli.local import LocalStack
from ingest.urls import ObjectUrl
from storage.objects.s3 import S3ObjectStore
from tests.e2e.objects.examples import HEADERS, PART_BYTES, fail, ingest, make_video
from tests.support.api import Api, JsonDict, read_object
from tests.support.origin import Cut, Drip, Origin, Reply
from tests.support.pages import find_blocks, read_page
from tests.support.tasks import create_task, list_errors, wait_for_end

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

    file = ingest(api, url, f"{name}-{connection}.jpg")

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


@pytest.mark.parametrize("connection", ["archive", "far", "streamed"])
def test_an_object_that_is_not_there_is_not_found(connection: str, api: Api, name: str) -> None:
    error = fail(api, f"s3://{connection}/{name}", "source_not_found")
    assert (error["param"], error["message"]) == ("url", "The source answered 404.")


def test_a_bucket_that_is_not_there_is_not_found(api: Api) -> None:
    fail(api, "s3://nowhere/a.mp4", "source_not_found")


def test_a_key_under_the_prefix_is_read(
    api: Api, picture: bytes, archive: S3ObjectStore, name: str
) -> None:
    archive.put(f"done/{name}", picture, HEADERS, overwrite=False)
    assert ingest(api, f"s3://part/done/{name}", f"{name}.jpg")["filesize"] == len(picture)


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


def test_a_download_that_drops_goes_on_under_another_signature(
    api: Api, hidden: Origin, long_video: bytes, name: str
) -> None:
    whole = Reply(body=long_video, ranges=True, etag='"a"')
    hidden.route(f"/odd/{name}", replace(whole, cut=Cut(len(long_video) // 2)), whole)

    file = ingest(api, f"s3://odd/{name}", name)

    assert file["checksum"] == f"sha256:{hashlib.sha256(long_video).hexdigest()}"
    first, second = hidden.list_served(f"/odd/{name}")
    assert (first.range, second.if_range) == ("bytes=0-", '"a"')


def test_a_slow_store_is_read_over_several_connections(
    api: Api, hidden: Origin, media_folder: Path, name: str
) -> None:
    video = make_video(media_folder, 8 * PART_BYTES)
    slowly = Drip(256 * 1024, 0.04)
    hidden.route(f"/odd/{name}", Reply(body=video, ranges=True, etag='"s"', drip=slowly))

    ended = wait_for_end(api, create_task(api, f"s3://odd/{name}", folder="in", filename=name), 60)

    assert ended["status"] == "complete", ended["error"]
    file = cast("JsonDict", ended["output"])
    assert file["checksum"] == f"sha256:{video.hash_sha256()}"
    assert len([one for one in hidden.list_served(f"/odd/{name}") if one.if_range == '"s"']) >= 4

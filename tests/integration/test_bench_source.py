"""The benchmark's source serves what its other side expects, to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bench.media import Media
from bench.processes import LineProcess
from ingest.config import MIB

_JPEG_BYTES = 50_000


@pytest.fixture(scope="module")
def media(media_folder: Path) -> Media:
    made = Media(media_folder)
    made.prepare()
    return made


@pytest.fixture(scope="module")
def source(media: Media, media_folder: Path) -> Iterator[LineProcess]:
    arguments = ["--folder", str(media_folder), "--mp4", str(3 * MIB), "--jpeg", str(_JPEG_BYTES)]
    with LineProcess("bench.source", arguments) as process:
        yield process


def test_a_video_is_served_whole_or_in_ranges(source: LineProcess, media: Media) -> None:
    url = source.url + source.ready["videos"][0]
    whole = requests.get(url, timeout=10)
    etag = whole.headers["ETag"]
    part = requests.get(url, headers={"Range": "bytes=1000-2000999", "If-Range": etag}, timeout=10)
    changed = requests.get(
        url, headers={"Range": "bytes=1000-2000999", "If-Range": '"other"'}, timeout=10
    )
    beyond = requests.get(url, headers={"Range": f"bytes={3 * MIB}-"}, timeout=10)
    head = requests.head(url, timeout=10)

    assert hashlib.sha256(whole.content).hexdigest() == media.make_mp4(3 * MIB).hash_sha256()
    assert (part.status_code, part.content) == (206, whole.content[1000:2_001_000])
    assert part.headers["Content-Range"] == f"bytes 1000-2000999/{3 * MIB}"
    assert (changed.status_code, changed.content) == (200, whole.content)
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{3 * MIB}")
    assert head.headers["Content-Length"] == str(3 * MIB)


def test_no_two_pictures_are_alike(source: LineProcess, media: Media) -> None:
    pictures = [
        requests.get(f"{source.url}/jpeg/{number}.jpg", timeout=10).content for number in range(2)
    ]

    assert [len(picture) for picture in pictures] == [_JPEG_BYTES, _JPEG_BYTES]
    assert [hashlib.sha256(picture).hexdigest() for picture in pictures] == [
        media.hash_jpeg(_JPEG_BYTES, number) for number in range(2)
    ]


def test_what_is_not_there_is_not_found(source: LineProcess) -> None:
    assert requests.get(f"{source.url}/mp4/1.mp4", timeout=10).status_code == 404

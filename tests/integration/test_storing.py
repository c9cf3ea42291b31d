"""What storing does with the worker's memory, on the real store: all of it is given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.headrace_peer import HeadracePeer
from ingest.config import MIB, Settings
from ingest.errors import IngestError, SourceNotMedia, SourceTruncated
from tests.support.media import make_media
from tests.support.origin import Cut, Origin, Reply
from tests.support.padding import pad_mp4

PART_BYTES = 5 * MIB


@pytest.fixture
def peer(settings: Settings) -> Iterator[HeadracePeer]:
    """What a worker moves bytes with; no probe."""
    peer = HeadracePeer(settings.model_copy(update={"part_bytes": PART_BYTES}))
    yield peer
    peer._tools.egress.close()
    for executor in (peer._tools.readers, peer._tools.senders, peer._slots):
        executor.shutdown()


def _list_idle(peer: HeadracePeer) -> list[int]:
    return [id(buffer) for buffer in peer._tools.buffers._idle]


def test_files_of_one_part_are_read_into_the_same_memory_again_and_again(
    peer: HeadracePeer, origin: Origin, media_folder: Path
) -> None:
    picture = make_media("jpeg", media_folder).read_bytes()
    url = origin.serve("/storing/picture.jpg", picture)
    peer.transfer_one(url, "storing/0.jpg")
    (idle,) = _list_idle(peer)
    for number in range(1, 4):
        peer.transfer_one(url, f"storing/{number}.jpg")
        assert _list_idle(peer) == [idle]


@pytest.mark.parametrize(("name", "error"), [("html", SourceNotMedia), ("short", SourceTruncated)])
def test_what_is_refused_gives_its_memory_back(
    name: str, error: type[IngestError], peer: HeadracePeer, origin: Origin
) -> None:
    replies = {
        "html": Reply(body=b"<html>no</html>"),
        "short": Reply(body=bytes(1000), cut=Cut(500)),
    }
    url = origin.route(f"/storing/{name}", replies[name])
    with pytest.raises(error):
        peer.transfer_one(url, f"storing/{name}")
    assert len(_list_idle(peer)) == 1


def test_a_file_of_many_parts_gives_all_of_its_memory_back(
    peer: HeadracePeer, origin: Origin, media_folder: Path
) -> None:
    video = pad_mp4(make_media("mp4", media_folder).read_bytes(), 3 * PART_BYTES)
    peer.transfer_one(origin.serve("/storing/video.mp4", video), "storing/video.mp4")
    first = set(_list_idle(peer))
    assert len(first) >= 2
    peer.transfer_one(origin.serve("/storing/again.mp4", video), "storing/again.mp4")
    assert first <= set(_list_idle(peer))

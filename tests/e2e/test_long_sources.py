"""Bad sources of several parts: the upload is aborted, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from ingest.config import MIB
from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, JsonDict, read_object
from tests.support.leftovers import fail_cleanly, list_uploads, make_order
from tests.support.media import make_media
from tests.support.origin import Cut, Ending, Framing, Generated, Origin, Reply, Stall
from tests.support.padding import pad_mp4

LONG_BYTES = 20 * MIB
# Within the third part.
LATE = 18 * MIB + 5

CASES: dict[str, tuple[str, Callable[[Generated], Reply], JsonDict]] = {
    "ends early": ("source_truncated", lambda long: Reply(body=long, cut=Cut(LATE)), {}),
    "ends between two parts": (
        "source_truncated",
        lambda long: Reply(body=long, cut=Cut(16 * MIB)),
        {},
    ),
    "ends within a chunk": (
        "source_truncated",
        lambda long: Reply(body=long, framing=Framing.CHUNKED, cut=Cut(LATE)),
        {},
    ),
    "is reset": (
        "source_unavailable",
        lambda long: Reply(body=long, cut=Cut(LATE, Ending.RESET)),
        {},
    ),
    "falls silent": (
        "source_timeout",
        lambda long: Reply(body=long, stall=Stall(at_bytes=LATE)),
        {},
    ),
    "has another sha256": (
        "checksum_mismatch",
        lambda long: Reply(body=long),
        {"checksum": "sha256:" + "0" * 64},
    ),
    "has another md5": (
        "checksum_mismatch",
        lambda long: Reply(body=long, framing=Framing.CHUNKED),
        {"checksum": "md5:" + "0" * 32},
    ),
    "is found longer than asked": (
        "source_too_large",
        lambda long: Reply(body=long, framing=Framing.CHUNKED),
        {"max_bytes": LONG_BYTES - 1},
    ),
    "is an mp4 of noise": (
        "probe_failed",
        lambda long: Reply(body=Generated(LONG_BYTES, head=long.head[:32])),
        {},
    ),
    "is noise": ("source_not_media", lambda _: Reply(body=Generated(LONG_BYTES)), {}),
}


@pytest.fixture(scope="module")
def long_video(media_folder: Path) -> Generated:
    """A video of three parts."""
    return pad_mp4(make_media("mp4", media_folder).read_bytes(), LONG_BYTES)


@pytest.mark.parametrize(("code", "make", "more"), CASES.values(), ids=CASES.keys())
def test_a_bad_source_of_several_parts_fails_with_its_typed_error_and_leaves_nothing(
    code: str,
    make: Callable[[Generated], Reply],
    more: JsonDict,
    api: Api,
    origin: Origin,
    store: S3ObjectStore,
    long_video: Generated,
    picture_url: str,
) -> None:
    order = make_order("", **more)
    order["url"] = origin.route(f"/{order['folder']}", make(long_video))

    fail_cleanly(api, store, order, code, picture_url)


@pytest.mark.parametrize("case", ["mp4", "mp4_moov_last"])
@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("size_bytes", [8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB, LONG_BYTES])
def test_a_good_source_of_any_length_arrives_whole(
    case: str,
    framing: Framing,
    size_bytes: int,
    api: Api,
    origin: Origin,
    store: S3ObjectStore,
    media_folder: Path,
) -> None:
    video = pad_mp4(make_media(case, media_folder).read_bytes(), size_bytes)
    order = make_order("")
    order["url"] = origin.serve(f"/{order['folder']}", video, framing=framing)

    file = read_object(api.post("/files", order), 201)

    assert (file["filesize"], file["duration"], file["type"]) == (size_bytes, 1.0, "video/mp4")
    assert file["checksum"] == f"sha256:{video.hash_sha256()}"
    stored = store.describe(f"{order['folder']}/a.bin")
    assert stored is not None
    assert (stored.size_bytes, stored.content_type) == (size_bytes, "video/mp4")
    assert list_uploads(store) == []
    end = requests.get(str(file["url"]), headers={"Range": "bytes=-50"}, timeout=10)
    assert end.content == b"".join(video.read_pieces(size_bytes - 50, size_bytes))
    api.delete(f"/files/{file['id']}")

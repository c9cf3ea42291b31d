"""What the sink makes of bodies and parts."""

from __future__ import annotations

import hashlib

import pytest

from bench.sink.chunked import ChunkedDecoder
from bench.sink.objects import Body, Objects

_FRAMED = (
    b"5;chunk-signature=ab\r\nhello\r\n"
    b"6\r\n world\r\n"
    b"0;chunk-signature=cd\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"
)


@pytest.mark.parametrize("size_bytes", [1, 2, 3, 7, len(_FRAMED)])
def test_frames_are_taken_off_however_the_body_is_cut(size_bytes: int) -> None:
    decoder = ChunkedDecoder()
    pieces = [_FRAMED[at : at + size_bytes] for at in range(0, len(_FRAMED), size_bytes)]

    assert b"".join(decoder.feed(piece) for piece in pieces) == b"hello world"
    assert decoder.ended


def test_a_body_that_goes_on_has_not_ended() -> None:
    decoder = ChunkedDecoder()

    assert decoder.feed(b"5\r\nhel") == b"hel"
    assert not decoder.ended


@pytest.mark.parametrize("body", [b"2\r\nhello\r\n", b"no length\r\n", b"1" * 5000])
def test_what_is_not_framed_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"longer|literal|end"):
        ChunkedDecoder().feed(body)


def _body(content: bytes) -> Body:
    return Body(len(content), content[:4], content)


def test_parts_are_hashed_in_their_order_whenever_they_come() -> None:
    objects = Objects()
    upload = objects.begin("key", {"Content-Type": "video/mp4"})
    for number, content in ((2, b"second"), (3, b"third"), (1, b"first")):
        objects.put_part(upload, number, _body(content))
    stored = objects.complete(upload)

    assert stored is not None
    assert stored.sha256 == hashlib.sha256(b"firstsecondthird").hexdigest()
    assert (stored.size_bytes, stored.head, stored.etag[-2:]) == (16, b"firs", "-3")
    assert objects.find("key") == stored


def test_nothing_is_claimed_of_an_object_with_a_hole() -> None:
    objects = Objects()
    upload = objects.begin("key", {})
    objects.put_part(upload, 2, _body(b"second"))
    stored = objects.complete(upload)

    assert stored is not None
    assert stored.sha256 is None


def test_nothing_is_claimed_of_an_object_whose_part_came_twice() -> None:
    objects = Objects()
    upload = objects.begin("key", {})
    objects.put_part(upload, 1, _body(b"first"))
    objects.put_part(upload, 1, _body(b"other"))
    stored = objects.complete(upload)

    assert stored is not None
    assert stored.sha256 is None


def test_an_upload_that_was_aborted_is_gone() -> None:
    objects = Objects()
    upload = objects.begin("key", {})
    objects.abort(upload)

    assert objects.put_part(upload, 1, _body(b"late")) is None
    assert objects.complete(upload) is None
    assert objects.find("key") is None


def test_without_content_only_sizes_are_known() -> None:
    objects = Objects()
    stored = objects.put("a", Body(7, b"head", None), {})

    assert (stored.size_bytes, stored.sha256) == (7, None)
    assert list(objects.list("a")) == ["a"]
    assert objects.list("b") == {}

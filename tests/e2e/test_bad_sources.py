"""Sources that are not what they should be: the typed error, and nothing half stored."""

from __future__ import annotations

import gzip
import hashlib
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import crc32c
import pytest

from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, JsonDict, read_object
from tests.support.leftovers import fail_cleanly, make_order
from tests.support.media import make_media
from tests.support.origin import Cut, Drip, Ending, Framing, Origin, Reply, Stall

NOISE = random.Random(7).randbytes(4000)


@dataclass(frozen=True)
class Bad:
    """A source that fails.

    ``make`` gets a good video and returns the reply; ``order`` is what else was asked.
    """

    code: str
    make: Callable[[bytes], Reply]
    order: JsonDict = field(default_factory=dict)


def _status(status: int, **headers: str) -> Callable[[bytes], Reply]:
    return lambda video: Reply(status=status, body=video, headers=headers)


def _body(body: bytes, content_type: str = "video/mp4") -> Callable[[bytes], Reply]:
    return lambda _: Reply(body=body, content_type=content_type)


def _encode(name: str) -> Callable[[bytes], Reply]:
    return lambda video: Reply(body=gzip.compress(video), headers={"Content-Encoding": name})


def _redirect(location: str) -> Callable[[bytes], Reply]:
    return lambda _: Reply(status=301, headers={"Location": location})


def _lengths(*values: str) -> Callable[[bytes], Reply]:
    return lambda video: Reply(body=video, content_lengths=values)


def _ranges(header: bytes) -> Callable[[bytes], Reply]:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100\r\n" + header
    return lambda video: Reply(raw=head + b"\r\n" + video[:100])


def _raw(raw: bytes) -> Callable[[bytes], Reply]:
    return lambda _: Reply(raw=raw)


STATUSES = {
    f"answers {status}": Bad(code, _status(status))
    for code, statuses in {
        "source_not_found": (404, 410),
        "source_forbidden": (401, 402, 403, 407, 451),
        "source_unavailable": (408, 425, 429, 500, 502, 503, 504, 599),
        "source_empty": (204, 205, 416),
        "source_invalid": (201, 300, 304, 400, 405, 418),
    }.items()
    for status in statuses
}
NO_MEDIA = {
    "is empty": Bad("source_empty", _body(b"")),
    "is empty in chunks": Bad("source_empty", lambda _: Reply(framing=Framing.CHUNKED)),
    "is empty until the close": Bad("source_empty", lambda _: Reply(framing=Framing.CLOSE)),
    **{
        f"is {name}": Bad("source_not_media", _body(body))
        for name, body in {
            "text": b"Hello, I am a video.\n",
            "HTML": b"<!DOCTYPE html><html><title>Sign in</title></html>",
            "HTML after white space": b"\xef\xbb\xbf\n\n <HTML><body>Sign in",
            "JSON": b'{"error": "AccessDenied"}',
            "XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            "a PDF": b"%PDF-1.7\n" + NOISE,
            "a zip": b"PK\x03\x04" + NOISE,
            "a gzip": gzip.compress(NOISE),
            "an HLS playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/secret.ts\n",
            "a concat script": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
            "an SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
            "a DASH manifest": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>',
            "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///a"/></svg>',
            "subtitles": b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n",
            "a program": b"\x7fELF\x02\x01\x01" + NOISE,
            "noise": NOISE,
            "one byte": b"\x00",
            "zeros": bytes(5000),
        }.items()
    },
}
BROKEN = {
    "is an mp4 of noise": lambda video: video[:32] + NOISE,
    "is an mp4's first box": lambda video: video[:32],
    "is a JPEG of noise": lambda _: b"\xff\xd8\xff\xe0" + NOISE,
    "is a Matroska of noise": lambda _: b"\x1aE\xdf\xa3" + NOISE,
    "is a song of noise": lambda _: b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(3000),
    "is a wav without a song": lambda _: b"RIFF\x24\x00\x00\x00WAVE",
    "is a gif without pixels": lambda _: b"GIF89a",
}
CUT = {
    "ends before its length": Bad(
        "source_truncated", lambda v: Reply(body=v, cut=Cut(len(v) // 2))
    ),
    "ends one byte early": Bad("source_truncated", lambda v: Reply(body=v, cut=Cut(len(v) - 1))),
    "ends before its first byte": Bad("source_truncated", lambda v: Reply(body=v, cut=Cut(0))),
    "announces one byte more": Bad(
        "source_truncated", lambda v: Reply(body=v, content_lengths=(str(len(v) + 1),))
    ),
    "ends within a chunk": Bad(
        "source_truncated",
        lambda v: Reply(body=v, framing=Framing.CHUNKED, cut=Cut(len(v) // 2)),
    ),
    "ends without the last chunk": Bad(
        "source_truncated",
        _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGIF89\r\n"),
    ),
    "has a chunk that is none": Bad(
        "source_truncated",
        _raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nGIF89a and more of it"),
    ),
    "is reset midway": Bad(
        "source_unavailable", lambda v: Reply(body=v, cut=Cut(len(v) // 2, Ending.RESET))
    ),
}
FRAMED = {
    **{
        f"is encoded as {name}": Bad(
            "source_invalid",
            _encode(name),
        )
        for name in ("gzip", "br", "deflate", "identity, gzip", "x-unheard-of")
    },
    "announces two lengths": Bad("source_invalid", _lengths("100", "200")),
    "announces two lengths in one": Bad("source_invalid", _lengths("100, 200")),
    "announces a word": Bad("source_invalid", _lengths("many")),
    "announces a negative length": Bad("source_invalid", _lengths("-5")),
    "announces a signed length": Bad("source_invalid", _lengths("+100")),
    "announces hexadecimal": Bad("source_invalid", _lengths("0x10")),
    "announces other digits": Bad("source_invalid", _lengths("\u0661")),
    "announces nothing at all": Bad("source_invalid", _lengths("")),
    "announces chunks and a length": Bad(
        "source_invalid",
        lambda v: Reply(body=v, framing=Framing.CHUNKED, content_lengths=(str(len(v)),)),
    ),
    "is another range": Bad("source_invalid", _ranges(b"Content-Range: bytes 1-100/101\r\n")),
    "is a part of the range": Bad("source_invalid", _ranges(b"Content-Range: bytes 0-99/5000\r\n")),
    "is a longer range than its body": Bad(
        "source_invalid", _ranges(b"Content-Range: bytes 0-199/200\r\n")
    ),
    "is a range without saying so": Bad("source_invalid", _ranges(b"")),
    "is a range of words": Bad("source_invalid", _ranges(b"Content-Range: bytes all of it\r\n")),
    "is several ranges": Bad(
        "source_invalid", _ranges(b"Content-Type: multipart/byteranges; boundary=x\r\n")
    ),
    "speaks another protocol": Bad("source_invalid", _raw(b"SSH-2.0-OpenSSH_9.9\r\n")),
    "speaks no protocol": Bad("source_invalid", _raw(NOISE)),
    "hangs up": Bad("source_unavailable", _raw(b"")),
    "has an endless header": Bad(
        "source_invalid", _raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
    ),
    "has endless headers": Bad(
        "source_invalid", _raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n")
    ),
}
ASKED = {
    "is announced longer than asked": Bad(
        "source_too_large", lambda v: Reply(body=v), {"max_bytes": 100}
    ),
    "is one byte longer than asked": Bad(
        "source_too_large",
        lambda _: Reply(body=b"GIF89a" + bytes(95), framing=Framing.CHUNKED),
        {"max_bytes": 100},
    ),
    "is found longer than asked": Bad(
        "source_too_large", lambda v: Reply(body=v, framing=Framing.CHUNKED), {"max_bytes": 100}
    ),
    "has another sha256": Bad(
        "checksum_mismatch", lambda v: Reply(body=v), {"checksum": "sha256:" + "0" * 64}
    ),
    "has another md5": Bad(
        "checksum_mismatch", lambda v: Reply(body=v), {"checksum": "md5:" + "f" * 32}
    ),
    "has another crc32c": Bad(
        "checksum_mismatch", lambda v: Reply(body=v), {"checksum": "crc32c:00000000"}
    ),
}
SLOW = {
    "does not answer": Bad("source_timeout", lambda v: Reply(body=v, stall=Stall())),
    "falls silent": Bad("source_timeout", lambda v: Reply(body=v, stall=Stall(at_bytes=1000))),
    "drips": Bad("source_too_slow", lambda v: Reply(body=v, drip=Drip(10, 0.1))),
}
REDIRECTS = {
    "redirects to nowhere": Bad("source_invalid", lambda _: Reply(status=302)),
    **{
        f"redirects to {location}": Bad("source_invalid", _redirect(location))
        for location in (
            "ftp://nowhere.invalid/a.mp4",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "http://user:secret@nowhere.invalid/",
            "http://nowhere.invalid:99999/",
            "http://",
            "\\\\nowhere.invalid\\a",
        )
    },
    "redirects to an unknown host": Bad("source_dns", _redirect("http://nowhere.invalid/")),
}
CASES = STATUSES | NO_MEDIA | CUT | FRAMED | ASKED | SLOW | REDIRECTS


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES.keys())
def test_a_bad_source_fails_with_its_typed_error_and_leaves_nothing(
    bad: Bad, api: Api, origin: Origin, store: S3ObjectStore, video: bytes, picture_url: str
) -> None:
    order = make_order("", **bad.order)
    order["url"] = origin.route(f"/{order['folder']}", bad.make(video))

    fail_cleanly(api, store, order, bad.code, picture_url)


@pytest.mark.parametrize("cut", BROKEN.values(), ids=BROKEN.keys())
def test_what_only_looks_like_media_fails_in_the_probe(
    cut: Callable[[bytes], bytes],
    api: Api,
    origin: Origin,
    store: S3ObjectStore,
    video: bytes,
    picture_url: str,
) -> None:
    order = make_order("")
    order["url"] = origin.serve(f"/{order['folder']}", cut(video))

    fail_cleanly(api, store, order, "probe_failed", picture_url)


def test_an_mp4_that_was_cut_before_its_index_fails_in_the_probe(
    api: Api, origin: Origin, store: S3ObjectStore, media_folder: Path, picture_url: str
) -> None:
    whole = make_media("mp4_moov_last", media_folder).read_bytes()
    order = make_order("")
    order["url"] = origin.serve(f"/{order['folder']}", whole[: len(whole) // 2])

    fail_cleanly(api, store, order, "probe_failed", picture_url)


def test_a_checksum_that_is_right_is_taken_in_any_algorithm_and_case(
    api: Api, picture: bytes, picture_url: str
) -> None:
    for checksum in (
        f"sha256:{hashlib.sha256(picture).hexdigest()}",
        f"md5:{hashlib.md5(picture).hexdigest().upper()}",  # noqa: S324 - what was asked for
        f"CRC32C:{crc32c.crc32c(picture):08x}",
    ):
        read_object(api.post("/files", {"url": picture_url, "checksum": checksum}), 201)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(framing=Framing.CHUNKED),
        Reply(framing=Framing.CLOSE),
        Reply(ranges=True),
        Reply(headers={"Content-Encoding": "identity"}),
        Reply(content_type=None),
        Reply(content_type="text/html"),
        Reply(content_type='video/mp4; "broken'),
        Reply(drip=Drip(200, 0.01)),
    ],
    ids=repr,
)
def test_a_source_that_is_merely_odd_is_taken(
    reply: Reply, api: Api, origin: Origin, picture: bytes
) -> None:
    url = origin.route(f"/odd/{secrets.token_hex(4)}", replace(reply, body=picture))
    file = read_object(api.post("/files", {"url": url, "max_bytes": len(picture)}), 201)
    assert (file["type"], file["filesize"]) == ("image/jpeg", len(picture))

"""Sources whose answers lie: about their end, their pace, their range, their way or their type."""

from __future__ import annotations

import functools
import gzip
import itertools
import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from cli.local import LocalStack
from storage.objects.s3 import S3ObjectStore
from tests.e2e.test_bad_sources import Bad
from tests.support.api import Api
from tests.support.leftovers import fail_cleanly, make_order
from tests.support.origin import Cut, Drip, Ending, Framing, Origin, Reply, Stall

MIB = 1024 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NOISE = random.Random(11).randbytes(64 * 1024)
EVERY_SECOND = Drip(1, 1.0)


@functools.cache
def _make_bomb() -> bytes:
    """Return 200 MiB that take 204 KB on the wire."""
    squeeze = zlib.compressobj(wbits=31)
    nothing = bytes(MIB)
    return b"".join([*(squeeze.compress(nothing) for _ in range(200)), squeeze.flush()])


def _forever(head: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: itertools.chain([head], itertools.repeat(NOISE))


def _raw(make: Callable[[bytes], bytes]) -> Callable[[bytes], Reply]:
    return lambda video: Reply(raw=make(video))


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def _range(lines: str, status: str = "206 Partial Content") -> Callable[[bytes], Reply]:
    """Answer with the first hundred bytes under these headers."""
    head = f"HTTP/1.1 {status}\nContent-Length: 100\n{lines}\n\n".replace("\n", "\r\n").encode()
    return _raw(lambda video: head + video[:100])


def _page(text: str, **headers: str) -> Callable[[bytes], Reply]:
    body = f"<!DOCTYPE html><html><head><title>{text}</title></head></html>".encode()
    return lambda _: Reply(body=body, content_type="text/html; charset=utf-8", headers=headers)


def _drip(framing: Framing) -> Callable[[bytes], Reply]:
    return lambda video: Reply(body=video, framing=framing, drip=EVERY_SECOND)


def _busy(status: int, wait: str | None) -> Callable[[bytes], Reply]:
    headers = {} if wait is None else {"Retry-After": wait}
    return lambda _: Reply(status=status, headers=headers)


def _redirect(location: str, status: int = 302) -> Callable[[bytes], Reply]:
    return lambda _: Reply(status=status, headers={"Location": location})


ENDS = {
    "is reset at its first byte": Bad(
        "source_unavailable", lambda v: Reply(body=v, cut=Cut(0, Ending.RESET))
    ),
    "is reset at 99 %": Bad(
        "source_unavailable", lambda v: Reply(body=v, cut=Cut(len(v) * 99 // 100, Ending.RESET))
    ),
    "is reset in chunks": Bad(
        "source_unavailable",
        lambda v: Reply(body=v, framing=Framing.CHUNKED, cut=Cut(len(v) // 2, Ending.RESET)),
    ),
    "is reset before its close": Bad(
        "source_unavailable",
        lambda v: Reply(body=v, framing=Framing.CLOSE, cut=Cut(len(v) // 2, Ending.RESET)),
    ),
    # Nothing but a checksum can tell this end from another one.
    "is closed early without a length": Bad(
        "checksum_mismatch",
        lambda v: Reply(body=v, framing=Framing.CLOSE, cut=Cut(len(v) - 1)),
        {"checksum": "md5:" + "0" * 32},
    ),
    "is cut in the length of a chunk": Bad(
        "source_truncated", _raw(lambda v: CHUNKED + _chunk(v) + b"00")
    ),
    "is cut in the last chunk": Bad("source_truncated", _raw(lambda v: CHUNKED + _chunk(v) + b"0")),
    "has a chunk of a negative length": Bad(
        "source_truncated", _raw(lambda v: CHUNKED + b"-5\r\n" + v)
    ),
    "has a chunk longer than its length": Bad(
        "source_truncated", _raw(lambda v: CHUNKED + b"20\r\n" + v + b"\r\n0\r\n\r\n")
    ),
    "is coded in a way that is not known": Bad(
        "source_invalid",
        _raw(
            lambda v: (
                CHUNKED.replace(b"chunked", b"gzip, chunked")
                + _chunk(gzip.compress(v))
                + b"0\r\n\r\n"
            )
        ),
    ),
    "is chunked to who strips letters": Bad(
        "source_invalid",
        _raw(lambda v: CHUNKED.replace(b"chunked", b"xchunked") + _chunk(v) + b"0\r\n\r\n"),
    ),
    "announces both, the length wrong": Bad(
        "source_invalid",
        lambda v: Reply(body=v, framing=Framing.CHUNKED, content_lengths=("10",)),
    ),
    "announces a length and its double": Bad(
        "source_invalid",
        lambda v: Reply(body=v, content_lengths=(str(len(v)), str(2 * len(v)))),
    ),
    "announces more than there is anywhere": Bad(
        "source_invalid", lambda v: Reply(body=v, content_lengths=("9" * 30,))
    ),
    "is a gzip cut short, as an encoding": Bad(
        "source_invalid",
        lambda v: Reply(body=gzip.compress(v)[:-9], headers={"Content-Encoding": "gzip"}),
    ),
    "is a gzip cut short": Bad("source_not_media", lambda v: Reply(body=gzip.compress(v)[:-9])),
    "is 200 MiB in 204 KB, as an encoding": Bad(
        "source_invalid", lambda _: Reply(body=_make_bomb(), headers={"Content-Encoding": "gzip"})
    ),
    "is 200 MiB in 204 KB": Bad("source_not_media", lambda _: Reply(body=_make_bomb())),
    "has no end, in chunks": Bad(
        "source_too_large",
        lambda v: Reply(body=_forever(v), framing=Framing.CHUNKED),
        {"max_bytes": 20 * MIB},
    ),
    "has no end and no length": Bad(
        "source_too_large",
        lambda v: Reply(body=_forever(v), framing=Framing.CLOSE),
        {"max_bytes": 3 * MIB},
    ),
    "has no end and is no media": Bad(
        "source_not_media", lambda _: Reply(body=_forever(b"\x00"), framing=Framing.CHUNKED)
    ),
}
PACE = {
    "sends a byte a second of its head": Bad(
        "source_timeout", lambda v: Reply(body=v, head_drip=EVERY_SECOND)
    ),
    "sends a byte a second of no HTTP": Bad(
        "source_timeout", lambda _: Reply(raw=b"H" * 100, head_drip=EVERY_SECOND)
    ),
    "says every half second that it goes on": Bad(
        "source_timeout",
        lambda _: Reply(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 100, head_drip=Drip(25, 0.5)),
    ),
    "says every half second what is to come": Bad(
        "source_timeout",
        lambda _: Reply(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, head_drip=Drip(28, 0.5)),
    ),
    **{
        f"sends a byte a second of its body, {framing}": Bad("source_too_slow", _drip(framing))
        for framing in Framing
    },
    "sends two bytes a second of what is no body": Bad(
        "source_timeout",
        lambda _: Reply(
            body=b"5;" + b"x" * 1000,
            framing=Framing.CLOSE,
            headers={"Transfer-Encoding": "chunked"},
            drip=Drip(1, 0.5),
        ),
    ),
    "stops at half": Bad("source_timeout", lambda v: Reply(body=v, stall=Stall(len(v) // 2))),
    "stops at its last byte": Bad(
        "source_timeout", lambda v: Reply(body=v, stall=Stall(len(v) - 1))
    ),
    "stops before its last chunk": Bad(
        "source_timeout",
        lambda v: Reply(body=v, framing=Framing.CHUNKED, stall=Stall(len(v))),
    ),
    "does not close": Bad(
        "source_timeout",
        lambda v: Reply(body=v, framing=Framing.CLOSE, stall=Stall(len(v))),
    ),
}
RANGES = {
    "is several ranges behind another boundary": Bad(
        "source_invalid", _range("Content-Type: multipart/byteranges; boundary=y")
    ),
    "is several ranges and one": Bad(
        "source_invalid",
        _range("Content-Range: bytes 0-49/100\nContent-Range: bytes 50-99/100"),
    ),
    "is a range past its own end": Bad("source_invalid", _range("Content-Range: bytes 0-99/50")),
    "is a range that ends before it begins": Bad(
        "source_invalid", _range("Content-Range: bytes 99-0/100")
    ),
    "is a range of no length": Bad("source_invalid", _range("Content-Range: bytes */100")),
    "is a range of something else": Bad("source_invalid", _range("Content-Range: pages 0-99/100")),
    "is a range with another length": Bad("source_invalid", _range("Content-Range: bytes 0-98/99")),
    "is the middle, called the whole": Bad(
        "source_invalid", _range("Content-Range: bytes 1-100/101", "200 OK")
    ),
    "is the start, called the whole": Bad(
        "source_invalid", _range("Content-Range: bytes 0-99/5000", "200 OK")
    ),
    "refuses the range of an empty file": Bad(
        "source_empty", lambda _: Reply(status=416, headers={"Content-Range": "bytes */0"})
    ),
    "refuses a range of what it has": Bad(
        "source_empty", lambda v: Reply(status=416, body=v, headers={"Content-Range": "bytes */9"})
    ),
    "answers a condition that nobody set": Bad("source_invalid", lambda _: Reply(status=412)),
}
PAGES = {
    "is a page to sign in": Bad("source_not_media", _page("Sign in to your account")),
    "is a page that warns of viruses": Bad(
        "source_not_media",
        _page(
            "Google Drive - Virus scan warning",
            **{"Content-Disposition": "attachment; filename=a.mp4"},
        ),
    ),
    "is a page called a video": Bad(
        "source_not_media", lambda v: replace(_page("Not found")(v), content_type="video/mp4")
    ),
    "is a refusal in JSON, called a picture": Bad(
        "source_not_media", lambda _: Reply(body=b'{"error": 401}', content_type="image/jpeg")
    ),
}
WAYS = {
    **{
        f"redirects to {location}": Bad("source_invalid", _redirect(location))
        for location in (
            "data:video/mp4;base64,AAAAIGZ0eXBpc29t",
            "gopher://127.0.0.1:6379/_INFO",
            "ws://nowhere.invalid/",
            "blob:http://nowhere.invalid/a",
            "http:///a.mp4",
            "//user@nowhere.invalid/a.mp4",
            "http://[::1/a.mp4",
            "",
        )
    },
    **{
        f"answers {status} with a Location": Bad("source_invalid", _redirect("/good", status))
        for status in (201, 300, 304, 305, 306, 309)
    },
}
WAITS = {
    f"answers {status} and to wait {wait}": Bad("source_unavailable", _busy(status, wait))
    for status in (429, 503)
    for wait in (
        None,
        "",
        "0",
        "120",
        "-5",
        "999999999999999999999",
        "soon",
        "Fri, 01 Jan 2100 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Thu, 99 Jan 2026 00:00:00 GMT",
    )
}
CASES = ENDS | RANGES | PAGES | WAYS | WAITS


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES.keys())
def test_an_answer_that_lies_fails_with_its_typed_error_and_leaves_nothing(
    bad: Bad, api: Api, origin: Origin, store: S3ObjectStore, video: bytes, picture_url: str
) -> None:
    order = make_order("", **bad.order)
    order["url"] = origin.route(f"/{order['folder']}", bad.make(video))

    fail_cleanly(api, store, order, bad.code, picture_url)


@pytest.fixture(scope="module")
def paced(
    stack: LocalStack, origin: Origin, store: S3ObjectStore, video: bytes, picture_url: str
) -> Iterator[Mapping[str, Future[None]]]:
    """What becomes of each that is slow: all at once, since every one of them takes its limit."""

    def fail(bad: Bad) -> None:
        order = make_order("", **bad.order)
        order["url"] = origin.route(f"/{order['folder']}", bad.make(video))
        with Api(stack.api_url, stack.api_key) as api:
            fail_cleanly(api, store, order, bad.code, picture_url)

    with ThreadPoolExecutor(len(PACE)) as pool:
        yield {name: pool.submit(fail, bad) for name, bad in PACE.items()}


@pytest.mark.parametrize("name", PACE)
def test_an_answer_that_keeps_no_pace_fails_with_its_typed_error_and_leaves_nothing(
    name: str, paced: Mapping[str, Future[None]]
) -> None:
    paced[name].result()

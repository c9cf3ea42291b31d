"""Sources that are odd and right: they are taken to the byte, and told nothing about anybody."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import cast

import pytest

from cli.local import LocalStack
from tests.support.api import Api, JsonDict, read_object
from tests.support.origin import Drip, Framing, Origin, Reply, TlsCase
from tests.support.waiting import wait_until

# What a source is told, and nothing else.
TOLD = {"host", "accept", "accept-encoding", "user-agent", "range"}
Make = Callable[[bytes], Reply]


def _raw(head: str, behind: bytes = b"") -> Make:
    """Answer with this head, ``{size}`` and ``{last}`` filled in, and the body behind it."""

    def make(body: bytes) -> Reply:
        filled = head.format(size=len(body), last=len(body) - 1).replace("\n", "\r\n")
        return Reply(raw=f"{filled}\r\n\r\n".encode() + body + behind)

    return make


def _chunks(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


ODD: dict[str, Make] = {
    "HTTP/1.0 without a length": _raw("HTTP/1.0 200 OK"),
    "no reason": _raw("HTTP/1.1 200\nContent-Length: {size}"),
    "the length twice, alike": _raw("HTTP/1.1 200 OK\nContent-Length: {size}, {size}"),
    "the length with zeros before": _raw("HTTP/1.1 200 OK\nContent-Length: 000{size}"),
    # What comes behind the end is no part of the body.
    "more than its length": _raw("HTTP/1.1 200 OK\nContent-Length: {size}", b"and more"),
    "100 before": _raw("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nContent-Length: {size}"),
    "103 before": _raw(
        "HTTP/1.1 103 Early Hints\nLink: </a.css>; rel=preload\n\n"
        "HTTP/1.1 200 OK\nContent-Length: {size}"
    ),
    "coded chunked and white space": lambda body: Reply(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \r\n\r\n" + _chunks(body)
    ),
    "coded chunked twice": lambda body: Reply(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
        + _chunks(body)
    ),
    "a range without its total": _raw(
        "HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-{last}/*\nContent-Length: {size}"
    ),
    "a range in chunks": lambda body: Reply(
        raw=b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/%d\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" % (len(body) - 1, len(body)) + _chunks(body)
    ),
    "a range until its close": _raw(
        "HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-{last}/{size}"
    ),
    "a whole that says its range": _raw(
        "HTTP/1.1 200 OK\nContent-Range: bytes 0-{last}/{size}\nContent-Length: {size}"
    ),
    "a weak ETag": lambda body: Reply(body=body, ranges=True, etag='W/"a"'),
    "an ETag that is none": lambda body: Reply(body=body, ranges=True, etag="a"),
    "ranges and no ETag": lambda body: Reply(body=body, ranges=True),
    "no ranges": lambda body: Reply(body=body, headers={"Accept-Ranges": "none"}),
    "a head in pieces": lambda body: Reply(body=body, head_drip=Drip(10, 0.01)),
    "a JPEG called a page": lambda body: Reply(body=body, content_type="text/html"),
    "a cookie and a challenge": lambda body: Reply(
        body=body,
        headers=[
            ("Set-Cookie", "session=s3cr3t; Path=/"),
            ("WWW-Authenticate", 'Basic realm="a"'),
            ("Authentication-Info", "nextnonce=a"),
        ],
    ),
    "the same type twice": lambda body: Reply(
        body=body, content_type="video/mp4", headers={"Content-Type": "text/html"}
    ),
}


def _serve(origin: Origin, reply: Reply) -> str:
    return origin.route(f"/odd/{secrets.token_hex(4)}.jpg", reply)


def _check(api: Api, url: str, content: bytes, content_type: str) -> JsonDict:
    """Ingest what must be taken, and check that it arrives to the byte."""
    file = read_object(api.post("/files", {"url": url}), 201)
    assert file["checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (file["filesize"], file["type"]) == (len(content), content_type)
    return file


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_an_answer_that_is_odd_and_right_is_taken_to_the_byte(
    make: Make, api: Api, origin: Origin, picture: bytes
) -> None:
    _check(api, _serve(origin, make(picture)), picture, "image/jpeg")


def test_a_video_that_is_called_a_picture_in_every_place_is_a_video(
    api: Api, origin: Origin, video: bytes
) -> None:
    headers = {"Content-Disposition": 'attachment; filename="picture.jpg"'}
    url = origin.serve("/odd/picture.jpg", video, content_type="image/jpeg", headers=headers)
    file = _check(api, url, video, "video/mp4")
    assert (file["kind"], file["container"]) == ("video", "mp4")


def test_a_source_that_takes_nothing_but_get_is_asked_nothing_else(
    api: Api, origin: Origin, picture: bytes
) -> None:
    url = origin.serve("/odd/get-only.jpg", picture, methods=frozenset({"GET"}))
    _check(api, url, picture, "image/jpeg")
    asked = [request.method for request in origin.requests if request.path == "/odd/get-only.jpg"]
    assert asked == ["GET"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_body_of_a_redirect_is_nothing_to_wait_for(
    status: int, api: Api, origin: Origin, picture: bytes, picture_url: str
) -> None:
    def go_on_forever() -> Iterator[bytes]:
        return itertools.repeat(b"You are being redirected. " * 1000)

    reply = Reply(
        status=status,
        body=go_on_forever,
        framing=Framing.CHUNKED,
        headers={"Location": picture_url},
    )
    _check(api, _serve(origin, reply), picture, "image/jpeg")


def test_a_chain_of_twenty_redirects_is_not_followed_to_its_end(
    api: Api, origin: Origin, picture_url: str
) -> None:
    following = picture_url
    for number in range(20):
        following = origin.redirect(f"/deep/{number}", following)
    answer = api.post("/files", {"url": following})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "source_invalid")
    asked = [request.path for request in origin.requests if request.path.startswith("/deep/")]
    assert asked == [f"/deep/{number}" for number in range(19, 13, -1)]


BAGGAGE = [
    ("Set-Cookie", "session=c00k1e; Path=/; Domain=127.0.0.1"),
    ("WWW-Authenticate", 'Basic realm="a", Digest realm="b", nonce="c"'),
    ("Authorization", "Bearer t0ken"),
    ("Cookie", "session=c00k1e"),
    ("X-Api-Key", "k3y"),
    ("Referer", "https://a.example/"),
]


def test_nothing_that_a_source_sends_is_carried_to_the_next_one_or_back(
    api: Api, stack: LocalStack, origin: Origin, tls_origins: dict[TlsCase, Origin], picture: bytes
) -> None:
    secret = secrets.token_hex(16)
    other = tls_origins[TlsCase.TRUSTED]
    end = f"{origin.serve('/carried/end.jpg', picture)}?signature={secret}"
    across = [*BAGGAGE, ("Location", end)]
    other.route("/carried/across", Reply(status=307, headers=across))
    away = [*BAGGAGE, ("Location", f"{other.url('/carried/across')}?token={secret}")]
    url = origin.route("/carried/away", Reply(status=302, headers=away))

    for _ in range(2):
        file = _check(api, url, picture, "image/jpeg")
        assert file["source"] == url
        assert secret not in str(file)

    asked = [
        request
        for station in (origin, other)
        for request in station.requests
        if request.path.startswith("/carried/")
    ]
    assert len(asked) == 6
    for request in asked:
        assert set(request.headers) - {"connection"} == TOLD
        assert request.body == b""
    for log in stack.home.logs.glob("*.log"):
        text = log.read_text(errors="replace")
        assert not [word for word in (secret, "c00k1e", "t0ken") if word in text], log.name


def test_a_url_with_a_password_is_refused_before_anybody_is_asked(
    api: Api, origin: Origin, picture: bytes
) -> None:
    url = origin.serve("/odd/password.jpg", picture)
    password = url.replace("//", "//user:passw0rd@")
    assert api.post("/files", {"url": password}).json()["error"]["code"] == "field_invalid"
    redirecting = origin.redirect("/odd/to-password", password)
    answer = api.post("/files", {"url": redirecting}).json()
    assert answer["error"]["code"] == "source_invalid"
    assert "passw0rd" not in str(answer)
    assert not [request for request in origin.requests if request.path == "/odd/password.jpg"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("wait", "wait_s"),
    [
        ("100", 100),
        ("999999999999999999", 3600),
        ("{in_200_s}", 200),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 3600),
    ],
)
def test_a_source_that_asks_for_time_is_left_alone_for_so_long(
    status: int, wait: str, wait_s: int, api: Api, origin: Origin
) -> None:
    in_200_s = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 200, UTC)
    headers = {"Retry-After": wait.format(in_200_s=f"{in_200_s:%a, %d %b %Y %H:%M:%S} GMT")}
    url = _serve(origin, Reply(status=status, headers=headers))
    order = {"kind": "ingest", "url": url, "max_attempts": 2}
    task = read_object(api.post("/tasks", order), 201)

    def look() -> JsonDict | None:
        found = read_object(api.get(f"/tasks/{task['id']}"))
        return found if found["error"] else None

    waiting = wait_until(look, "the end of an attempt")

    assert waiting["status"] == "pending"
    assert cast("JsonDict", waiting["error"])["code"] == "source_unavailable"
    due = datetime.fromisoformat(str(waiting["next_attempt_at"]))
    # Spread by a quarter, so that not all tasks of a source come back at once.
    assert wait_s - 10 < (due - datetime.now(UTC)).total_seconds() < wait_s * 1.25 + 1
    read_object(api.post(f"/tasks/{task['id']}/cancel", {}), 200)


@pytest.mark.parametrize("wait", [None, "-5", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_source_that_asks_for_no_time_that_makes_sense_is_asked_again_soon(
    wait: str | None, api: Api, origin: Origin, picture: bytes
) -> None:
    headers = {} if wait is None else {"Retry-After": wait}
    busy = Reply(status=503, headers=headers)
    url = origin.route(f"/odd/{secrets.token_hex(4)}.jpg", busy, Reply(body=picture))
    order = {"kind": "ingest", "url": url, "max_attempts": 2}
    task = read_object(api.post("/tasks", order), 201)

    def look() -> JsonDict | None:
        found = read_object(api.get(f"/tasks/{task['id']}"))
        return found if found["status"] == "complete" else None

    ended = wait_until(look, "the end of a task")
    assert len(cast("list[object]", ended["attempts"])) == 2

"""The origin does what it says, so that a failing test elsewhere is never the origin's fault."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.canary import Canary
from tests.support.media import CASES, make_media, probe_original
from tests.support.origin import (
    Certificates,
    Cut,
    Drip,
    Ending,
    Framing,
    Generated,
    Origin,
    OriginProcess,
    Reply,
    Served,
    Stall,
    TlsCase,
)
from tests.support.padding import pad_mp4


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as running:
        yield running


def ask(port: int, target: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: origin", *headers, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall("\r\n".join(lines).encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def split(answer: bytes) -> tuple[str, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body


def test_a_body_arrives_whole_with_its_type_and_length(origin: Origin) -> None:
    origin.serve("/a.mp4", b"content", content_type="video/mp4")
    head, body = split(ask(origin.port, "/a.mp4?signature=x%2Fy", "X-Thing: 1"))
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: video/mp4" in head
    assert "Content-Length: 7" in head
    assert body == b"content"
    (request,) = origin.requests
    assert (request.method, request.target) == ("GET", "/a.mp4?signature=x%2Fy")
    assert request.path == "/a.mp4"
    assert request.headers["x-thing"] == "1"
    assert request.peer[0] == "127.0.0.1"
    assert origin.sent_bytes("/a.mp4") == 7


def test_several_requests_share_one_connection(origin: Origin) -> None:
    origin.serve("/a", b"one")
    with socket.create_connection(("127.0.0.1", origin.port), 10) as client:
        reader = client.makefile("rb")
        for _ in range(2):
            client.sendall(b"GET /a HTTP/1.1\r\nHost: origin\r\n\r\n")
            while reader.readline() != b"\r\n":
                pass
            assert reader.read(3) == b"one"
        reader.close()
    assert origin.connection_count == 1
    assert len(origin.requests) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
def test_a_status_is_answered_as_it_was_given(origin: Origin, status: int) -> None:
    origin.serve("/a", b"no", status=status, headers={"Retry-After": "3"})
    head, body = split(ask(origin.port, "/a"))
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "Retry-After: 3" in head
    assert body == b"no"


def test_an_unknown_path_is_404_and_another_method_405(origin: Origin) -> None:
    origin.serve("/a", b"x")
    assert ask(origin.port, "/b").startswith(b"HTTP/1.1 404 ")
    assert ask(origin.port, "/a", method="HEAD").startswith(b"HTTP/1.1 405 ")


def test_replies_come_in_turn_and_the_last_one_stays(origin: Origin) -> None:
    origin.route("/a", Reply(status=503), Reply(body=b"now"))
    assert [ask(origin.port, "/a")[9:12] for _ in range(3)] == [b"503", b"200", b"200"]


def test_a_family_answers_every_path_under_it_that_has_no_route(origin: Origin) -> None:
    url = origin.serve_family("/many/", lambda name: Reply(body=f"number {name}".encode()))
    origin.serve("/many/own", b"own")
    assert url == origin.url("/many/")
    assert split(ask(origin.port, "/many/7?signed"))[1] == b"number 7"
    assert split(ask(origin.port, "/many/own"))[1] == b"own"
    assert ask(origin.port, "/other").startswith(b"HTTP/1.1 404 ")


def test_what_is_to_happen_before_an_answer_is_told_who_asks(origin: Origin) -> None:
    met: list[tuple[str, int]] = []
    origin.serve("/a", b"x", before=met.append)
    ask(origin.port, "/a")
    assert met == [request.peer for request in origin.requests]


def test_a_redirect_sends_its_location_as_it_is(origin: Origin) -> None:
    origin.redirect("/a", "/ä b.mp4", 307)
    head, _ = split(ask(origin.port, "/a"))
    assert head.startswith("HTTP/1.1 307 ")
    assert "Location: /ä b.mp4" in head


@pytest.mark.parametrize(
    ("wanted", "status", "shown", "body"),
    [
        ("bytes=0-", "206", "bytes 0-9/10", b"0123456789"),
        ("bytes=4-", "206", "bytes 4-9/10", b"456789"),
        ("bytes=4-5", "206", "bytes 4-5/10", b"45"),
        ("bytes=4-99", "206", "bytes 4-9/10", b"456789"),
        ("bytes=-3", "206", "bytes 7-9/10", b"789"),
        ("bytes=10-", "416", "bytes */10", b""),
        ("bytes=1-2,4-5", "200", "", b"0123456789"),
    ],
)
def test_a_range_is_obeyed_where_ranges_are_on(
    origin: Origin, wanted: str, status: str, shown: str, body: bytes
) -> None:
    origin.serve("/a", b"0123456789", ranges=True)
    head, got = split(ask(origin.port, "/a", f"Range: {wanted}"))
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert (f"Content-Range: {shown}" in head) is bool(shown)
    assert got == body


def test_a_range_is_ignored_where_ranges_are_off_or_the_etag_is_another(origin: Origin) -> None:
    origin.serve("/off", b"0123")
    origin.serve("/on", b"0123", ranges=True, etag='"new"')
    assert split(ask(origin.port, "/off", "Range: bytes=2-"))[1] == b"0123"
    assert split(ask(origin.port, "/on", "Range: bytes=2-", 'If-Range: "old"'))[1] == b"0123"
    head, body = split(ask(origin.port, "/on", "Range: bytes=2-", 'If-Range: "new"'))
    assert head.startswith("HTTP/1.1 206 ")
    assert 'ETag: "new"' in head
    assert body == b"23"


@pytest.mark.parametrize("if_range", ['W/"a"', '"a"', "Thu, 01 Jan 2026 00:00:00 GMT"])
def test_a_weak_etag_or_none_at_all_holds_no_range(origin: Origin, if_range: str) -> None:
    origin.serve("/weak", b"0123", ranges=True, etag='W/"a"')
    origin.serve("/none", b"0123", ranges=True)
    for path in ("/weak", "/none"):
        answer = ask(origin.port, path, "Range: bytes=2-", f"If-Range: {if_range}")
        assert split(answer)[1] == b"0123"


def test_what_each_request_asked_for_and_got_is_told_apart(origin: Origin) -> None:
    origin.route(
        "/a",
        Reply(body=b"012345", ranges=True, etag='"a"', cut=Cut(3)),
        Reply(body=b"012345", ranges=True, etag='"a"'),
    )
    ask(origin.port, "/a", "Range: bytes=0-")
    ask(origin.port, "/a", "Range: bytes=4-", 'If-Range: "a"')
    ask(origin.port, "/a?query")
    ask(origin.port, "/b")
    assert origin.list_served("/a") == [
        Served("bytes=0-", None, 3),
        Served("bytes=4-", '"a"', 2),
        Served(None, None, 6),
    ]
    assert origin.sent_bytes("/a") == 11


def test_a_stream_is_sent_in_chunks_or_until_the_close(origin: Origin) -> None:
    origin.serve("/chunked", lambda: [b"abc", b"de"], framing=Framing.CHUNKED)
    origin.serve("/closed", lambda: [b"abc", b"de"], framing=Framing.CLOSE)
    head, body = split(ask(origin.port, "/chunked"))
    assert "Transfer-Encoding: chunked" in head
    assert body == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    head, body = split(ask(origin.port, "/closed"))
    assert "Content-Length" not in head
    assert body == b"abcde"


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (Reply(body=b"abcdef", cut=Cut(4)), b"abcd"),
        (Reply(body=b"abcdef", cut=Cut(4), framing=Framing.CHUNKED), b"4\r\nabcd\r\n"),
        (Reply(body=b"abc", content_lengths=("10",)), b"abc"),
        (Reply(body=b"abc", content_lengths=("3", "4")), b"abc"),
        (Reply(body=b"abc", content_lengths=("three",)), b"abc"),
    ],
    ids=["short", "short_chunked", "length_too_long", "two_lengths", "length_in_words"],
)
def test_a_lie_about_the_length_goes_out_unmended(
    origin: Origin, options: Reply, body: bytes
) -> None:
    origin.route("/a", options)
    head, got = split(ask(origin.port, "/a"))
    assert got == body
    for value in options.content_lengths or ():
        assert f"Content-Length: {value}" in head


def test_a_reset_in_the_middle_is_a_reset(origin: Origin) -> None:
    origin.serve("/a", b"x" * 100_000, cut=Cut(50_000, Ending.RESET))
    with pytest.raises(ConnectionResetError):
        ask(origin.port, "/a")


def test_bytes_that_are_no_http_go_out_as_they_are(origin: Origin) -> None:
    origin.serve_raw("/a", b"SSH-2.0-nothing\r\n")
    assert ask(origin.port, "/a") == b"SSH-2.0-nothing\r\n"


@pytest.mark.parametrize("at_bytes", [None, 0, 3, 6])
def test_a_stall_lasts_until_it_is_released(origin: Origin, at_bytes: int | None) -> None:
    stall = Stall(at_bytes)
    origin.serve("/a", b"abcdef", stall=stall)
    answers: list[bytes] = []
    client = threading.Thread(target=lambda: answers.append(ask(origin.port, "/a")))
    client.start()
    assert stall.reached.wait(10)
    assert answers == []
    stall.released.set()
    client.join(10)
    assert split(answers[0])[1] == b"abcdef"


def test_closing_the_origin_ends_a_stall_and_a_drip() -> None:
    with Origin() as origin:
        stall = Stall(1)
        origin.serve("/stall", b"abc", stall=stall)
        origin.serve("/drip", b"abc", drip=Drip(1, 3600))
        clients = [
            threading.Thread(target=lambda path=path: ask(origin.port, path))
            for path in ("/stall", "/drip")
        ]
        for client in clients:
            client.start()
        origin.wait_for_requests(2)
        assert stall.reached.wait(10)
    for client in clients:
        client.join(10)
        assert not client.is_alive()


def test_a_drip_sends_every_byte_in_the_end(origin: Origin) -> None:
    origin.serve("/a", b"abcdef", drip=Drip(2, 0.001), framing=Framing.CHUNKED)
    assert split(ask(origin.port, "/a"))[1] == b"2\r\nab\r\n2\r\ncd\r\n2\r\nef\r\n0\r\n\r\n"


def test_a_head_drips_like_a_body_and_so_do_bytes_that_are_no_http(origin: Origin) -> None:
    origin.serve("/a", b"abc", head_drip=Drip(7, 0.001))
    origin.route("/raw", Reply(raw=b"SSH-2.0-nothing\r\n", head_drip=Drip(1, 0.001)))
    origin.serve_raw("/empty", b"")
    head, body = split(ask(origin.port, "/a"))
    assert "Content-Length: 3" in head
    assert body == b"abc"
    assert ask(origin.port, "/raw") == b"SSH-2.0-nothing\r\n"
    assert ask(origin.port, "/empty") == b""


def test_an_origin_may_be_on_ipv6_alone() -> None:
    with Origin(host="::1") as origin:
        url = origin.serve("/a", b"abc")
        assert url == f"http://[::1]:{origin.port}/a"
        with socket.create_connection(("::1", origin.port), 10) as client:
            client.sendall(b"GET /a HTTP/1.0\r\n\r\n")
            assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"abc")
        assert origin.requests[0].peer[0] == "::1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", origin.port), 10)


def test_generated_content_is_the_same_every_time_and_no_two_parts_are_alike() -> None:
    body = Generated(20 * 1024 * 1024, seed=7, head=b"HEAD", tail=b"TAIL")
    whole = b"".join(body.read_pieces(0, body.size_bytes))
    assert len(whole) == body.size_bytes
    assert whole.startswith(b"HEAD")
    assert whole.endswith(b"TAIL")
    assert hashlib.sha256(whole).hexdigest() == body.hash_sha256()
    last = body.size_bytes
    for first, end in ((0, 3), (2, 6), (1_048_570, 3_000_000), (last - 6, last)):
        assert b"".join(body.read_pieces(first, end)) == whole[first:end]
    part = 5 * 1024 * 1024
    assert len({whole[at : at + part] for at in range(0, len(whole), part)}) == 4


def test_a_fixed_port_can_be_taken_again_at_once() -> None:
    with Origin() as first:
        first.serve("/a", b"x")
        ask(first.port, "/a")
    with Origin(port=first.port) as second:
        second.serve("/a", b"y")
        assert ask(second.port, "/a").endswith(b"y")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def shake_hands(certificates: Certificates, case: TlsCase) -> bytes:
    trusting = ssl.create_default_context(cafile=str(certificates.ca_file))
    with Origin(tls=certificates.make_context(case)) as origin:
        origin.serve("/a", b"secret")
        with (
            socket.create_connection(("127.0.0.1", origin.port), 10) as plain,
            trusting.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_trusted_certificate_lets_the_answer_through(certificates: Certificates) -> None:
    assert shake_hands(certificates, TlsCase.TRUSTED).endswith(b"secret")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (TlsCase.EXPIRED, "expired"),
        (TlsCase.WRONG_HOST, "ostname mismatch"),
        (TlsCase.UNKNOWN_CA, "unable to get local issuer"),
        (TlsCase.SELF_SIGNED, "self.signed"),
    ],
)
def test_a_bad_certificate_is_bad_in_the_way_it_says(
    certificates: Certificates, case: TlsCase, reason: str
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=reason):
        shake_hands(certificates, case)


def test_a_canary_counts_who_came_and_leaves_itself_out() -> None:
    with Canary() as canary:
        assert canary.count_connections() == 0
        for _ in range(3):
            socket.create_connection(("127.0.0.1", canary.port), 10).close()
        assert canary.count_connections() == 3
        assert canary.count_connections() == 3


def test_an_origin_in_its_own_process_pads_a_video_that_still_plays(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    for name in ("mp4", "mp4_moov_last"):
        small = make_media(name, tmp_path)
        arguments = [
            "--ranges",
            "--etags",
            "--file",
            f"/big.mp4={small}",
            "--pad",
            f"/big.mp4={size}",
        ]
        with OriginProcess(arguments) as origin:
            head, body = split(ask(origin.port, "/big.mp4"))
            digest = hashlib.sha256(body).hexdigest()
        assert f'ETag: "{size}/big.mp4"' in head
        padded = pad_mp4(small.read_bytes(), size)
        assert digest == padded.hash_sha256()
        big = tmp_path / f"big-{CASES[name].filename}"
        big.write_bytes(b"".join(padded.read_pieces(0, size)))
        assert probe_original(big)["streams"] == probe_original(small)["streams"]


def test_an_origin_in_its_own_process_says_when_it_cannot_start(
    capfd: pytest.CaptureFixture[str],
) -> None:
    process = OriginProcess(["--nonsense"])
    with pytest.raises(RuntimeError, match="did not start"):
        process.__enter__()
    assert "--nonsense" in capfd.readouterr().err
    assert process._process.returncode == 2

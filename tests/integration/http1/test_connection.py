"""Requests out and answers in, with servers that do both at odd moments."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from storage.http1.bodies import Body
from storage.http1.connection import Connection
from storage.http1.errors import EndedEarly, Malformed, NoAnswer
from storage.http1.tls import Tls
from tests.integration.http1.conftest import Join
from tests.support.origin import Certificates, TlsCase

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
# More than the kernel keeps for a server that does not read.
BODY = memoryview(bytes(range(256)) * 64 * 1024)
LENGTH = ("Content-Length", str(len(BODY)))


def _read(body: Body) -> bytes:
    found, buffer = b"", memoryview(bytearray(100))
    while count := body.read_into(buffer):
        found += buffer[:count]
    return found


def _take(theirs: socket.socket, size_bytes: int) -> bytes:
    taken = b""
    while len(taken) < size_bytes:
        taken += theirs.recv(1024 * 1024)
    return taken


def test_a_connection_serves_one_request_after_the_other(join: Join) -> None:
    ours, theirs = join()
    for target in ("/first", "/second"):
        theirs.sendall(OK)
        head, body = ours.ask("GET", target, [("Host", "a")])
        assert (head.status, _read(body)) == (200, b"hi")
        assert body.leaves_open
        assert theirs.recv(1000) == f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def test_a_body_arrives_behind_its_head_to_the_byte(join: Join) -> None:
    ours, theirs = join()
    expected = b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    with ThreadPoolExecutor(1) as server:
        taken = server.submit(_take, theirs, len(expected))
        theirs.sendall(OK)
        ours.ask("PUT", "/", [LENGTH], BODY)
        assert taken.result() == expected


def test_an_answer_that_comes_before_the_body_was_sent_is_heard(join: Join) -> None:
    ours, theirs = join()
    with ThreadPoolExecutor(1) as server:

        def refuse() -> None:
            _take(theirs, 100)
            theirs.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            theirs.close()

        refused: Future[None] = server.submit(refuse)
        head, _ = ours.ask("PUT", "/", [LENGTH], BODY)
        refused.result()
    assert head.status == 403
    # What is left of the body would be taken for the next request.
    assert not head.keeps_open


def test_a_server_that_goes_before_the_body_was_sent_and_says_nothing_broke_it(join: Join) -> None:
    ours, theirs = join()
    theirs.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        ours.ask("PUT", "/", [LENGTH], BODY)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", NoAnswer),
        (OK[:20], EndedEarly),
        (b"HTTP/1.1 100 Continue\r\n\r\n", NoAnswer),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Malformed),
        (b"SSH-2.0-OpenSSH\r\n", Malformed),
    ],
)
def test_what_is_no_answer_says_why(said: bytes, error: type[Exception], join: Join) -> None:
    ours, theirs = join()
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(error) as caught:
        ours.ask("GET", "/", [])
    assert caught.type is error


def test_answers_before_the_answer_are_passed_over(join: Join) -> None:
    ours, theirs = join()
    theirs.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + OK)
    head, body = ours.ask("GET", "/", [])
    assert (head.status, _read(body)) == (200, b"hi")


def test_a_server_that_does_not_answer_is_waited_for_as_long_as_the_socket_says(
    join: Join,
) -> None:
    ours, _ = join()
    ours.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        ours.ask("GET", "/", [])
    with pytest.raises(TimeoutError):
        ours.ask("PUT", "/", [LENGTH], BODY)


def test_what_tls_holds_back_behind_a_body_spoils_the_connection(
    certificates: Certificates, join: Join
) -> None:
    plain, theirs = join()
    server_context = certificates.make_context(TlsCase.TRUSTED)
    # One record, of which the head's buffer takes the first half and the body all but the rest.
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12000\r\n\r\n" + b"x" * 12_000
    with ThreadPoolExecutor(1) as server:
        accepted = server.submit(server_context.wrap_socket, theirs, server_side=True)
        wrapped = Tls(str(certificates.ca_file)).wrap(plain.socket, "127.0.0.1")
        wrapped.do_handshake()
        with accepted.result() as speaking, closing(Connection(wrapped)) as ours:
            for unasked in (b"", b"HTTP/1.1 200 OK\r\n\r\n"):
                speaking.sendall(answer + unasked)
                _, body = ours.ask("GET", "/", [])
                assert len(_read(body)) == 12_000
                assert ours.is_stale is bool(unasked)


@pytest.mark.parametrize("ends", ["as it should", "cut off"])
def test_the_end_of_tls_without_its_word_for_it_is_no_end_of_a_body(
    ends: str, certificates: Certificates, join: Join
) -> None:
    plain, theirs = join()
    server_context = certificates.make_context(TlsCase.TRUSTED)
    with ThreadPoolExecutor(1) as server:
        accepted = server.submit(server_context.wrap_socket, theirs, server_side=True)
        wrapped = Tls(str(certificates.ca_file)).wrap(plain.socket, "127.0.0.1")
        wrapped.do_handshake()
        with accepted.result() as speaking, closing(Connection(wrapped)) as ours:
            speaking.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 20_000)
            _, body = ours.ask("GET", "/", [])
            assert speaking.recv(1000)
            if ends == "cut off":
                speaking.shutdown(socket.SHUT_WR)
                with pytest.raises(EndedEarly):
                    _read(body)
            else:
                said = server.submit(speaking.unwrap)
                assert len(_read(body)) == 20_000
                wrapped.unwrap()
                said.result()
        assert body.ended is (ends != "cut off")


def test_answers_before_the_answer_come_to_an_end(join: Join) -> None:
    ours, theirs = join()
    theirs.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 100 + OK)
    with pytest.raises(Malformed):
        ours.ask("GET", "/", [])


def test_a_certificate_names_hosts_where_hosts_are_named(certificates: Certificates) -> None:
    context = Tls(str(certificates.ca_file))._context
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.hostname_checks_common_name


def test_no_keys_are_written_where_the_environment_says(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert Tls(str(certificates.ca_file))._context.keylog_filename is None

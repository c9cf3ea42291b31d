"""The one door with a resolver that lies and an environment that leads astray."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import (
    AddressBlocked,
    ConfigError,
    SourceDns,
    SourceTimeout,
    SourceTls,
    SourceUnavailable,
)
from ingest.urls import parse_source_url
from tests.support.canary import Canary
from tests.support.origin import Certificates, Origin, TlsCase
from workers.egress import Answer, Egress, Endpoint, Policy

PUBLIC = "93.184.215.14"
Resolve = Callable[..., None]


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as listening:
        yield listening


@pytest.fixture
def egress(origin: Origin) -> Iterator[Egress]:
    opened = Egress(Policy(1, 1, frozenset({f"127.0.0.1:{origin.port}"})))
    yield opened
    opened.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Resolve]:
    """Makes every name resolve to what is given; the list tells what was asked."""
    asked: list[str] = []
    answers: list[tuple[str, ...]] = []
    really = socket.getaddrinfo

    def look_up(host: str, port: int, *given: Any, **options: Any) -> list[Any]:
        if not host.endswith(".invalid"):
            return really(host, port, *given, **options)
        asked.append(host)
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (
                socket.AF_INET6 if ":" in one else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (one, port),
            )
            for one in found
        ]

    def use(*given: tuple[str, ...]) -> None:
        answers[:] = given
        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return asked, use


def _fetch(egress: Egress, url: str) -> bytes:
    answer = egress.get(parse_source_url(url), {"Connection": "close"})
    buffer, found = memoryview(bytearray(65536)), b""
    try:
        while count := answer.read_into(buffer):
            found += buffer[:count]
    finally:
        answer.close()
    return found


PROXIES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]


def test_the_proxies_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, egress: Egress, origin: Origin, canary: Canary
) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, canary.url())
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    url = origin.serve("/direct", b"content")

    assert _fetch(egress, url) == b"content"
    with pytest.raises((SourceTls, SourceTimeout)):
        # The origin speaks no TLS, and may wait for the rest of what it takes for a line.
        _fetch(egress, url.replace("http:", "https:"))
    assert canary.count_connections() == 0


def test_a_proxy_of_the_environment_cannot_lead_past_the_guard(
    monkeypatch: pytest.MonkeyPatch, egress: Egress, canary: Canary
) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, canary.url())
    with pytest.raises(AddressBlocked):
        _fetch(egress, "http://169.254.169.254/latest/meta-data/")
    with pytest.raises(SourceDns):
        _fetch(egress, "http://nowhere.invalid/")
    assert canary.count_connections() == 0


def test_no_netrc_adds_a_password(
    monkeypatch: pytest.MonkeyPatch, egress: Egress, origin: Origin, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    _fetch(egress, origin.serve("/netrc", b"content"))
    assert "authorization" not in origin.requests[-1].headers


def test_no_certificate_of_the_environment_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
    certificates: Certificates,
    tls_origins: dict[TlsCase, Origin],
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(certificates.ca_file))
    trusted = tls_origins[TlsCase.TRUSTED]
    allowed = frozenset({f"127.0.0.1:{trusted.port}"})
    for ca_file in (None, certificates.ca_file):
        egress = Egress(Policy(1, 1, allowed, ca_file))
        try:
            if ca_file is None:
                with pytest.raises(SourceTls):
                    _fetch(egress, trusted.serve("/a", b"content"))
            else:
                assert _fetch(egress, trusted.serve("/a", b"content")) == b"content"
        finally:
            egress.close()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (TlsCase.EXPIRED, "the certificate is not valid at this time"),
        (TlsCase.WRONG_HOST, "the certificate is for another name"),
        (TlsCase.UNKNOWN_CA, "the certificate is not trusted"),
        (TlsCase.SELF_SIGNED, "the certificate is not trusted"),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_that_is_refused_is_told_of_in_one_sentence_and_without_a_host_of_ours(
    host: str,
    case: TlsCase,
    reason: str,
    certificates: Certificates,
    tls_origins: dict[TlsCase, Origin],
) -> None:
    port = tls_origins[case].port
    only = Endpoint(host, port, "s3://archive")
    allowed = frozenset({f"127.0.0.1:{port}"})
    for policy in (
        Policy(1, 1, ca_file=certificates.ca_file, only=only),
        Policy(1, 1, allowed, certificates.ca_file),
    ):
        egress = Egress(policy)
        try:
            with pytest.raises(SourceTls) as caught:
                _fetch(egress, f"https://{host}:{port}/")
        finally:
            egress.close()
        message = caught.value.message
        assert message.endswith(".")
        assert not message.endswith("..")
        if policy.only is not None:
            assert message == f"TLS with 's3://archive' failed: {reason}."


def test_tls_where_plain_http_is_spoken_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                # As web servers do: the greeting is no request they know.
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        egress = Egress(Policy(1, 1, frozenset({f"127.0.0.1:{port}"})))
        try:
            with pytest.raises(SourceTls):
                _fetch(egress, f"https://127.0.0.1:{port}/")
        finally:
            egress.close()
        server.join(5)


def test_a_cookie_is_not_kept(egress: Egress, origin: Origin) -> None:
    origin.serve("/cookie", b"content", headers={"Set-Cookie": "a=b; Path=/"})
    for _ in range(2):
        _fetch(egress, origin.url("/cookie"))
    assert "cookie" not in origin.requests[-1].headers


@pytest.mark.parametrize(
    "addresses",
    [
        (PUBLIC, "127.0.0.1"),
        ("127.0.0.1", PUBLIC),
        (PUBLIC, "10.0.0.1"),
        (PUBLIC, "::1"),
        (PUBLIC, "::ffff:127.0.0.1"),
        (PUBLIC, "fe80::1%eth0"),
        (PUBLIC, "169.254.169.254"),
        (PUBLIC, "64:ff9b::a00:1"),
        ("2606:2800:21f::1", "fd00::1"),
    ],
    ids=" ".join,
)
def test_a_name_with_one_bad_address_is_blocked_and_nothing_is_connected_to(
    addresses: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    egress: Egress,
    resolve: tuple[list[str], Resolve],
    canary: Canary,
) -> None:
    resolve[1](addresses)
    made: list[object] = []
    with monkeypatch.context() as patched:
        patched.setattr(socket, "create_connection", lambda *given, **_: made.append(given))
        with pytest.raises(AddressBlocked):
            _fetch(egress, canary.url(host="mixed.invalid"))
    assert made == []
    assert canary.count_connections() == 0


def test_the_name_is_resolved_once_and_the_address_that_was_judged_is_connected_to(
    egress: Egress, origin: Origin, resolve: tuple[list[str], Resolve]
) -> None:
    asked, use = resolve
    # A resolver that answers well at first and badly from then on (DNS rebinding).
    use(("127.0.0.1",), ("127.0.0.2",))
    origin.serve("/rebound", b"content")
    url = origin.url("/rebound", host="rebound.invalid")

    assert _fetch(egress, url) == b"content"
    assert asked == ["rebound.invalid"]
    assert origin.requests[-1].headers["host"] == f"rebound.invalid:{origin.port}"
    with pytest.raises(AddressBlocked):
        _fetch(egress, url)
    assert len(asked) == 2


def test_a_connection_that_ends_up_elsewhere_is_blocked(
    monkeypatch: pytest.MonkeyPatch,
    egress: Egress,
    resolve: tuple[list[str], Resolve],
    canary: Canary,
) -> None:
    connect = socket.create_connection
    resolve[1]((PUBLIC,))
    with monkeypatch.context() as patched:
        patched.setattr(
            socket, "create_connection", lambda *_, **__: connect(("127.0.0.1", canary.port))
        )
        with pytest.raises(AddressBlocked):
            _fetch(egress, "http://diverted.invalid/")


def test_a_door_to_one_server_leads_to_it_wherever_its_name_is_and_nowhere_else(
    origin: Origin, canary: Canary, resolve: tuple[list[str], Resolve]
) -> None:
    resolve[1](("127.0.0.1",))
    origin.serve("/own", b"content")
    only = Endpoint("store.invalid", origin.port, "s3://archive")
    # An exception for addresses opens nothing here.
    egress = Egress(Policy(1, 1, frozenset({f"127.0.0.1:{canary.port}"}), only=only))
    try:
        assert _fetch(egress, origin.url("/own", host="store.invalid")) == b"content"
        for url in (
            origin.url("/own"),
            origin.url("/own", host="other.invalid"),
            f"http://store.invalid:{canary.port}/",
            f"http://127.0.0.1:{canary.port}/",
            "http://store.invalid/",
        ):
            with pytest.raises(AddressBlocked, match=r"'s3://archive' led to another server"):
                _fetch(egress, url)
    finally:
        egress.close()
    assert canary.count_connections() == 0
    assert len(origin.list_served("/own")) == 1


def test_the_door_to_one_server_calls_it_as_users_know_it(
    resolve: tuple[list[str], Resolve], closed_port: int
) -> None:
    only = Endpoint("store.invalid", closed_port, "s3://archive")
    egress = Egress(Policy(1, 1, only=only))
    url = f"http://store.invalid:{closed_port}/"
    try:
        with pytest.raises(SourceDns) as unknown:
            _fetch(egress, url)
        resolve[1](("127.0.0.1",))
        with pytest.raises(SourceUnavailable) as refused:
            _fetch(egress, url)
    finally:
        egress.close()
    for caught in (unknown, refused):
        assert "'s3://archive'" in caught.value.message
        assert "store.invalid" not in caught.value.message


UNFIT_FOR_SERVERS = [
    "169.254.169.254",
    "100.100.100.200",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
]


@pytest.mark.parametrize("address", UNFIT_FOR_SERVERS)
def test_the_door_to_one_server_leads_to_no_address_that_no_server_has(
    address: str, resolve: tuple[list[str], Resolve], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(place: tuple[str, int], _: float) -> socket.socket:
        asked.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    resolve[1]((address,))
    egress = Egress(Policy(1, 1, only=Endpoint("store.invalid", 80, "s3://archive")))
    try:
        with pytest.raises(AddressBlocked, match=r"^'s3://archive' is at an address") as caught:
            _fetch(egress, "http://store.invalid/")
    finally:
        egress.close()
    assert "store.invalid" not in caught.value.message
    assert asked == []

    # Unless the operator wrote that very address.
    literal = str(ip_address(address))
    egress = Egress(Policy(1, 1, only=Endpoint(literal, 80, "s3://archive")))
    try:
        with pytest.raises(SourceUnavailable, match="refused the connection"):
            _fetch(egress, f"http://[{address}]/" if ":" in address else f"http://{address}/")
    finally:
        egress.close()
    assert len(asked) == 1


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "127.0.0.1", "64:ff9b::a00:1"])
def test_the_door_to_one_server_leads_to_private_addresses(
    address: str, resolve: tuple[list[str], Resolve], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> socket.socket:
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    resolve[1]((address,))
    egress = Egress(Policy(1, 1, only=Endpoint("store.invalid", 80, "s3://archive")))
    try:
        with pytest.raises(SourceUnavailable, match="refused the connection"):
            _fetch(egress, "http://store.invalid/")
    finally:
        egress.close()


def test_an_answer_that_is_refused_by_its_judge_is_given_to_nobody_and_closed(
    origin: Origin,
) -> None:
    seen: list[Answer] = []

    def judge(answer: Answer) -> None:
        seen.append(answer)
        if answer.status == 403:
            raise SourceUnavailable("On purpose.")

    allowed = frozenset({f"127.0.0.1:{origin.port}"})
    egress = Egress(Policy(1, 1, allowed), judge=judge)
    try:
        with pytest.raises(SourceUnavailable, match="On purpose"):
            _fetch(egress, origin.serve("/refused", b"content", status=403))
        assert _fetch(egress, origin.serve("/passed", b"content")) == b"content"
    finally:
        egress.close()
    assert [one.status for one in seen] == [403, 200]
    assert seen[0]._connection is None


def test_the_next_address_of_a_name_is_tried_where_one_refuses(
    origin: Origin, resolve: tuple[list[str], Resolve]
) -> None:
    allowed = frozenset(f"{host}:{origin.port}" for host in ("127.0.0.3", "127.0.0.1"))
    egress = Egress(Policy(1, 1, allowed))
    origin.serve("/second", b"content")
    url = origin.url("/second", host="two.invalid")
    try:
        resolve[1](("127.0.0.3", "127.0.0.1"))
        assert _fetch(egress, url) == b"content"
        resolve[1](("127.0.0.3",))
        with pytest.raises(SourceUnavailable):
            _fetch(egress, url)
    finally:
        egress.close()


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_certificates_that_cannot_be_read_are_told_at_the_start(
    content: bytes | None, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        Egress(Policy(1, 1, ca_file=ca_file))


def test_many_addresses_that_do_not_answer_take_no_longer_than_one(
    resolve: tuple[list[str], Resolve], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []
    moment = iter(range(10_000))

    def connect(server: object, timeout: float) -> socket.socket:
        del timeout
        tried.append(server)
        raise TimeoutError

    resolve[1](tuple(f"93.184.{high}.{low}" for high in range(4) for low in range(100)))
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr("workers.dialing.time.monotonic", lambda: float(next(moment)))
    egress = Egress(Policy(5, 5))
    with pytest.raises(SourceTimeout):
        egress.get(parse_source_url("http://many.invalid/"), {})
    egress.close()
    assert 1 <= len(tried) <= 5


def _answer_once(listener: socket.socket, answer: bytes) -> list[bytes]:
    """Take one request with its body, answer, and leave the connection open; return what came."""
    connection, _ = listener.accept()
    with connection:
        came = b""
        while not came.endswith(b"}"):
            came += connection.recv(65536)
        connection.sendall(answer)
        connection.settimeout(10)
        connection.recv(1)
    return [came]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def sender(receiver: socket.socket) -> Iterator[Egress]:
    opened = Egress(Policy(1, 1, frozenset({f"127.0.0.1:{receiver.getsockname()[1]}"})))
    yield opened
    opened.close()


def test_a_body_is_posted_as_it_is_with_its_length(
    receiver: socket.socket, sender: Egress, executor: Executor
) -> None:
    heard = executor.submit(_answer_once, receiver, b"HTTP/1.1 204 No Content\r\n\r\n")
    url = parse_source_url(f"http://127.0.0.1:{receiver.getsockname()[1]}/hook?a=b")
    answer = sender.post(url, {"Webhook-Id": "evt_a"}, b'{"a": 1}', limit_s=5)
    assert answer.status == 204
    answer.close()
    head, _, body = heard.result(10)[0].partition(b"\r\n\r\n")
    assert body == b'{"a": 1}'
    assert head.startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    assert {b"Webhook-Id: evt_a", b"Content-Length: 8"} <= set(head.split(b"\r\n"))


def test_a_post_ends_in_its_time_though_the_answers_body_does_not(
    receiver: socket.socket, sender: Egress, executor: Executor
) -> None:
    executor.submit(_answer_once, receiver, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow")
    url = parse_source_url(f"http://127.0.0.1:{receiver.getsockname()[1]}/")
    began = time.monotonic()
    answer = sender.post(url, {}, b"{}", limit_s=0.6)
    view = memoryview(bytearray(9))
    assert answer.read_into(view) == 4
    with pytest.raises(SourceTimeout):
        answer.read_into(view)
    answer.close()
    assert time.monotonic() - began < 1.5


def test_nothing_is_posted_to_an_address_that_is_not_public(
    receiver: socket.socket, egress: Egress
) -> None:
    url = parse_source_url(f"http://127.0.0.1:{receiver.getsockname()[1]}/")
    with pytest.raises(AddressBlocked):
        egress.post(url, {}, b"{}", limit_s=5)

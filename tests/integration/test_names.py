"""Names that lead to IPv6 alone, and names that lead nowhere for a long time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.errors import AddressBlocked, SourceDns, SourceTimeout
from ingest.urls import parse_source_url
from tests.support.origin import Origin
from workers.egress import Egress, Policy

CONNECT_S = 0.5
# What a call takes at most, when the connect limit holds.
PROMPT_S = 2.0
Names = dict[str, Callable[[], list[str]]]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    """An origin that IPv4 does not reach."""
    with Origin(host="::1") as running:
        yield running


@pytest.fixture
def egress(origin: Origin) -> Iterator[Egress]:
    opened = Egress(Policy(CONNECT_S, 5, frozenset({f"[::1]:{origin.port}"})))
    yield opened
    opened.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """What names resolve to; others resolve as they do."""
    known: Names = {}
    really = socket.getaddrinfo

    def look_up(host: str, port: int, *given: Any, **options: Any) -> list[Any]:
        if host not in known:
            return really(host, port, *given, **options)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (one, port, 0, 0)) for one in known[host]()
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """A name server that says nothing until the test is over."""
    ended = threading.Event()
    yield ended
    ended.set()


def fetch(egress: Egress, url: str) -> bytes:
    answer = egress.get(parse_source_url(url), {"Connection": "close"})
    buffer, found = memoryview(bytearray(65536)), b""
    try:
        while count := answer.read_into(buffer):
            found += buffer[:count]
    finally:
        answer.close()
    return found


def test_an_ipv6_address_is_taken_where_it_is_excepted(egress: Egress, origin: Origin) -> None:
    url = origin.serve("/six", b"content")
    assert fetch(egress, url) == b"content"
    assert origin.requests[-1].headers["host"] == f"[::1]:{origin.port}"
    assert fetch(egress, url.replace("[::1]", "[0:0:0:0:0:0:0:1]")) == b"content"


def test_a_name_that_has_ipv6_alone_is_reached(
    egress: Egress, origin: Origin, names: Names
) -> None:
    names["six.invalid"] = lambda: ["::1"]
    origin.serve("/named", b"content")
    assert fetch(egress, origin.url("/named", host="six.invalid")) == b"content"
    assert origin.requests[-1].headers["host"] == f"six.invalid:{origin.port}"


@pytest.mark.parametrize("address", ["::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1", "2002::1"])
def test_a_name_that_has_a_blocked_ipv6_address_alone_is_blocked(
    address: str, names: Names
) -> None:
    names["six.invalid"] = lambda: [address]
    egress = Egress(Policy(CONNECT_S, 5))
    try:
        with pytest.raises(AddressBlocked):
            fetch(egress, "http://six.invalid/")
    finally:
        egress.close()


def test_a_name_server_that_says_nothing_holds_nobody_past_the_connect_limit(
    egress: Egress, names: Names, silence: threading.Event
) -> None:
    names["slow.invalid"] = lambda: ["::1"] if silence.wait(60) else []
    began = time.monotonic()
    with pytest.raises(SourceDns, match=r"slow\.invalid"):
        fetch(egress, "http://slow.invalid/")
    assert CONNECT_S <= time.monotonic() - began < PROMPT_S


def test_a_slow_name_server_and_a_deaf_source_share_one_limit(
    egress: Egress, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_late() -> list[str]:
        time.sleep(CONNECT_S / 2)
        return ["2606:4700::1"]

    names["slow.invalid"] = answer_late
    given: list[float] = []

    def connect(address: tuple[str, int], limit_s: float) -> socket.socket:
        given.append(limit_s)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(SourceTimeout):
        fetch(egress, "http://slow.invalid/")
    assert given[0] <= CONNECT_S / 2

"""Sources on real connections: gone on with where they broke off, and given up while they wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ingest.errors import HeadraceError, SourceChanged, SourceTruncated, SourceUnavailable
from ingest.urls import parse_source_url
from tests.support.origin import (
    Certificates,
    Cut,
    Framing,
    Generated,
    Origin,
    Reply,
    Served,
    Stall,
    TlsCase,
)
from workers.answers import Resume
from workers.egress import Egress, Policy
from workers.fetch import Limits, Source, open_source
from workers.watchdog import Cancellation

LIMITS = Limits(
    max_bytes=10_000_000, total_timeout_s=60, lowest_bps=1, lowest_window_s=60, max_redirects=5
)
# Far above what a test may take: what ends within PROMPT_S was not ended by a timeout.
READ_TIMEOUT_S = 60.0
PROMPT_S = 1.0
BODY = Generated(1_000_000, seed=3)
WHOLE = b"".join(BODY.read_pieces(0, BODY.size_bytes))


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """A listener, to accept from and say nothing to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


@pytest.fixture
def egress(
    origin: Origin,
    tls_origins: dict[TlsCase, Origin],
    certificates: Certificates,
    silence: socket.socket,
) -> Iterator[Egress]:
    ports = (origin.port, tls_origins[TlsCase.TRUSTED].port, silence.getsockname()[1])
    allowed = frozenset(f"127.0.0.1:{port}" for port in ports)
    opened = Egress(Policy(5, READ_TIMEOUT_S, allowed, certificates.ca_file), pool_size=2)
    yield opened
    opened.close()


def start(
    egress: Egress,
    url: str,
    *,
    resume: Resume | None = None,
    cancellation: Cancellation | None = None,
) -> Source:
    return open_source(
        egress, parse_source_url(url), LIMITS, resume=resume, cancellation=cancellation
    )


def read(source: Source) -> bytes:
    buffer = bytearray(LIMITS.max_bytes)
    try:
        return bytes(buffer[: source.fill(buffer)])
    finally:
        source.close()


def test_a_body_that_broke_off_is_gone_on_with(egress: Egress, origin: Origin) -> None:
    whole = Reply(body=BODY, ranges=True, etag='"one"')
    url = origin.route("/resume/cut", replace(whole, cut=Cut(300_000)), whole)

    first = start(egress, url)
    assert (first.etag, first.size_bytes, first.resumed_from) == ('"one"', 1_000_000, 0)
    kept = bytearray(250_000)
    assert first.fill(kept) == 250_000
    with pytest.raises(SourceTruncated):
        first.fill(bytearray(250_000))
    first.close()

    rest = start(egress, url, resume=Resume(250_000, '"one"', 1_000_000))
    assert (rest.resumed_from, rest.received_bytes, rest.etag) == (250_000, 250_000, '"one"')
    assert bytes(kept) + read(rest) == WHOLE
    assert rest.received_bytes == 1_000_000
    assert origin.list_served("/resume/cut") == [
        Served("bytes=0-", None, 300_000),
        Served("bytes=250000-", '"one"', 750_000),
    ]


def test_a_file_that_changed_comes_whole_in_the_same_answer(egress: Egress, origin: Origin) -> None:
    url = origin.serve("/resume/changed", BODY, ranges=True, etag='"two"')
    source = start(egress, url, resume=Resume(300_000, '"one"', 1_000_000))
    assert (source.resumed_from, source.received_bytes, source.etag) == (0, 0, '"two"')
    assert read(source) == WHOLE
    assert origin.list_served("/resume/changed") == [Served("bytes=300000-", '"one"', 1_000_000)]


def test_a_source_without_ranges_sends_all_and_is_not_asked_again(
    egress: Egress, origin: Origin
) -> None:
    url = origin.serve("/resume/ignoring", BODY, etag='"one"')
    source = start(egress, url, resume=Resume(300_000, '"one"', 1_000_000))
    assert source.resumed_from == 0
    assert read(source) == WHOLE
    assert len(origin.list_served("/resume/ignoring")) == 1


@pytest.mark.parametrize(
    "headers",
    [
        b'206 Partial Content\r\nContent-Range: bytes 4-9/10\r\nETag: "two"',
        b"206 Partial Content\r\nContent-Range: bytes 4-9/10",
        b'206 Partial Content\r\nContent-Range: bytes 4-9/*\r\nETag: "one"',
        b'206 Partial Content\r\nContent-Range: bytes 3-9/10\r\nETag: "one"',
        b"416 Range Not Satisfiable\r\nContent-Range: bytes */3",
    ],
)
def test_a_source_that_does_not_look_at_the_validator_is_caught(
    headers: bytes, egress: Egress, origin: Origin
) -> None:
    url = origin.serve_raw("/resume/lying", b"HTTP/1.1 " + headers + b"\r\n\r\n456789")
    with pytest.raises(SourceChanged):
        start(egress, url, resume=Resume(4, '"one"', 10))


def test_a_rest_is_asked_for_behind_redirects_too(egress: Egress, origin: Origin) -> None:
    origin.serve("/resume/c", BODY, ranges=True, etag='"one"')
    origin.redirect("/resume/b", "/resume/c", 307)
    url = origin.redirect("/resume/a", "b")
    source = start(egress, url, resume=Resume(999_990, '"one"', 1_000_000))
    assert read(source) == WHOLE[999_990:]
    for path in ("/resume/a", "/resume/b", "/resume/c"):
        assert origin.list_served(path)[0].range == "bytes=999990-"
        assert origin.list_served(path)[0].if_range == '"one"'


class Waiting:
    """A thread that waits on a source; tells how it ended and how long after it was told to."""

    def __init__(self, wait: Callable[[], object]) -> None:
        self._wait = wait
        self._error: HeadraceError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self, abort: Callable[[], None]) -> HeadraceError | None:
        """Abort; return the error that the thread ended with, which it did at once."""
        assert self._thread.is_alive()
        began = time.monotonic()
        abort()
        self._thread.join(10)
        assert time.monotonic() - began < PROMPT_S
        assert not self._thread.is_alive()
        return self._error

    def _run(self) -> None:
        try:
            self._wait()
        except HeadraceError as error:
            self._error = error


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("secured", ["plain", "tls"])
def test_a_read_that_waits_is_ended_from_another_thread(
    framing: Framing,
    secured: str,
    egress: Egress,
    origin: Origin,
    tls_origins: dict[TlsCase, Origin],
) -> None:
    stall = Stall(10)
    serving = origin if secured == "plain" else tls_origins[TlsCase.TRUSTED]
    url = serving.serve(f"/abort/{framing}", b"x" * 20, stall=stall, framing=framing)
    cancellation = Cancellation()
    source = start(egress, url, cancellation=cancellation)
    waiting = Waiting(lambda: source.fill(bytearray(20)))
    assert stall.reached.wait(10)

    assert isinstance(waiting.end(cancellation.abort), SourceUnavailable)

    with pytest.raises(SourceUnavailable):
        source.fill(bytearray(1))
    source.close()
    cancellation.abort()
    stall.released.set()


def test_a_wait_for_a_head_is_ended_from_another_thread(egress: Egress, origin: Origin) -> None:
    stall = Stall()
    origin.serve("/abort/head", b"x", stall=stall)
    url = origin.redirect("/abort/first", "/abort/head")
    cancellation = Cancellation()
    waiting = Waiting(lambda: start(egress, url, cancellation=cancellation))
    assert stall.reached.wait(10)

    assert isinstance(waiting.end(cancellation.abort), SourceUnavailable)
    stall.released.set()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_wait_for_a_server_that_says_nothing_is_ended_from_another_thread(
    scheme: str, egress: Egress, silence: socket.socket
) -> None:
    cancellation = Cancellation()
    url = f"{scheme}://127.0.0.1:{silence.getsockname()[1]}/"
    waiting = Waiting(lambda: start(egress, url, cancellation=cancellation))
    accepted, _ = silence.accept()
    with accepted:
        # Its first words: a request, or the greeting of TLS.
        assert accepted.recv(1)
        assert isinstance(waiting.end(cancellation.abort), SourceUnavailable)


def test_nothing_is_asked_for_that_was_given_up_before(egress: Egress, origin: Origin) -> None:
    url = origin.serve("/abort/before", b"x")
    cancellation = Cancellation()
    cancellation.abort()
    count = origin.connection_count
    with pytest.raises(SourceUnavailable):
        start(egress, url, cancellation=cancellation)
    assert origin.list_served("/abort/before") == []
    assert origin.connection_count == count


def test_a_source_that_was_read_gives_its_connection_to_others_and_ends_no_read_of_theirs(
    egress: Egress, origin: Origin
) -> None:
    stall = Stall(10)
    cancellation = Cancellation()
    done = start(egress, origin.serve("/abort/done", b"x" * 10), cancellation=cancellation)
    assert done.fill(bytearray(11)) == 10
    count = origin.connection_count
    other = start(egress, origin.serve("/abort/other", b"y" * 20, stall=stall))
    assert origin.connection_count == count

    cancellation.abort()
    stall.released.set()
    assert read(other) == b"y" * 20
    done.close()


def test_a_connection_that_was_given_up_is_used_by_nobody_else(
    egress: Egress, origin: Origin
) -> None:
    cancellation = Cancellation()
    source = start(egress, origin.serve("/abort/whole", BODY), cancellation=cancellation)
    cancellation.abort()
    source.close()
    assert read(start(egress, origin.url("/abort/whole"))) == WHOLE

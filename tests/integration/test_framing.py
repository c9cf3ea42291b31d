"""Heads and chunks as servers send them: the body is the one that was meant, or there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingest.errors import IngestError, SourceInvalid, SourceTruncated
from ingest.urls import parse_source_url
from tests.support.origin import Origin
from workers.egress import Egress, Policy
from workers.fetch import Limits, open_source

LIMITS = Limits(
    max_bytes=20_000_000, total_timeout_s=30, lowest_bps=1, lowest_window_s=30, max_redirects=5
)
BODY = b"sixteen bytes long"
SIZE = b"%x" % len(BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = SIZE + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def _coded(*values: bytes) -> bytes:
    """Return a chunked body under these headers."""
    lines = [b"Transfer-Encoding:" + value for value in values]
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", CHUNKS])


def _sized(size: bytes) -> bytes:
    """Return a body in one chunk whose length is written like this."""
    return CHUNKED + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n"


TAKEN = {
    "coded chunked": _coded(b" chunked"),
    "coded Chunked": _coded(b" Chunked"),
    "coded chunked and white space": _coded(b"\tchunked \t"),
    "coded chunked twice": _coded(b" chunked, chunked"),
    "coded chunked in two headers": _coded(b" chunked", b" chunked"),
    "coded as nothing": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n" + BODY,
    "coded as nothing at all": b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n" + BODY,
    "a chunk with zeros before": _sized(b"0000" + SIZE),
    "a chunk with white space behind": _sized(SIZE + b"  "),
    "a chunk with an extension": _sized(SIZE + b" ;name=value"),
    "lines that end in a line feed": PLAIN.replace(b"\r\n", b"\n"),
    "a trailer": CHUNKED + CHUNKS[:-2] + b"Checksum: 0\r\n\r\n",
    "no line behind the last chunk": CHUNKED + CHUNKS[:-2],
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "HTTP/1.0 in chunks": CHUNKED.replace(b"1.1", b"1.0") + CHUNKS,
    "no reason": b"HTTP/1.1 200\r\n\r\n" + BODY,
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
    "102 before": b"HTTP/1.1 102 Processing\r\n\r\n" + PLAIN,
    "103 before": b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + PLAIN,
    "several before": b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 199 X\r\n\r\n" * 50 + PLAIN,
    "the length twice, alike": (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d, %d\r\n\r\n" % (len(BODY), len(BODY)) + BODY
    ),
}
REFUSED: dict[str, tuple[type[IngestError], bytes]] = {
    **{
        f"coded {name}": (SourceInvalid, _coded(*values))
        for name, values in {
            "gzip": (b" gzip",),
            "gzip, chunked": (b" gzip, chunked",),
            "xchunked": (b" xchunked",),
            "identity, chunked": (b" identity", b" chunked"),
            "chunked, identity": (b" chunked", b" identity"),
        }.items()
    },
    **{
        f"a chunk of {size[:9]!r}, {len(size)} bytes": (SourceTruncated, _sized(size))
        for size in (
            b"",
            b"-" + SIZE,
            b"+" + SIZE,
            b"0x" + SIZE,
            b"0_" + SIZE,
            b" " + SIZE,
            b"twelve",
            b"\xd9\xa1",
            b"F" * 32,
            b"F" * 5000,
            SIZE + b";" + b"x" * 70_000,
        )
    },
    # More than one buffer, so that a parser that takes it for a length is seen to.
    "a long chunk of a negative length": (SourceTruncated, CHUNKED + b"-5\r\n" + BODY * 10_000),
    "a chunk longer than its length": (
        SourceTruncated,
        CHUNKED + b"5\r\n" + BODY + b"\r\n0\r\n\r\n",
    ),
    "no last chunk": (SourceTruncated, CHUNKED + CHUNKS[:-5]),
    # What Python's own client takes for the last chunk.
    "a cut in the length of a chunk": (SourceTruncated, CHUNKED + CHUNKS[:-5] + b"00"),
    "a cut in the last chunk": (SourceTruncated, CHUNKED + CHUNKS[:-4]),
    "other protocols": (SourceInvalid, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "HTTP/2": (SourceInvalid, b"HTTP/2 200\r\n\r\n" + BODY),
    "HTTP/0.9": (SourceInvalid, BODY),
    "white space before a colon": (
        SourceInvalid,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n" + CHUNKS,
    ),
    "a line that is no header": (SourceInvalid, b"HTTP/1.1 200 OK\r\nno header\r\n\r\n" + BODY),
}


@pytest.fixture(scope="module")
def egress(origin: Origin) -> Iterator[Egress]:
    opened = Egress(Policy(5, 5, frozenset({f"127.0.0.1:{origin.port}"})))
    yield opened
    opened.close()


def _read(egress: Egress, url: str) -> bytes:
    source = open_source(egress, parse_source_url(url), LIMITS)
    try:
        # Smaller than what arrives at once, so that nobody hands over more than was asked for.
        buffer = bytearray(1000)
        content = b""
        while not source.ended:
            content += buffer[: source.fill(buffer)]
        return content
    finally:
        source.close()


@pytest.mark.parametrize("answer", TAKEN.values(), ids=TAKEN)
def test_an_answer_that_can_be_understood_is_taken_to_the_byte(
    answer: bytes, egress: Egress, origin: Origin
) -> None:
    assert _read(egress, origin.serve_raw("/framing", answer)) == BODY


@pytest.mark.parametrize(("error", "answer"), REFUSED.values(), ids=REFUSED)
def test_an_answer_whose_end_is_in_doubt_is_refused(
    error: type[IngestError], answer: bytes, egress: Egress, origin: Origin
) -> None:
    with pytest.raises(error):
        _read(egress, origin.serve_raw("/framing", answer))

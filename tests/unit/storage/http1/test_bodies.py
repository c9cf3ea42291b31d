"""Bodies, however they are framed and cut: all of the file, or an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.http1.bodies import Body, frame_body
from storage.http1.errors import EndedEarly, Malformed
from storage.http1.heads import parse_head
from tests.unit.storage.http1.pieces import SIZES, feed

CHUNKED = "Transfer-Encoding: chunked"


def _frame(*lines: str, body: bytes, sizes: list[int] | None = None, method: str = "GET") -> Body:
    source = feed("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + body, sizes)
    return frame_body(method, parse_head(source.read_head()), source)


def _read(body: Body, room: int = 7) -> bytes:
    found, buffer = b"", memoryview(bytearray(room))
    while count := body.read_into(buffer):
        found += buffer[:count]
    return found


def _write_chunks(chunks: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks if one) + b"0\r\n\r\n"


@given(SIZES, st.integers(1, 5000), st.lists(st.binary(max_size=300)))
def test_chunks_make_the_file_they_were_made_of(
    sizes: list[int], room: int, chunks: list[bytes]
) -> None:
    body = _frame(CHUNKED, body=_write_chunks(chunks), sizes=sizes)
    assert _read(body, room) == b"".join(chunks)
    assert body.ended
    assert body.leaves_open


@given(SIZES, st.lists(st.binary(min_size=1, max_size=30), min_size=1), st.data())
def test_chunks_that_were_cut_anywhere_before_the_last_make_no_file(
    sizes: list[int], chunks: list[bytes], data: st.DataObject
) -> None:
    whole = _write_chunks(chunks)
    cut = data.draw(st.integers(0, len(whole) - len(b"0\r\n\r\n")))
    body = _frame(CHUNKED, body=whole[:cut], sizes=sizes)
    with pytest.raises(EndedEarly):
        _read(body)
    assert not body.ended
    assert not body.leaves_open


@given(SIZES, st.binary(max_size=3000), st.integers(1, 5000), st.integers(0, 3000))
def test_a_length_says_where_a_file_ends(
    sizes: list[int], content: bytes, room: int, cut: int
) -> None:
    line = f"Content-Length: {len(content)}"
    body = _frame(line, body=content, sizes=sizes)
    assert _read(body, room) == content
    assert body.leaves_open
    if cut < len(content):
        body = _frame(line, body=content[:cut], sizes=sizes)
        with pytest.raises(EndedEarly):
            _read(body, room)
        assert not body.leaves_open


def test_what_comes_behind_a_body_is_none_of_it_and_spoils_the_connection() -> None:
    body = _frame("Content-Length: 3", body=b"abcdef")
    assert _read(body) == b"abc"
    assert body.ended
    assert not body.leaves_open


def test_without_a_length_the_connections_end_is_the_files() -> None:
    body = _frame(body=b"abcdef" * 5000)
    assert _read(body) == b"abcdef" * 5000
    assert body.ended
    assert not body.leaves_open


@pytest.mark.parametrize(
    ("method", "first"),
    [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")],
)
def test_answers_that_have_no_body_end_with_their_head(method: str, first: str) -> None:
    source = feed(f"HTTP/1.1 {first}\r\nContent-Length: 5\r\n\r\n".encode())
    head = parse_head(source.read_head())
    body = frame_body(method, head, source)
    assert body.ended
    assert body.leaves_open
    # A body that comes all the same would be the answer to the next request.
    assert head.keeps_open is (method == "HEAD")
    assert _read(body) == b""


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 3", "Content-Length: 4"],
        ["Content-Length: 3, 4"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    ],
    ids=str,
)
def test_a_body_whose_end_is_in_doubt_is_not_begun(lines: list[str]) -> None:
    with pytest.raises(Malformed):
        _frame(*lines, body=b"abcd")


@pytest.mark.parametrize("length", ["x", "-1", "+3", "3.0", "0x3", "9" * 20, ""])
def test_a_length_that_is_no_number_is_none(length: str) -> None:
    assert _read(_frame(f"Content-Length: {length}", body=b"abcd")) == b"abcd"


def test_the_same_length_twice_is_one() -> None:
    assert _read(_frame("Content-Length: 3", "Content-Length: 3", body=b"abcd")) == b"abc"


def test_trailers_are_passed_over() -> None:
    body = _frame(CHUNKED, body=b"3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n")
    assert _read(body) == b"abc"
    assert body.leaves_open


def test_trailers_without_an_end_are_given_up() -> None:
    body = _frame(CHUNKED, body=b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 10_000)
    with pytest.raises(Malformed):
        _read(body)
    assert not body.ended


@pytest.mark.parametrize(
    ("version", "more"), [("1.0", "Connection: keep-alive"), ("1.1", "Content-Length: 3")]
)
def test_chunks_where_others_may_see_another_end_keep_no_connection(
    version: str, more: str
) -> None:
    source = feed(f"HTTP/{version} 200 OK\r\n{CHUNKED}\r\n{more}\r\n\r\n".encode())
    head = parse_head(source.read_head())
    assert head.keeps_open
    frame_body("GET", head, source)
    assert not head.keeps_open


def test_a_chunk_that_does_not_end_where_it_says_is_cut() -> None:
    body = _frame(CHUNKED, body=b"3\r\nabc" + b"x" * 70_000)
    with pytest.raises(EndedEarly):
        _read(body)

"""Lines and heads, however they are cut on their way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.http1.errors import EndedEarly, Malformed, NoAnswer
from tests.unit.storage.http1.pieces import SIZES, feed

HEAD = b"HTTP/1.1 200 OK\r\nA: " + b"x" * 50 + b"\r\n\r\n"


@given(SIZES, st.integers(1, 9000))
def test_heads_lines_and_bytes_come_out_as_they_went_in(sizes: list[int], room: int) -> None:
    body = bytes(range(256)) * 50
    source = feed(HEAD + b"a line\r\nanother\n" + HEAD + body, sizes)
    assert source.read_head() == HEAD
    assert source.read_line() == b"a line\r\n"
    assert source.read_line() == b"another\n"
    assert source.read_head() == HEAD
    found, buffer = b"", memoryview(bytearray(room))
    while count := source.read_into(buffer):
        found += buffer[:count]
    assert found == body
    assert source.is_empty


@pytest.mark.parametrize("size_bytes", [8 * 1024 - 1, 8 * 1024, 8 * 1024 + 1, 60_000])
def test_a_head_longer_than_the_buffer_is_read(size_bytes: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nA: " + b"x" * (size_bytes - 24) + b"\r\n\r\n"
    source = feed(head + b"the rest\n")
    assert source.read_head() == head
    assert source.read_line() == b"the rest\n"


@pytest.mark.parametrize("more", [b"A: " + b"x" * 70_000, b"A: b\r\n" * 20_000])
def test_a_head_without_an_end_is_given_up(more: bytes) -> None:
    with pytest.raises(Malformed, match="without an end"):
        feed(b"HTTP/1.1 200 OK\r\n" + more).read_head()


def test_a_line_without_an_end_is_given_up() -> None:
    with pytest.raises(Malformed, match="without an end"):
        feed(b"x" * 70_000).read_line()


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", NoAnswer), (HEAD[:3], EndedEarly), (HEAD[:-1], EndedEarly), (b"what?", Malformed)],
)
def test_a_connection_that_ends_says_how_far_it_came(
    content: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        feed(content).read_head()
    assert caught.type is error

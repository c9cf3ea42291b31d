"""Heads as servers write them, and requests as they go out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.http1.errors import Malformed
from storage.http1.heads import parse_head, write_head

NAME = st.text("abcXYZ-_!~09", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, blacklist_characters="\x7f"))


def _parse(*lines: str, end: str = "\r\n") -> dict[str, list[str]]:
    block = end.join(["HTTP/1.1 200 OK", *lines, "", ""]).encode("latin-1")
    headers = parse_head(block).headers
    return {name: headers.list_values(name) for name in headers}


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        (["A: b"], {"a": ["b"]}),
        (["A:b"], {"a": ["b"]}),
        (["A: \t b c \t"], {"a": ["b c"]}),
        (["A:"], {"a": [""]}),
        (["A: b:c"], {"a": ["b:c"]}),
        (["A: 1", "B: 2", "a: 3"], {"a": ["1", "3"], "b": ["2"]}),
        (["A: b", " c"], {"a": ["b c"]}),
        (["A: b", "\t c", " d", "E: f"], {"a": ["b c d"], "e": ["f"]}),
        (["A: b", " "], {"a": ["b"]}),
        (["A: é"], {"a": ["é"]}),
    ],
    ids=str,
)
def test_fields_are_read_as_they_are_meant(
    lines: list[str], expected: dict[str, list[str]], end: str
) -> None:
    assert _parse(*lines, end=end) == expected


@pytest.mark.parametrize(
    "lines",
    [
        ["no header"],
        ["no header: x"],
        ["A : b"],
        [": b"],
        [" A: b"],
        ["A: b", "", "C: d"],
        ["A: b\rC: d"],
        ["A: b\0"],
        ["A\xe9: b"],
        ["A: b", "no header"],
        ["A: b"] * 257,
    ],
    ids=lambda lines: str(lines)[:40],
)
def test_a_line_too_many_or_that_is_no_header_makes_the_whole_head_worthless(
    lines: list[str],
) -> None:
    with pytest.raises(Malformed):
        _parse(*lines)


@pytest.mark.parametrize(
    "first",
    ["", "HTTP/2 200", "HTTP/1 200", "HTTP/1.1", "HTTP/1.1 2000", "HTTP/1.1 20", "HTTP/1.1 099",
     "HTTP/1.1 200OK", "ICY 200 OK", "http/1.1 200 OK", " HTTP/1.1 200 OK", "HTTP/1.1 ²00 OK"],
)  # fmt: skip
def test_a_first_line_of_another_protocol_is_refused(first: str) -> None:
    with pytest.raises(Malformed):
        parse_head(f"{first}\r\nA: b\r\n\r\n".encode("latin-1"))


@pytest.mark.parametrize(
    ("first", "options", "expected"),
    [
        ("HTTP/1.1 200 OK", "", True),
        ("HTTP/1.1 200 OK", "keep-alive", True),
        ("HTTP/1.1 200 OK", "close", False),
        ("HTTP/1.1 200 OK", "Keep-Alive, Close", False),
        ("HTTP/1.0 200 OK", "", False),
        ("HTTP/1.0 200 OK", "Keep-Alive", True),
        ("HTTP/1.0 200 OK", "keep-alive, close", False),
        ("HTTP/1.9 404", "upgrade", True),
    ],
)
def test_whether_a_connection_stays_open_is_as_version_and_options_say(
    first: str, options: str, expected: object
) -> None:
    head = parse_head(f"{first}\r\nConnection: {options}\r\n\r\n".encode())
    assert head.keeps_open is expected
    assert head.status == int(first.split()[1])


def test_fields_are_found_in_any_case_and_joined() -> None:
    headers = parse_head(b"HTTP/1.1 200 OK\r\nVary: a\r\nVARY: b\r\n\r\n").headers
    assert headers["vary"] == headers["Vary"] == headers.get("VARY") == "a, b"
    assert "VaRy" in headers
    assert "vari" not in headers
    assert len(headers) == 1


@given(st.lists(st.tuples(NAME, VALUE)))
def test_what_is_written_is_read(fields: list[tuple[str, str]]) -> None:
    written = write_head("GET", "/a?b=%20", fields)
    first, _, rest = written.partition(b"\r\n")
    assert first == b"GET /a?b=%20 HTTP/1.1"
    headers = parse_head(b"HTTP/1.1 200 OK\r\n" + rest).headers
    expected: dict[str, list[str]] = {}
    for name, value in fields:
        expected.setdefault(name.lower(), []).append(value)
    assert {name: headers.list_values(name) for name in headers} == expected


@given(st.lists(st.sampled_from(["A", ":", " ", "\t", "\r", "\n", "\0", "b", "\r\n", "\xff"])))
def test_whatever_comes_is_read_or_refused(parts: list[str]) -> None:
    block = f"HTTP/1.1 200 OK\r\n{''.join(parts)}\r\n\r\n".encode("latin-1")
    try:
        headers = parse_head(block).headers
    except Malformed:
        return
    assert all(char not in "".join(headers.values()) for char in "\r\n\0")


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/a b", []),
        ("/a\r\nX: y", []),
        ("/ä", []),
        ("", [("A", "b\r\nC: d")]),
        ("/", [("A", "b\nC: d")]),
        ("/", [("A", "b\0")]),
        ("/", [("A\r\nB", "c")]),
    ],
    ids=str,
)
def test_nothing_that_is_written_begins_another_line(
    target: str, fields: list[tuple[str, str]]
) -> None:
    with pytest.raises(ValueError, match="wrong place"):
        write_head("GET", target, fields)

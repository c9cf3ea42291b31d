"""Headers for sources: what passes, and that nothing which passes breaks a request apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import FieldInvalid
from ingest.source_headers import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    check_headers,
    dump_headers,
    load_headers,
)
from storage.http1.heads import write_head


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer a.b-c_d=="},
        {"Cookie": "a=b; c=d"},
        {"X-A": "a\tb"},
        {"Referer": "https://example.com/?a=b"},
        {"a" * 100: "~" * 1000},
        {f"X-{number}": "a" for number in range(MAX_HEADERS)},
        {"A": "b" * (MAX_HEADER_BYTES - 5)},
    ],
    ids=lambda headers: ascii(headers)[:50],
)
def test_good_headers_pass_with_their_names_in_lower_case(headers: dict[str, str]) -> None:
    assert check_headers(headers) == {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"": "a"}, "no header has"),
        ({"a b": "c"}, "no header has"),
        ({"a:": "c"}, "no header has"),
        ({"a\n": "c"}, "no header has"),
        ({"ä": "c"}, "no header has"),
        ({":authority": "c"}, "no header has"),
        ({"a": ""}, "'a'"),
        ({"a": " b"}, "'a'"),
        ({"a": "b "}, "'a'"),
        ({"a": "b\n"}, "'a'"),
        ({"a": "b\rc"}, "'a'"),
        ({"a": "b\0c"}, "'a'"),
        ({"a": "b\x7f"}, "'a'"),
        ({"a": "ä"}, "'a'"),
        ({"a": "\ud800"}, "'a'"),
        ({"A": "b", "a": "c"}, "twice"),
        ({f"X-{number}": "a" for number in range(MAX_HEADERS + 1)}, "33 headers"),
        ({"A": "b" * (MAX_HEADER_BYTES - 4)}, "8193 bytes"),
        *(
            ({name: "a"}, f"'{name.lower()}'")
            for name in (
                "Host", "CONTENT-LENGTH", "Transfer-Encoding", "Connection", "Range", "If-Range",
                "If-None-Match", "Accept-Encoding", "TE", "Upgrade", "Expect", "Trailer",
                "Keep-Alive", "Proxy-Authorization", "Proxy-Connection",
            )
        ),
    ],
    ids=lambda value: ascii(value)[:50],
)  # fmt: skip
def test_bad_headers_are_refused_with_the_reason(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        check_headers(headers)
    assert reason in caught.value.message
    assert caught.value.param == "headers"


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=4))
def test_whatever_passes_stands_on_one_line_each(headers: dict[str, str]) -> None:
    try:
        checked = check_headers(headers)
    except FieldInvalid:
        return
    lines = write_head("GET", "/", checked.items()).split(b"\r\n")
    assert lines[1:-2] == [f"{name}: {value}".encode() for name, value in checked.items()]
    assert load_headers(dump_headers(checked)) == checked

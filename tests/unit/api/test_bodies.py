"""Bodies are JSON as the standard has it, and nothing else."""

from __future__ import annotations

import json

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from api.bodies import StrictJson
from ingest.errors import BodyInvalid
from ingest.strict_json import MAX_FIELDS

PROVIDER = StrictJson(Flask("tests"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda children: st.lists(children) | st.dictionaries(TEXT, children),
)


@given(VALUES)
def test_whatever_json_can_say_is_read_as_it_was_said(value: object) -> None:
    assert PROVIDER.loads(json.dumps(value).encode()) == value
    assert PROVIDER.loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused_in_our_own_words(body: bytes) -> None:
    try:
        read = PROVIDER.loads(body)
    except BodyInvalid as error:
        said = error.message
    else:
        said = "" if read == json.loads(body or b"{}") else "read as something else"
    assert said == "" or said.startswith("The body ")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b" ", "line 1, column 2"),
        (b'{"a": 1,\n "b" 2}', "line 2, column 6"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e400]", "out of range"),
        (b"[-1e400]", "out of range"),
        (b"[" + b"1" * 5000 + b"]", "too many digits"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'{"b": {"a": 1, "\\u0061": 2}}', "twice"),
        (b'"\xff"', "UTF-8"),
        ("{}".encode("utf-16"), "UTF-8"),
        (b"[" * 100_000, "too deep"),
    ],
)
def test_what_is_refused_is_refused_with_the_reason(body: bytes, said: str) -> None:
    with pytest.raises(BodyInvalid) as caught:
        PROVIDER.loads(body)
    assert said in caught.value.message


def test_a_byte_order_mark_is_passed_over() -> None:
    assert PROVIDER.loads(b"\xef\xbb\xbf{}") == {}


def test_an_object_has_a_limit_of_fields_wherever_it_stands() -> None:
    fields = {f"a{number}": number for number in range(MAX_FIELDS)}
    assert PROVIDER.loads(json.dumps([fields])) == [fields]
    with pytest.raises(BodyInvalid, match="more than 4096 fields"):
        PROVIDER.loads(json.dumps([{**fields, "one": "more"}]))

"""Requests as models: what is taken comes out normalised, what is not says why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.problems import explain_invalid
from api.schemas import FileListing, FileRequest, TaskListing, TaskRequest
from ingest.errors import BodyInvalid, FieldInvalid
from ingest.model import Order

URL = "https://example.com/a.mp4"


def _explain(
    model: type[FileRequest | TaskRequest | FileListing | TaskListing], body: object
) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    error = explain_invalid(caught.value)
    assert isinstance(error, (FieldInvalid, BodyInvalid))
    return error.message


def test_a_request_becomes_an_order_in_one_form() -> None:
    asked = FileRequest.model_validate(
        {
            "url": "HTTPS://Example.COM:443/a.mp4#t=1",
            "folder": "cafe\u0301/",
            "filename": "e\u0301.mp4",
            "ref": "r",
            "metadata": {"a": [1, None]},
            "checksum": "MD5:" + "A" * 32,
            "max_bytes": 5,
        }
    )
    assert asked.to_order() == Order(
        url=URL,
        folder="caf\u00e9",
        filename="\u00e9.mp4",
        ref="r",
        metadata={"a": [1, None]},
        checksum="md5:" + "a" * 32,
        max_bytes=5,
    )


def test_what_is_left_out_or_null_is_none() -> None:
    bare = FileRequest.model_validate({"url": URL}).to_order()
    fields = ("folder", "filename", "ref", "metadata", "checksum", "max_bytes")
    null = FileRequest.model_validate({"url": URL, **dict.fromkeys(fields)}).to_order()
    assert bare == null == Order(URL, None, None, None, None, None, None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'url' is missing."),
        ({"url": 5}, "'url' input should be a valid string; it got 5."),
        ({"url": True}, "'url' input should be a valid string; it got true."),
        ({"url": None}, "'url' input should be a valid string; it got null."),
        ({"url": []}, "'url' input should be a valid string; it got an array."),
        ({"url": URL, "x": 1}, "'x' is no field of this request."),
        ({"url": URL, "metadata": 1}, "'metadata' input should be a valid dictionary; it got 1."),
        ({"url": "x" * 9000}, f"'url' is longer than 8192 bytes; it got '{'x' * 60}\u2026'."),
        ([], "The body is an array; it takes a JSON object."),
    ],
)
def test_a_refusal_says_which_field_what_it_takes_and_what_it_got(
    body: object, message: str
) -> None:
    assert _explain(FileRequest, body) == message


def test_a_task_takes_what_a_file_takes_and_its_kind() -> None:
    assert TaskRequest.model_validate({"url": URL, "kind": "ingest"}).to_order().url == URL
    assert _explain(TaskRequest, {"url": URL}) == "'kind' is missing."
    assert "'ingest'" in _explain(TaskRequest, {"url": URL, "kind": "transcode"})


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"a": "x" * 16_000},
        {"a": [[[[[[1]]]]]]},
        {"a": r"\u0000"},
        {"a": "\\\\u0000"},
        {"\U0001f3ac": "\u202e"},
        {"a": 10**300, "b": -0.0, "c": False},
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_metadata_is_kept_as_it_is(metadata: dict[str, object]) -> None:
    asked = FileRequest.model_validate({"url": URL, "metadata": metadata})
    assert asked.metadata == metadata


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a": "x" * 16_400}, "16384 bytes"),
        ({"a": "\u00fc" * 8_300}, "16384 bytes"),
        ({"a": [[[[[[[1]]]]]]]}, "8 levels"),
        ({"a": "\x00"}, "U+0000"),
        ({"\x00": 1}, "U+0000"),
        ({"a": "\\\x00"}, "U+0000"),
        ({"a": "\ud800"}, "surrogate"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_metadata_that_cannot_be_kept_is_refused(metadata: dict[str, object], said: str) -> None:
    assert said in _explain(FileRequest, {"url": URL, "metadata": metadata})


@given(
    st.dictionaries(
        st.sampled_from(sorted(TaskRequest.model_fields)) | st.text(max_size=5),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=20)
        | st.lists(st.integers(), max_size=3)
        | st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
    )
)
def test_any_body_is_taken_or_refused_in_one_readable_sentence(body: dict[str, object]) -> None:
    try:
        TaskRequest.model_validate(body)
    except ValidationError as caught:
        error = explain_invalid(caught)
        error.message.encode()
        assert error.message.endswith(".")
        assert len(error.message) < 600
        if isinstance(error, FieldInvalid):
            assert error.param is not None
            assert error.message.startswith(f"'{error.param}' ")


def test_a_listing_has_its_defaults() -> None:
    asked = TaskListing.model_validate({})
    assert (asked.page, asked.limit, asked.after, asked.before) == (1, 20, None, None)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"limit": "0"}, "greater than or equal to 1"),
        ({"limit": "101"}, "less than or equal to 100"),
        ({"limit": "x"}, "integer"),
        ({"page": "0"}, "greater than or equal to 1"),
        ({"after": "x"}, "pattern"),
        ({"kind": "x"}, "'video', 'audio' or 'image'"),
        ({"x": "1"}, "no field"),
    ],
)
def test_a_listing_is_refused_by_name(query: dict[str, str], said: str) -> None:
    assert said in _explain(FileListing, query)

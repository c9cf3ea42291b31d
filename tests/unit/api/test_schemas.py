"""Requests as models: what is taken comes out normalised, what is not says why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from api.schemas import FileListing, FileRequest, NoFields, TaskChange, TaskListing, TaskRequest
from ingest.complaints import explain_invalid
from ingest.errors import BodyInvalid, FieldInvalid
from ingest.model import Order

URL = "https://example.com/a.mp4"


def _explain(model: type[BaseModel], body: object) -> str:
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


@pytest.mark.parametrize("priority", [-10, -1, 0, 10])
@pytest.mark.parametrize("max_attempts", [1, 100])
def test_a_task_takes_a_priority_and_a_number_of_attempts(priority: int, max_attempts: int) -> None:
    asked = TaskRequest.model_validate(
        {"url": URL, "kind": "ingest", "priority": priority, "max_attempts": max_attempts}
    )
    assert (asked.to_order().priority, asked.max_attempts) == (priority, max_attempts)


@pytest.mark.parametrize("more", [{}, {"priority": None, "max_attempts": None}])
def test_a_task_that_asks_for_no_priority_has_the_middle_one(more: dict[str, None]) -> None:
    asked = TaskRequest.model_validate({"url": URL, "kind": "ingest", **more})
    assert (asked.to_order().priority, asked.max_attempts) == (0, None)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("priority", -11, "greater than or equal to -10"),
        ("priority", 11, "less than or equal to 10"),
        ("priority", "5", "integer"),
        ("priority", True, "integer"),
        ("priority", 1.0, "integer"),
        ("max_attempts", 0, "greater than or equal to 1"),
        ("max_attempts", 101, "less than or equal to 100"),
        ("max_attempts", "5", "integer"),
        ("max_attempts", False, "integer"),
    ],
)
def test_a_priority_or_number_of_attempts_out_of_range_is_refused(
    field: str, value: object, said: str
) -> None:
    message = _explain(TaskRequest, {"url": URL, "kind": "ingest", field: value})
    assert message.startswith(f"'{field}' ")
    assert said in message


@pytest.mark.parametrize("field", ["priority", "max_attempts", "kind"])
def test_a_request_for_a_file_takes_no_field_that_only_tasks_have(field: str) -> None:
    assert (
        _explain(FileRequest, {"url": URL, field: 1}) == f"'{field}' is no field of this request."
    )


def test_a_change_takes_a_url_as_a_request_does_and_nothing_else() -> None:
    change = TaskChange.model_validate({"url": "HTTPS://Example.COM:443/a.mp4?sig=%2f#t=1"})
    assert change.url == f"{URL}?sig=%2f"
    assert _explain(TaskChange, {}) == "'url' is missing."
    assert _explain(TaskChange, {"url": "ftp://example.com/"}).startswith("'url' ")
    for field in ("filename", "priority", "status"):
        message = _explain(TaskChange, {"url": URL, field: "x"})
        assert message == f"'{field}' is no field of this request."


def test_what_takes_no_field_takes_an_empty_object_alone() -> None:
    assert NoFields.model_validate({}) == NoFields()
    assert _explain(NoFields, {"reason": "x"}) == "'reason' is no field of this request."


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

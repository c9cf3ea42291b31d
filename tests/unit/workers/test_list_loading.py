"""What holds for the items of a list that somebody serves: what the request says, then the list."""

from __future__ import annotations

import io

import pytest

from ingest.batch_requests import BatchOptions
from ingest.errors import BodyInvalid, FieldInvalid
from ingest.list_rows import ListFormat
from workers.list_loading import read_list

ASKED = BatchOptions.model_validate(
    {"on_error": "abort", "defaults": {"folder": "asked", "headers": {"A": "b"}}}
)


def test_a_json_list_fills_in_what_the_request_does_not_say() -> None:
    content = b'{"defaults": {"folder": "listed", "ref": "listed"}, "items": [{"url": "x"}, 1]}'
    options, rows = read_list(ASKED, io.BytesIO(content), ListFormat.JSON)
    assert options.on_error == "abort"
    assert options.defaults is not None
    assert options.defaults.model_dump(exclude_none=True) == {
        "folder": "asked", "ref": "listed", "headers": {"a": "b"}
    }  # fmt: skip
    found = list(rows)
    assert [row.line for row in found] == [1, 2]
    assert found[0].fields == {"url": "x"}
    assert found[1].error is not None


def test_a_list_without_defaults_and_one_of_another_form_change_nothing() -> None:
    options, rows = read_list(ASKED, io.BytesIO(b'{"items": [{"url": "x"}]}'), ListFormat.JSON)
    assert (options, len(list(rows))) == (ASKED, 1)
    options, rows = read_list(ASKED, io.BytesIO(b"url\nx\n"), ListFormat.CSV)
    assert (options, [row.line for row in rows]) == (ASKED, [2])


def test_defaults_of_a_list_hold_where_the_request_has_none() -> None:
    content = b'{"items": [], "defaults": {"priority": 3}}'
    options, _ = read_list(BatchOptions.model_validate({}), io.BytesIO(content), ListFormat.JSON)
    assert options.defaults is not None
    assert options.defaults.priority == 3


@pytest.mark.parametrize(
    ("content", "error", "word"),
    [
        (b"[]", BodyInvalid, "The list"),
        (b"{}", BodyInvalid, "The list has no 'items'"),
        (b'{"items": [], "dry_run": true}', FieldInvalid, "'dry_run' stands in the request"),
        (b'{"items": [], "defaults": 1}', FieldInvalid, "'defaults'"),
        (b'{"items": [], "defaults": {"priority": "3"}}', FieldInvalid, "priority"),
    ],
)
def test_what_a_list_may_not_say_is_told(
    content: bytes, error: type[BodyInvalid | FieldInvalid], word: str
) -> None:
    with pytest.raises(error, match=word):
        read_list(ASKED, io.BytesIO(content), ListFormat.JSON)

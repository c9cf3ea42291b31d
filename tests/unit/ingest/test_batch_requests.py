"""What may be asked of a batch, and where its list may be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ingest.batch_requests import BatchOptions, ListSource, SourcedBatchRequest
from ingest.complaints import explain_invalid
from ingest.list_rows import ListFormat

URL = "https://example.com/list.csv?signature=x"


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        (None, None),
        ("csv", ListFormat.CSV),
        ("ndjson", ListFormat.NDJSON),
        ("json", ListFormat.JSON),
        ("urls", ListFormat.TEXT),
        ("tsv", ListFormat.TSV),
    ],
)
def test_each_format_is_one_that_can_be_read(asked: str | None, form: ListFormat | None) -> None:
    assert ListSource.model_validate({"source_url": URL, "format": asked}).form is form


@pytest.mark.parametrize("url", [URL, "s3://archive/lists/a.csv", "http://example.com/"])
def test_a_url_is_taken_as_those_of_items_are(url: str) -> None:
    assert ListSource.model_validate({"source_url": url}).source_url == url


@pytest.mark.parametrize(
    ("fields", "param", "word"),
    [
        ({}, "source_url", ""),
        ({"source_url": "list.csv"}, "source_url", "no scheme"),
        ({"source_url": "file:///etc/passwd"}, "source_url", "scheme 'file'"),
        ({"source_url": URL, "format": "text"}, "format", "csv"),
        ({"source_url": URL, "headers": {"Host": "x"}}, "headers", "host"),
        ({"source_url": URL, "headers": {"A": 1}}, "headers", ""),
        ({"source_url": URL, "sauce": 1}, "sauce", ""),
    ],
)
def test_what_is_wrong_is_said_of_its_field(
    fields: dict[str, object], param: str, word: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        ListSource.model_validate(fields)
    error = explain_invalid(caught.value)
    assert error.param == param
    assert word in error.message


def test_a_body_with_a_source_has_all_options() -> None:
    assert set(SourcedBatchRequest.model_fields) == {
        *BatchOptions.model_fields, *ListSource.model_fields
    }  # fmt: skip
    assert BatchOptions.model_validate({"dry_run": True, "check_sources": True}).check_sources

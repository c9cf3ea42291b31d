"""What stands on the page, and the commands it shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.reference.page import Operation, build_page
from api.specification import render_document

_KEY = '-H "Authorization: Bearer $HEADRACE_KEY"'


@pytest.fixture(scope="module")
def operations() -> dict[str, Operation]:
    page = build_page(json.loads(render_document()))
    return {one.id: one for group in page.groups for one in group.operations}


def _build(method: str, operation: dict[str, Any]) -> Operation:
    base = {"operationId": "x", "summary": "X", "tags": ["T"], "responses": {}}
    document = {
        "info": {"title": "T", "version": "1", "description": ""},
        "tags": [{"name": "T", "description": ""}],
        "paths": {"/x": {method: base | operation}},
        "components": {"schemas": {}, "examples": {}},
    }
    return build_page(document).groups[0].operations[0]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("list_files", ['curl "$HEADRACE_URL/files"', _KEY]),
        ("get_healthz", ['curl "$HEADRACE_URL/healthz"']),
        (
            "cancel_task",
            [
                'curl "$HEADRACE_URL/tasks/task_01k9x3v5w8r2m4n6p7q8s9t0v1/cancel"',
                "--request POST",
                _KEY,
            ],
        ),
        (
            "update_file",
            [
                'curl "$HEADRACE_URL/files/file_01k9x3v5w8r2m4n6p7q8s9t0v1"',
                "--request PATCH",
                _KEY,
                "-H 'Content-Type: application/json'",
                '-d \'{"ref": "upload-1", "metadata": {"album": "summer"}}\'',
            ],
        ),
    ],
)
def test_a_command_does_what_the_operation_is_for(
    operations: dict[str, Operation], name: str, lines: list[str]
) -> None:
    assert operations[name].command.split(" \\\n  ") == lines


def test_a_body_that_is_no_json_is_a_file_to_send() -> None:
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    one = _build("put", {"requestBody": {"content": content}})
    assert one.body is not None
    assert (one.body.type, one.body.samples) == (None, [])
    assert one.command.split(" \\\n  ") == [
        'curl "$HEADRACE_URL/x"',
        "--request PUT",
        "-H 'Content-Type: application/octet-stream'",
        "--data-binary @video.mp4",
    ]


def test_errors_are_told_from_answers(operations: dict[str, Operation]) -> None:
    answers = {answer.status: answer for answer in operations["create_file"].answers}
    assert not answers["201"].is_error
    assert answers["201"].samples[0].title == "FileAnswer"
    assert answers["422"].is_error
    assert "`source_not_found`" in answers["422"].description

"""docs/openapi.json: complete, true to the models, and what the API serves now."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.answers import ANSWERS
from api.example_requests import BODIES
from api.specification import render_document
from ingest.errors import HeadraceError

_PATH = Path(__file__).parents[3] / "docs/openapi.json"
_JSON = "application/json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_document())
    return found


def _list_operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _follow(document: dict[str, Any], example: dict[str, Any]) -> Any:
    name = example["$ref"].removeprefix("#/components/examples/")
    return document["components"]["examples"][name]["value"]


def _list_codes() -> set[str]:
    kinds, codes = [HeadraceError], set()
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        codes.add(kind.code)
    return codes


def test_the_file_is_what_the_api_serves() -> None:
    assert _PATH.read_text() == render_document(), "run `make openapi` to write it anew"


def test_every_body_has_an_example_that_its_schema_takes(document: dict[str, Any]) -> None:
    seen = set()
    for _, _, operation in _list_operations(document):
        for kind, content in operation.get("requestBody", {"content": {}})["content"].items():
            if kind != _JSON:
                assert kind == "application/octet-stream" or content["example"]
                continue
            schemas = content["schema"].get("anyOf", [content["schema"]])
            named = content.get("examples")
            examples = [one["value"] for one in named.values()] if named else [content["example"]]
            for schema, example in zip(schemas, examples, strict=True):
                Draft202012Validator({**schema, "components": document["components"]}).validate(
                    example
                )
                seen.add(schema["$ref"].rpartition("/")[2])
    assert seen == BODIES.keys()


def test_every_answer_has_an_example_that_its_schema_takes(document: dict[str, Any]) -> None:
    shown = set()
    for path, method, operation in _list_operations(document):
        for status, answer in operation["responses"].items():
            assert ("content" in answer) is (status not in {"204", "302"}), (method, path, status)
            for kind, content in answer.get("content", {}).items():
                if kind != _JSON:
                    assert content["example"]
                    continue
                assert content["examples"], (method, path, status)
                schema = {**content["schema"], "components": document["components"]}
                for example in content["examples"].values():
                    Draft202012Validator(schema).validate(_follow(document, example))
                shown.add(content["schema"]["$ref"].rpartition("/")[2])
    assert shown == {answer.__name__ for answer in ANSWERS}


def test_every_error_says_which_codes_it_may_have(document: dict[str, Any]) -> None:
    codes = _list_codes()
    for path, method, operation in _list_operations(document):
        for status, answer in operation["responses"].items():
            if int(status) < 400 or (path == "/readyz" and status == "503"):
                continue
            examples = answer["content"][_JSON]["examples"]
            assert examples.keys() <= codes, (method, path)
            for code, example in examples.items():
                assert _follow(document, example)["error"]["code"] == code
                assert f"`{code}`" in answer["description"]


def test_errors_that_anybody_can_meet_are_everywhere(document: dict[str, Any]) -> None:
    for path, method, operation in _list_operations(document):
        wanted = {"internal_error"}
        if operation.get("security"):
            wanted |= {"unauthorized", "forbidden", "rate_limited", "field_invalid"}
            wanted |= {"database_unavailable"}
            if "{" in path:
                wanted |= {"not_found"}
            if method in {"post", "patch"}:
                wanted |= {"body_invalid", "body_too_large", "media_type_unsupported"}
            if method == "post":
                wanted |= {"idempotency_in_flight", "idempotency_mismatch"}
        found = {
            code
            for answer in operation["responses"].values()
            for code in answer.get("content", {}).get(_JSON, {}).get("examples", {})
        }
        assert wanted <= found, (method, path)


def test_operations_are_called_as_methods_are(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in _list_operations(document)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", name) for name in names)
    assert {"create_file", "list_files", "get_file", "update_file", "delete_file"} <= set(names)
    assert {"list_batch_tasks", "cancel_task", "create_batch", "get_project"} <= set(names)
    assert {"list_webhook_deliveries", "redeliver_webhook_delivery"} <= set(names)


def test_tags_are_explained_and_each_is_there_once(document: dict[str, Any]) -> None:
    used = {tag for _, _, operation in _list_operations(document) for tag in operation["tags"]}
    names = [tag["name"] for tag in document["tags"]]
    assert sorted(names) == sorted(used)
    assert all(tag["description"] for tag in document["tags"])


def test_what_stands_in_a_path_has_an_example(document: dict[str, Any]) -> None:
    for _, _, operation in _list_operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter["in"] != "path" or parameter["example"]

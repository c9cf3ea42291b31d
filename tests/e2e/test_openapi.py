"""The OpenAPI document is valid, complete, and true of what the API really answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from cli.local import LocalStack
from tests.support.api import Api
from tests.support.documented import DOCUMENT_PATH
from tests.support.origin import Origin, Stall

PATHS = {
    "/files": {"get", "post"},
    "/files/{file_id}": {"get", "patch", "delete"},
    "/media": {"get"},
    "/media/{media_id}": {"get", "delete"},
    "/tasks": {"get", "post"},
    "/tasks/{task_id}": {"get", "patch"},
    "/tasks/{task_id}/events": {"get"},
    "/tasks/{task_id}/cancel": {"post"},
    "/tasks/{task_id}/retry": {"post"},
    "/batches": {"get", "post"},
    "/batches/{batch_id}": {"get"},
    "/batches/{batch_id}/tasks": {"get"},
    "/batches/{batch_id}/results.csv": {"get"},
    "/batches/{batch_id}/results.ndjson": {"get"},
    "/batches/{batch_id}/pause": {"post"},
    "/batches/{batch_id}/resume": {"post"},
    "/batches/{batch_id}/cancel": {"post"},
    "/batches/{batch_id}/retry": {"post"},
    "/keys": {"get", "post"},
    "/keys/{key_id}": {"get", "delete"},
    "/webhooks/endpoints": {"get", "post"},
    "/webhooks/endpoints/{endpoint_id}": {"get", "patch", "delete"},
    "/webhooks/endpoints/{endpoint_id}/secret": {"get"},
    "/webhooks/endpoints/{endpoint_id}/rotate": {"post"},
    "/webhooks/endpoints/{endpoint_id}/test": {"post"},
    "/webhooks/endpoints/{endpoint_id}/replay": {"post"},
    "/webhooks/secret": {"get"},
    "/webhooks/secret/rotate": {"post"},
    "/webhooks/deliveries": {"get"},
    "/webhooks/deliveries/{delivery_id}": {"get"},
    "/webhooks/deliveries/{delivery_id}/redeliver": {"post"},
    "/events": {"get"},
    "/events/{event_id}": {"get"},
    "/project": {"get"},
    "/signatures": {"post"},
    "/uploads/{project_id}/{name}": {"put"},
    "/delivery/{name}": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
}
BODILESS = {
    "/tasks/{task_id}/cancel",
    "/tasks/{task_id}/retry",
    "/batches/{batch_id}/pause",
    "/batches/{batch_id}/resume",
    "/batches/{batch_id}/cancel",
    "/batches/{batch_id}/retry",
    "/webhooks/endpoints/{endpoint_id}/test",
    "/webhooks/deliveries/{delivery_id}/redeliver",
}
KEYLESS = {"/uploads/{project_id}/{name}", "/delivery/{name}", "/healthz", "/readyz", "/metrics"}


@pytest.fixture(scope="module")
def document(stack: LocalStack) -> dict[str, Any]:
    answer = requests.get(f"{stack.api_url}/openapi.json", timeout=10)
    assert answer.headers["Content-Type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def _list_operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _list_refs(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from _list_refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _list_refs(value)


def _validate(document: dict[str, Any], path: str, answer: requests.Response) -> None:
    """Check an answer's body against what the document says of its status."""
    assert answer.request.method is not None
    operation = document["paths"][path][answer.request.method.lower()]
    documented = operation["responses"][str(answer.status_code)]
    schema = documented["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(answer.json())


def test_every_path_and_method_is_in_the_document(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "Headrace"
    assert {path: set(found) for path, found in document["paths"].items()} == PATHS


def test_what_is_served_is_what_the_repository_has(document: dict[str, Any]) -> None:
    # `make openapi` writes it anew.
    assert document == json.loads(DOCUMENT_PATH.read_text())


def test_every_reference_leads_somewhere_and_all_there_is_is_referred_to(
    document: dict[str, Any],
) -> None:
    refs = set(_list_refs(document))
    names = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "examples")
        for name in document["components"][kind]
    }
    assert refs == names


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        Draft202012Validator.check_schema(schema)
    for _, _, operation in _list_operations(document):
        for parameter in operation.get("parameters", []):
            Draft202012Validator.check_schema(parameter["schema"])


def test_every_operation_has_a_name_parameters_answers_and_says_whether_it_takes_a_key(
    document: dict[str, Any],
) -> None:
    names = []
    for path, method, operation in _list_operations(document):
        names.append(operation["operationId"])
        assert operation["summary"]
        parameters = operation.get("parameters", [])
        wanted = set(re.findall(r"{(\w+)}", path))
        assert {one["name"] for one in parameters if one["in"] == "path"} == wanted
        assert all(one["required"] for one in parameters if one["in"] == "path")
        for status, answer in operation["responses"].items():
            assert re.fullmatch(r"[2-5]\d\d", status)
            assert answer["description"]
        keyed = path not in KEYLESS
        assert operation.get("security", []) == ([{"bearerAuth": []}] if keyed else [])
        assert ("401" in operation["responses"]) is keyed
        # Without a key, a project may be full all the same.
        assert ("403" in operation["responses"]) is (keyed or method == "put")
        assert operation.get("requestBody", {}).get("required") is (
            True if method in {"post", "put", "patch"} and path not in BODILESS else None
        )
    assert len(set(names)) == len(names)
    assert document["components"]["securitySchemes"]["bearerAuth"]["scheme"] == "bearer"


def test_what_is_made_links_to_all_that_can_be_done_with_it(document: dict[str, Any]) -> None:
    named = {"file_id": [("/files", "201")], "task_id": [("/files", "202"), ("/tasks", "201")]}
    named["key_id"] = [("/keys", "201")]
    named["batch_id"] = [("/batches", "201")]
    for name, makers in named.items():
        paths = [path for path in PATHS if f"{{{name}}}" in path]
        wanted = {
            document["paths"][path][method]["operationId"]
            for path in paths
            for method in PATHS[path]
        }
        for path, status in makers:
            links = document["paths"][path]["post"]["responses"][status]["links"]
            assert set(links) == wanted
            for operation_id, link in links.items():
                assert link["operationId"] == operation_id
                assert link["parameters"] == {name: "$response.body#/data/id"}


def test_real_answers_are_as_the_document_says(
    document: dict[str, Any], api: Api, origin: Origin, picture_url: str, video: bytes
) -> None:
    made = api.post("/files", {"url": picture_url, "folder": "document", "filename": "a.jpg"})
    _validate(document, "/files", made)
    assert made.status_code == 201
    _validate(document, "/files/{file_id}", api.get(f"/files/{made.json()['data']['id']}"))
    _validate(document, "/files", api.get("/files?kind=image&limit=3"))
    stall = Stall(at_bytes=100)
    url = origin.serve("/document/half.mp4", video, stall=stall)
    begun = api.post("/tasks", {"kind": "ingest", "url": url, "metadata": {"deep": [{"a": None}]}})
    _validate(document, "/tasks", begun)
    assert stall.reached.wait(10)
    _validate(document, "/tasks/{task_id}", api.get(f"/tasks/{begun.json()['data']['id']}"))
    task_path = f"/tasks/{begun.json()['data']['id']}"
    _validate(document, "/tasks/{task_id}", api.patch(task_path, {"url": picture_url}))
    _validate(document, "/tasks/{task_id}/cancel", api.send("POST", f"{task_path}/cancel"))
    _validate(document, "/tasks/{task_id}/retry", api.send("POST", f"{task_path}/retry"))
    stall.released.set()
    batch = api.post("/batches", {"items": [{"url": picture_url}, {"url": "x"}]})
    _validate(document, "/batches", batch)
    _validate(document, "/batches", api.get("/batches"))
    dry = {"items": [{"url": picture_url}], "dry_run": True}
    _validate(document, "/batches", api.post("/batches", dry))
    _validate(document, "/batches", api.post("/batches", {**dry, "check_sources": True}))
    _validate(document, "/batches", api.post("/batches", {"source_url": picture_url}))
    batch_path = f"/batches/{batch.json()['data']['id']}"
    _validate(document, "/batches/{batch_id}", api.get(batch_path))
    _validate(document, "/batches/{batch_id}/tasks", api.get(f"{batch_path}/tasks"))
    for decision in ("pause", "resume", "cancel", "retry"):
        decided = api.send("POST", f"{batch_path}/{decision}")
        _validate(document, f"/batches/{{batch_id}}/{decision}", decided)
    key = api.post("/keys", {"name": "document", "expires": "2099-01-01T00:00:00Z"})
    _validate(document, "/keys", key)
    _validate(document, "/keys", api.get("/keys"))
    _validate(document, "/project", api.get("/project"))
    key_path = f"/keys/{key.json()['data']['id']}"
    _validate(document, "/keys/{key_id}", api.get(key_path))
    assert api.delete(key_path).status_code == 204
    _validate(document, "/signatures", api.post("/signatures", {"filename": "a.jpg"}))
    _validate(document, "/signatures", api.post("/signatures", {"filename": "a/b"}))
    signed = api.post("/signatures", {"filename": "put.mp4", "method": "put"})
    sent = api.send("PUT", signed.json()["data"]["url"], video)
    assert sent.status_code == 201
    _validate(document, "/uploads/{project_id}/{name}", sent)
    failed = api.post("/files", {"url": origin.url("/document/nothing")})
    assert failed.status_code == 422
    _validate(document, "/files", failed)
    _validate(document, "/tasks", api.get("/tasks?status=failed"))
    _validate(document, "/tasks", api.get("/tasks?limit=50&page=1"))
    _validate(document, "/readyz", api.get("/readyz"))
    _validate(document, "/healthz", api.get("/healthz"))


def test_real_refusals_are_as_the_document_says(
    document: dict[str, Any], api: Api, stack: LocalStack, picture_url: str
) -> None:
    with Api(stack.api_url, None) as stranger:
        _validate(document, "/files", stranger.get("/files"))
        _validate(document, "/tasks", stranger.post("/tasks", {}))
    _validate(document, "/files", api.get("/files?limit=0"))
    _validate(document, "/tasks", api.post("/tasks", {"kind": "transcode", "url": "x"}))
    _validate(document, "/tasks/{task_id}", api.get("/tasks/none"))
    _validate(document, "/tasks/{task_id}", api.patch("/tasks/none", {"url": picture_url}))
    for action in ("cancel", "retry"):
        path = f"/tasks/none/{action}"
        _validate(document, f"/tasks/{{task_id}}/{action}", api.send("POST", path))
        _validate(document, f"/tasks/{{task_id}}/{action}", api.post(path, {"why": "x"}))
        _validate(document, f"/tasks/{{task_id}}/{action}", api.send("POST", path, b"a=b"))
    _validate(document, "/files/{file_id}", api.delete("/files/none"))
    _validate(document, "/delivery/{name}", api.get("/delivery/none"))
    _validate(document, "/uploads/{project_id}/{name}", api.send("PUT", "/uploads/none/a", b"x"))
    _validate(document, "/tasks", api.send("POST", "/tasks", b"a=b"))
    _validate(
        document, "/tasks", api.send("POST", "/tasks", b"{", {"Content-Type": "application/json"})
    )
    order = {"url": picture_url, "folder": "document", "filename": "twice.jpg"}
    api.post("/files", order)
    _validate(document, "/files", api.post("/files", order))


@pytest.mark.parametrize("path", ["/files", "/tasks"])
def test_what_the_document_shows_as_a_request_is_what_the_api_takes(
    path: str, document: dict[str, Any]
) -> None:
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = {**body, "components": document["components"]}
    validator = Draft202012Validator(schema)
    kind = {"kind": "ingest"} if path == "/tasks" else {}
    assert validator.is_valid({"url": "https://example.com/a.mp4", **kind})
    assert not validator.is_valid({"url": "https://example.com/a.mp4", **kind, "colour": "red"})
    assert not validator.is_valid(kind)


def test_the_address_of_the_service_is_not_what_the_first_caller_said(api: Api) -> None:
    answer = api.get("/openapi.json", {"Host": "evil.invalid"})
    assert "evil.invalid" not in answer.text
    assert "evil.invalid" not in api.get("/openapi.json").text

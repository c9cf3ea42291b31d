"""What the OpenAPI document says of each operation, and of its answers (``api.answers``).

APIFlask writes paths, parameters and bodies. It knows no pydantic models in ``responses``, so
operations name the schemas of their answers and :func:`complete_document` puts them in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from apiflask import APIBlueprint
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.answers import ANSWERS, LINKED, ErrorAnswer
from ingest.batch_requests import BatchRequest
from ingest.line_lists import TSV_HEADER
from ingest.list_rows import FORMATS, ListFormat

P = ParamSpec("P")
R = TypeVar("R")

SECURITY = "bearerAuth"
_SCHEMAS = "#/components/schemas/"
# APIFlask's own shapes of errors, which no answer of ours has.
_UNUSED = ("HTTPError", "ValidationError")


_LISTS: Mapping[ListFormat, str] = {
    ListFormat.NDJSON: '{"url": "https://example.com/a.mp4", "ref": "a"}\n',
    ListFormat.CSV: "url,folder,ref\nhttps://example.com/a.mp4,archive,a\n",
    ListFormat.TEXT: "https://example.com/a.mp4\nhttps://example.com/b.mp4\n",
    ListFormat.TSV: f"{TSV_HEADER}\nhttps://example.com/a.mp4\t1357\twHENa08V36iPYAsOa2JAdw==\n",
}
_LINKED = {_SCHEMAS + answer.__name__: name for answer, name in LINKED.items()}
_SAID: Mapping[int, str] = {
    200: "OK",
    201: "Created",
    202: "Accepted; the ingest goes on",
    204: "Done; there is nothing to say",
    302: "Redirect to the object store",
    400: "The body is no JSON object",
    401: "No valid key",
    403: "The key has not the scope, or the project stores as much as it may",
    404: "Not found",
    409: "The name is taken, or the task is in another state",
    413: "The body is too long",
    415: "The body is not application/json",
    422: "A field is invalid, or the ingest failed",
    429: "The key has made as many requests as it may for now",
    503: "A service Headrace stands on does not answer",
}


def describe(
    blueprint: APIBlueprint,
    summary: str,
    description: str,
    answers: Mapping[int, type[BaseModel] | None],
    *,
    public: bool = False,
    stream: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that documents a view.

    Args:
        answers: the model of each status; None for one without a body, or for the error shape.
            What is wrong with the key is added.
        public: whether it takes no key.
        stream: the type of what it answers with, where that is no JSON.
    """
    # APIFlask's own type for this is narrower than what it reads.
    responses: dict[int | str, Any] = {}
    refusals = {} if public else {401: None, 403: None, 429: None}
    for status, model in sorted({**answers, **refusals}.items()):
        shape = model or (ErrorAnswer if status >= 400 else None)
        responses[status] = {"description": _SAID[status]}
        if shape is not None:
            schema = {"$ref": _SCHEMAS + shape.__name__}
            responses[status]["content"] = {"application/json": {"schema": schema}}

    if stream is not None:
        # An event of a stream is no string, and this version of OpenAPI has no words for one.
        schema = {} if stream == "text/event-stream" else {"type": "string"}
        responses[200]["content"] = {stream: {"schema": schema}}

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        documented: Callable[P, R] = blueprint.doc(
            summary=summary,
            description=description or None,
            responses=responses,
            operation_id=f"{view.__name__}_{blueprint.name}",
            security=None if public else SECURITY,
        )(view)
        return documented

    return decorate


def complete_document(document: dict[str, Any]) -> dict[str, Any]:
    """Put in the schemas of the answers, and links; say that a body must be there where read.

    What is made links to every operation on it (OpenAPI 3.1, Link Object).
    """
    _, found = models_json_schema(
        [(model, "serialization") for model in ANSWERS], ref_template=_SCHEMAS + "{model}"
    )
    schemas = document["components"]["schemas"]
    schemas.update(found["$defs"])
    _, asked = models_json_schema([(BatchRequest, "validation")], ref_template=_SCHEMAS + "{model}")
    schemas.update(asked["$defs"])
    document["paths"]["/batches"]["post"]["requestBody"] = _describe_list()
    for name in _UNUSED:
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                operation["requestBody"]["required"] = True
                _link(operation, document["paths"])
    return document


def _describe_list() -> dict[str, Any]:
    """Return the body of ``POST /batches``, which is read as a stream and is more than JSON."""
    content: dict[str, Any] = {
        kind: {"schema": {"type": "string"}, "example": _LISTS[form]}
        for kind, form in FORMATS.items()
        if form is not ListFormat.JSON
    }
    content["application/json"] = {"schema": {"$ref": _SCHEMAS + BatchRequest.__name__}}
    return {"content": content}


def _link(operation: dict[str, Any], paths: Mapping[str, Any]) -> None:
    for status in {"201", "202"} & operation["responses"].keys():
        answer = operation["responses"][status]
        name = _LINKED[answer["content"]["application/json"]["schema"]["$ref"]]
        ids = [
            one["operationId"]
            for path, found in paths.items()
            if f"{{{name}}}" in path
            for one in found.values()
        ]
        answer["links"] = {
            one: {"operationId": one, "parameters": {name: "$response.body#/data/id"}}
            for one in ids
        }

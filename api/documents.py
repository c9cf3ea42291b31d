"""What the OpenAPI document says of each operation, and of its answers (``api.answers``).

APIFlask writes paths, parameters and bodies. It knows no pydantic models in ``responses``, so
operations name the schemas of their answers and :func:`complete_document` puts them in, with
examples (``api.example_answers``), with errors that views do not name (``api.refusals``), and with
operations called after their paths (``api.operation_names``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from apiflask import APIBlueprint
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.answers import ANSWERS, LINKED
from api.example_answers import build_answers
from api.example_requests import BODIES, PATH_PARAMETERS, STREAMS
from api.operation_names import name_operation
from api.refusals import Errors, add_errors, add_usual_errors, build_error_examples, get_usual
from ingest.batch_requests import BatchRequest, SourcedBatchRequest
from ingest.line_lists import TSV_HEADER
from ingest.list_rows import FORMATS, ListFormat

P = ParamSpec("P")
R = TypeVar("R")

SECURITY = "bearerAuth"
_SCHEMAS = "#/components/schemas/"
_EXAMPLES = "#/components/examples/"
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
}
_ABOUT = """\
Pulls media from any URL into your own object storage.

Send a key as `Authorization: Bearer hr_…`. One object comes as `{"meta", "data", "links"}`, a list
the same way with its counts in `meta` and its pages in `links`. With `Accept-Version: 2025-08-20`
(or later) a success is the bare `data`; of a list `Link` and `X-Total` say the rest. Every error
has one shape, `{"meta", "data": null, "error": {"code", "message", "param"}, "links"}`, and a
stable `code`. Any POST takes an `Idempotency-Key`: sent again with it, it is answered again and
done once.
"""
_TAGS: Mapping[str, str] = {
    "Files": "What is stored, and the ingest that answers with its file.",
    "Signatures": "URLs that read or send one file without a key.",
    "Uploads": "Files that are sent to signed URLs.",
    "Media": "Files that belong together.",
    "Tasks": "Ingests that are promised now and done by a worker.",
    "Batches": "Many ingests, asked for at once and followed as one.",
    "Webhooks": "Whom events are sent to, what was sent, and the secrets that sign it.",
    "Events": "What happened in the project.",
    "Keys": "What opens the API; takes a key with the scope `admin`.",
    "Project": "What the key belongs to, and its limits.",
    "Delivery": "The bytes of files; takes no key.",
    "Service": "Whether all is well, and what is counted; takes no key.",
}
_METHODS = ("get", "put", "post", "patch", "delete")
_JSON = "application/json"


def describe(
    blueprint: APIBlueprint,
    summary: str,
    description: str,
    answers: Mapping[int, type[BaseModel] | None],
    *,
    public: bool = False,
    stream: str | None = None,
    raises: Mapping[int, Errors] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that documents a view.

    Args:
        answers: the model of each status; None for one without a body, or for the error shape.
            What every request can meet is added (``api.refusals``).
        public: whether it takes no key.
        stream: the type of what it answers with, where that is no JSON.
        raises: errors beside the usual one of their status.
    """
    # APIFlask's own type for this is narrower than what it reads.
    responses: dict[int | str, Any] = {}
    for status, model in answers.items():
        if model is not None:
            responses[str(status)] = _show(status, model)
        elif status < 400:
            responses[str(status)] = {"description": _SAID[status]}
    if stream is not None:
        # An event of a stream is no string, and this version of OpenAPI has no words for one.
        schema = {} if stream == "text/event-stream" else {"type": "string"}
        responses["200"]["content"] = {stream: {"schema": schema, "example": STREAMS[stream]}}
    usual = {one: get_usual(one) for one, model in answers.items() if one >= 400 and model is None}
    add_errors({"responses": responses}, usual)
    add_errors({"responses": responses}, raises or {})

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        documented: Callable[P, R] = blueprint.doc(
            summary=summary,
            description=description or None,
            responses=responses,
            security=None if public else SECURITY,
        )(view)
        return documented

    return decorate


def complete_document(document: dict[str, Any]) -> dict[str, Any]:
    """Put in what APIFlask does not know: schemas, examples, errors, names and links.

    What is made links to every operation on it (OpenAPI 3.1, Link Object).
    """
    _, found = models_json_schema(
        [(model, "serialization") for model in ANSWERS], ref_template=_SCHEMAS + "{model}"
    )
    schemas = document["components"]["schemas"]
    schemas.update(found["$defs"])
    _, asked = models_json_schema(
        [(BatchRequest, "validation"), (SourcedBatchRequest, "validation")],
        ref_template=_SCHEMAS + "{model}",
    )
    schemas.update(asked["$defs"])
    document["paths"]["/batches"]["post"]["requestBody"] = _describe_list()
    document["paths"]["/uploads/{project_id}/{name}"]["put"]["requestBody"] = {
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    }
    for name in _UNUSED:
        schemas.pop(name, None)
    paths = document["paths"] = {
        path: {method: found[method] for method in _METHODS if method in found}
        for path, found in sorted(document["paths"].items())
    }
    for path, operations in paths.items():
        for method, operation in operations.items():
            _complete_operation(path, method, operation)
    for operations in paths.values():
        for operation in operations.values():
            _drop_unused(operation)
            if "requestBody" in operation:
                _link(operation, paths)
    document["info"]["description"] = _ABOUT
    used = {tag for found in paths.values() for one in found.values() for tag in one["tags"]}
    document["tags"] = [
        {"name": name, "description": said} for name, said in _TAGS.items() if name in used
    ]
    document["components"] = {
        "schemas": dict(sorted(schemas.items())),
        "examples": _list_examples(paths),
        "securitySchemes": document["components"]["securitySchemes"],
    }
    return document


def _show(status: int, model: type[BaseModel]) -> dict[str, Any]:
    name = model.__name__
    # A task that was just asked for looks another way than one that is read.
    shown = f"New{name}" if name == "TaskAnswer" and status in {201, 202} else name
    example = {"$ref": _EXAMPLES + shown}
    content = {"schema": {"$ref": _SCHEMAS + name}, "examples": {shown: example}}
    return {
        "description": _SAID.get(status, "Not ready"),
        "content": {_JSON: content},
    }


def _complete_operation(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    keyed = bool(operation.get("security"))
    add_usual_errors(operation, method, keyed=keyed)
    operation["responses"] = {status: responses[status] for status in sorted(responses)}
    for answer in responses.values():
        if not answer.get("content"):
            answer.pop("content", None)
    content = responses.get("200", {}).get("content", {}).get(_JSON, {})
    is_list = content.get("schema", {}).get("$ref", "").endswith("ListAnswer")
    operation["operationId"] = name_operation(method, path, is_list=is_list)
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            parameter["example"] = PATH_PARAMETERS[parameter["name"]]
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True
        body = operation["requestBody"]["content"].get(_JSON)
        if body is not None and "$ref" in body["schema"]:
            body["example"] = BODIES[body["schema"]["$ref"].removeprefix(_SCHEMAS)]


def _list_examples(paths: Mapping[str, Any]) -> dict[str, Any]:
    """Return the examples that the operations refer to, in the order of their names."""
    known = {name: {"value": value} for name, value in build_answers().items()}
    known |= build_error_examples()
    used = {
        name
        for operations in paths.values()
        for operation in operations.values()
        for answer in operation["responses"].values()
        for content in answer.get("content", {}).values()
        for name in content.get("examples", {})
    }
    return {name: known[name] for name in sorted(used)}


def _drop_unused(operation: dict[str, Any]) -> None:
    """Take out the refusal that APIFlask writes to each query, of those that refuse none."""
    refs = {_SCHEMAS + name for name in _UNUSED}
    for status, answer in list(operation["responses"].items()):
        for shown in answer.get("content", {}).values():
            if shown.get("schema", {}).get("$ref") in refs:
                del operation["responses"][status]


def _describe_list() -> dict[str, Any]:
    """Return the body of ``POST /batches``, which is read as a stream and is more than JSON."""
    begins = {ListFormat.TSV: {"pattern": rf"^{re.escape(TSV_HEADER)}[ \t]*\r?\n"}}
    content: dict[str, Any] = {
        kind: {"schema": {"type": "string", **begins.get(form, {})}, "example": _LISTS[form]}
        for kind, form in FORMATS.items()
        if form is not ListFormat.JSON
    }
    bodies = [BatchRequest.__name__, SourcedBatchRequest.__name__]
    content[_JSON] = {
        "schema": {"anyOf": [{"$ref": _SCHEMAS + one} for one in bodies]},
        "examples": {one: {"value": BODIES[one]} for one in bodies},
    }
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

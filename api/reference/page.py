"""What stands on the page of the reference, taken from the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.reference.types import Type, describe_type

Json = Mapping[str, Any]

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of an object."""

    name: str
    type: Type
    is_required: bool
    description: str
    default: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """An example, as text."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation answers with one status."""

    status: str
    description: str
    type: Type | None
    samples: Sequence[Sample]

    @property
    def is_error(self) -> bool:
        """Whether nothing was done."""
        return self.status >= "400"


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries."""

    # Of what is no JSON: None.
    type: Type | None
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    takes_key: bool
    parameters: Sequence[Field]
    body: Body | None
    answers: Sequence[Answer]
    command: str


@dataclass(frozen=True, slots=True)
class Group:
    """The operations of a tag."""

    name: str
    description: str
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Model:
    """An object that requests or answers hold."""

    name: str
    description: str
    fields: Sequence[Field]
    # Of what has no fields: its type.
    type: Type


@dataclass(frozen=True, slots=True)
class Error:
    """A code, and when it is answered."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class Page:
    """All of it."""

    title: str
    version: str
    description: str
    groups: Sequence[Group]
    models: Sequence[Model]
    errors: Sequence[Error]


def build_page(document: Json) -> Page:
    """Return what is to be shown of a document (``api.documents``)."""
    operations = [
        (one["tags"][0], _read_operation(document, method, path, one))
        for path, found in document["paths"].items()
        for method, one in found.items()
    ]
    examples = document["components"]["examples"]
    return Page(
        title=document["info"]["title"],
        version=document["info"]["version"],
        description=document["info"]["description"],
        groups=[
            Group(
                tag["name"],
                tag["description"],
                [operation for name, operation in operations if name == tag["name"]],
            )
            for tag in document["tags"]
        ],
        models=[
            _read_model(name, schema) for name, schema in document["components"]["schemas"].items()
        ],
        errors=[
            Error(name, example["summary"])
            for name, example in examples.items()
            if "summary" in example
        ],
    )


def _read_operation(document: Json, method: str, path: str, one: Json) -> Operation:
    body = _read_body(one["requestBody"]) if "requestBody" in one else None
    return Operation(
        id=one["operationId"],
        method=method.upper(),
        path=path,
        summary=one["summary"],
        description=one.get("description", ""),
        takes_key=bool(one.get("security")),
        parameters=[
            _read_field(found["name"], found["schema"], is_required=found["required"])
            for found in one.get("parameters", [])
        ],
        body=body,
        answers=[
            _read_answer(document, status, answer) for status, answer in one["responses"].items()
        ],
        command=_write_command(method.upper(), path, one),
    )


def _read_body(body: Json) -> Body:
    content = body["content"]
    samples = [
        Sample(kind, example if kind != _JSON else _write(example))
        for kind, found in sorted(content.items(), key=lambda pair: pair[0] != _JSON)
        for example in _list_examples(found)
    ]
    return Body(describe_type(content[_JSON]["schema"]) if _JSON in content else None, samples)


def _list_examples(content: Json) -> list[Any]:
    """Return the examples of a body: one for each of its forms."""
    if "examples" in content:
        return [one["value"] for one in content["examples"].values()]
    return [content["example"]] if "example" in content else []


def _read_answer(document: Json, status: str, answer: Json) -> Answer:
    kind: Type | None = None
    samples = []
    for media_type, found in answer.get("content", {}).items():
        if media_type != _JSON:
            samples.append(Sample(media_type, found["example"]))
            continue
        kind = describe_type(found["schema"])
        examples = document["components"]["examples"]
        samples += [Sample(name, _write(examples[name]["value"])) for name in found["examples"]]
    return Answer(status, answer["description"], kind, samples)


def _read_model(name: str, schema: Json) -> Model:
    required = schema.get("required", ())
    fields = [
        _read_field(field, found, is_required=field in required)
        for field, found in schema.get("properties", {}).items()
    ]
    return Model(name, schema.get("description", ""), fields, describe_type(schema))


def _read_field(name: str, schema: Json, *, is_required: bool) -> Field:
    default = schema.get("default")
    return Field(
        name=name,
        type=describe_type(schema),
        is_required=is_required,
        description=schema.get("description", ""),
        default=None if default is None else json.dumps(default, ensure_ascii=False),
    )


def _write_command(method: str, path: str, one: Json) -> str:
    for parameter in one.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    content = one.get("requestBody", {}).get("content", {})
    lines = [f'curl "$HEADRACE_URL{path}"']
    if method != ("POST" if content else "GET"):
        lines.append(f"--request {method}")
    if one.get("security"):
        lines.append('-H "Authorization: Bearer $HEADRACE_KEY"')
    if _JSON in content:
        lines.append(f"-H 'Content-Type: {_JSON}'")
        example = _list_examples(content[_JSON])[0]
        lines.append(f"-d '{json.dumps(example, ensure_ascii=False)}'")
    elif content:
        lines.append(f"-H 'Content-Type: {next(iter(content))}'")
        lines.append("--data-binary @video.mp4")
    return " \\\n  ".join(lines)


def _write(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)

"""JSON Schema in a few words: ``string or null``, ``list of FileResource``, ``1 to 100``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SCHEMAS = "#/components/schemas/"
_BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minLength", "{} characters or more"),
    ("maxLength", "{} characters at most"),
    ("minItems", "{} or more"),
    ("maxItems", "{} at most"),
    ("format", "{}"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """A word of a type; one that is the name of a model leads to it."""

    text: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Type:
    """What a value may be."""

    parts: Sequence[Part]
    values: Sequence[str]
    bounds: Sequence[str]


def describe_type(schema: Mapping[str, Any]) -> Type:
    """Return a schema in words."""
    branches = [one for one in _list_branches(schema) if one.get("type") != "null"]
    values = [str(value) for one in branches for value in _list_values(one)]
    bounds = [text.format(one[name]) for one in branches for name, text in _BOUNDS if name in one]
    return Type(list(_name(schema)), values, bounds)


def _name(schema: Mapping[str, Any]) -> Iterator[Part]:
    for number, one in enumerate(_list_branches(schema)):
        if number:
            yield Part(" or ")
        if "$ref" in one:
            name = one["$ref"].removeprefix(_SCHEMAS)
            yield Part(name, name)
        elif one.get("type") == "array":
            yield Part("list of ")
            yield from _name(one.get("items", {}))
        elif isinstance(one.get("additionalProperties"), Mapping):
            yield Part("object of ")
            yield from _name(one["additionalProperties"])
        else:
            yield Part(str(one.get("type", "any")))


def _list_branches(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    branches: Sequence[Mapping[str, Any]] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return branches


def _list_values(schema: Mapping[str, Any]) -> Sequence[object]:
    if "const" in schema:
        return [schema["const"]]
    values: Sequence[object] = schema.get("enum", ())
    return values

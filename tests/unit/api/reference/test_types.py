"""JSON Schema in words."""

from __future__ import annotations

from typing import Any

import pytest

from api.reference.types import describe_type

_REF = "#/components/schemas/FileResource"


@pytest.mark.parametrize(
    ("schema", "text", "models"),
    [
        ({"type": "string"}, "string", []),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null", []),
        ({"$ref": _REF}, "FileResource", ["FileResource"]),
        ({"type": "array", "items": {"$ref": _REF}}, "list of FileResource", ["FileResource"]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object of string", []),
        ({"type": "object", "additionalProperties": True}, "object", []),
        ({}, "any", []),
    ],
)
def test_a_type_is_named(schema: dict[str, Any], text: str, models: list[str]) -> None:
    shown = describe_type(schema)
    assert "".join(part.text for part in shown.parts) == text
    assert [part.model for part in shown.parts if part.model] == models


def test_values_and_bounds_are_said_whether_null_is_one_or_not() -> None:
    shown = describe_type({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]})
    assert shown.bounds == ["at least 1"]
    assert describe_type({"type": "string", "enum": ["a", "b"]}).values == ["a", "b"]
    assert describe_type({"type": "string", "const": "file"}).values == ["file"]

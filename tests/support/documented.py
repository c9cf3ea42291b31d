"""What docs/openapi.json says of an answer: whoever reads an error also checks the document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

DOCUMENT_PATH = Path(__file__).parents[2] / "docs/openapi.json"
_Error = tuple[int, str]


def find_undocumented(response: requests.Response, code: str) -> str | None:
    """Return what the document lacks of an error, or None.

    What no operation has answered (another path, another method) is no promise of the document's.
    """
    method, path = str(response.request.method), urlsplit(str(response.request.url)).path
    promised = [
        errors for pattern, errors in _read_promises(method.lower()) if re.fullmatch(pattern, path)
    ]
    if not promised or any((response.status_code, code) in errors for errors in promised):
        return None
    return f"{method} {path} does not say that it answers {response.status_code} {code}"


@cache
def _read_promises(method: str) -> list[tuple[str, set[_Error]]]:
    """Return the errors of every operation of a method, by the pattern of its path."""
    document = json.loads(DOCUMENT_PATH.read_text())
    return [
        (_make_pattern(path), set(_list_errors(operations[method])))
        for path, operations in document["paths"].items()
        if method in operations
    ]


def _make_pattern(path: str) -> str:
    # The name of what is delivered has slashes in it.
    return re.sub(r"\\{\w+_id\\}", "[^/]+", re.escape(path)).replace(r"\{name\}", ".+")


def _list_errors(operation: Mapping[str, Any]) -> Iterator[_Error]:
    for status, answer in operation["responses"].items():
        for content in answer.get("content", {}).values():
            for code in content.get("examples", {}):
                yield int(status), code

"""What docs/openapi.json says of an answer, so that whoever reads an error also checks the document."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import requests

DOCUMENT_PATH = Path(__file__).parents[2] / "docs/openapi.json"


def find_undocumented(response: requests.Response, code: str) -> str | None:
    """Return what the document lacks of an error, or None.

    What no operation has answered (another path, another method) is no promise of the document's.
    """
    method, path = str(response.request.method).lower(), urlsplit(str(response.request.url)).path
    promised = [
        (template, answers)
        for pattern, template, operations in _read_operations()
        if re.fullmatch(pattern, path)
        for answers in operations.get(method, [])
    ]
    if not promised or any((response.status_code, code) in answers for _, answers in promised):
        return None
    return f"{method.upper()} {promised[0][0]} does not say that it answers {code}"


@cache
def _read_operations() -> list[tuple[str, str, dict[str, list[set[tuple[int, str]]]]]]:
    document = json.loads(DOCUMENT_PATH.read_text())
    return [
        (
            re.sub(r"\\{name\\}", ".+", re.sub(r"\\{\w+_id\\}", "[^/]+", re.escape(path))),
            path,
            {
                method: [
                    {
                        (int(status), code)
                        for status, answer in operation["responses"].items()
                        for content in answer.get("content", {}).values()
                        for code in content.get("examples", {})
                    }
                ]
                for method, operation in operations.items()
            },
        )
        for path, operations in document["paths"].items()
    ]

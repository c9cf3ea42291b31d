"""What refusals have in common, and what differs between any two answers."""

from __future__ import annotations

import requests

from tests.support.api import Api, read_error


def refuse(api: Api, body: dict[str, object], param: str) -> str:
    """Check that both endpoints refuse the field by name, in the same words; return the words."""
    messages = []
    for path, extra in (("/files", {}), ("/tasks", {"kind": "ingest"})):
        answer = api.post(path, {**extra, **body})
        error = read_error(answer, 422, "field_invalid")
        assert error["param"] == param
        message = str(error["message"])
        # What was sent may be shown, but in text that every client can read.
        message.encode()
        assert message.startswith(f"'{param}' ")
        assert len(message) < 400
        messages.append(message)
    assert messages[0] == messages[1]
    return messages[0]


def strip_answer(answer: requests.Response) -> tuple[int, bytes, dict[str, str]]:
    """Return an answer without what differs between any two."""
    headers = dict(answer.headers)
    request_id = headers.pop("X-Request-Id")
    headers.pop("Date")
    return answer.status_code, answer.content.replace(request_id.encode(), b""), headers

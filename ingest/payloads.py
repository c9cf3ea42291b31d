"""What a delivery carries: the event, and what it is about, as that was then.

``{"type": …, "timestamp": …, "data": {…}}`` (Standard Webhooks 1.0, "Payload structure").
Invariant: it is never longer than :data:`MOST_BYTES`; what has to be left out for that is named in
``truncated``, and ``GET /events/{id}`` has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

from ingest.events import Event
from ingest.model import File
from ingest.resources import FileResource, JsonDict, show_time
from ingest.webhook_resources import show_event_data

# The specification recommends no more.
MOST_BYTES = 20_000
# What may be long, in the order in which it can be done without: by its name in a task or a file,
# and what stands there then.
_LONG: tuple[tuple[str, object], ...] = (
    ("streams", []),
    ("attempts", []),
    ("metadata", None),
)
_LONG_TEXTS = ("url", "source", "description")
_KEPT_CHARS = 1000


def build_payload(event: Event, show_file: Callable[[File], FileResource]) -> str:
    """Return the JSON that tells of an event.

    Args:
        show_file: shows a file, with its address.
    """
    payload: JsonDict = {
        "type": event.type.value,
        "timestamp": show_time(event.created),
        "data": show_event_data(event, show_file).model_dump(mode="json"),
    }
    left_out: list[str] = []
    for name, instead in _LONG:
        if _fits(payload):
            break
        if _replace(payload["data"], name, instead):
            left_out.append(name)
            payload["truncated"] = left_out
    for name in _LONG_TEXTS:
        if _fits(payload):
            break
        if _cut(payload["data"], name):
            left_out.append(name)
            payload["truncated"] = left_out
    return _dump(payload)


def _dump(payload: JsonDict) -> str:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"))


def _fits(payload: JsonDict) -> bool:
    return len(_dump(payload).encode()) <= MOST_BYTES


def _list_parts(data: object) -> list[JsonDict]:
    """Return the objects of an event that have fields of their own: a task, its input, its file."""
    whole = cast("JsonDict", data)
    inner = (whole.get("input"), whole.get("output"))
    return [whole, *(cast("JsonDict", one) for one in inner if isinstance(one, dict))]


def _replace(data: object, name: str, instead: object) -> bool:
    found = [part for part in _list_parts(data) if part.get(name)]
    for part in found:
        part[name] = instead
    return bool(found)


def _cut(data: object, name: str) -> bool:
    found = [part for part in _list_parts(data) if len(str(part.get(name) or "")) > _KEPT_CHARS]
    for part in found:
        part[name] = str(part[name])[:_KEPT_CHARS]
    return bool(found)

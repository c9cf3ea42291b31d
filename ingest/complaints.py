"""What is wrong with a request, said once: pydantic's complaints in our words.

Invariants: a message names the field, what it got and what it takes; what may be a secret is never
repeated; what is repeated is cut short and can be read by every client.
"""

from __future__ import annotations

import json

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ingest.errors import BodyInvalid, FieldInvalid, RequestError

_GOT_CHARS = 60


def explain_invalid(error: ValidationError) -> RequestError:
    """Turn pydantic's first complaint into ours: which field, what it got, what it takes."""
    first = error.errors(include_url=False)[0]
    path = cut(".".join(str(part) for part in first["loc"]))
    if first["type"] == "string_unicode" and not first["loc"]:
        return BodyInvalid(
            "The body names a field with half of a surrogate pair, which is no text."
        )
    if not first["loc"]:
        return BodyInvalid(f"The body is {_name_type(first['input'])}; it takes a JSON object.")
    if first["type"] == "missing":
        return FieldInvalid(f"'{path}' is missing.", param=path)
    if first["type"] == "extra_forbidden":
        return FieldInvalid(f"'{path}' is no field of this request.", param=path)
    if first["loc"][0] == "headers":
        # A name or a value may be a secret, put in the wrong place or not.
        return FieldInvalid(f"'headers' {_say_takes(first)}.", param="headers")
    return FieldInvalid(f"'{path}' {_say_takes(first)}; it got {_say_got(first)}.", param=path)


def _say_takes(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    return message[0].lower() + message[1:].rstrip(".")


def _say_got(problem: ErrorDetails) -> str:
    value = problem["input"]
    if isinstance(value, str):
        return repr(cut(value))
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return str(value)[:_GOT_CHARS]
    return _name_type(value)


def cut(text: str) -> str:
    """Return the start of what was sent, in text that every client can read."""
    shown = text if len(text) <= _GOT_CHARS else text[:_GOT_CHARS] + "…"
    # U+0000 no database stores.
    return shown.encode(errors="backslashreplace").decode().replace("\x00", "\\x00")


def _name_type(value: object) -> str:
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (dict, "an object"),
        (list, "an array"),
        (str, "a string"),
        (bool, "a boolean"),
        ((int, float), "a number"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "null")

"""Errors as answers: every failure leaves through here, in one shape, with no trace of insides."""

from __future__ import annotations

import json
from collections.abc import Mapping

from apiflask import APIFlask
from apiflask.exceptions import HTTPError
from flask import Response, g
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException

from api.envelope import build_error
from ingest.errors import (
    BodyInvalid,
    BodyTooLarge,
    FieldInvalid,
    HeadraceError,
    MediaTypeUnsupported,
    MethodNotAllowed,
    NotFound,
    RequestError,
    ServiceError,
    Unauthorized,
)
from ingest.logs import get_logger

_GOT_CHARS = 60
_BY_STATUS: Mapping[int, type[RequestError]] = {
    400: BodyInvalid,
    401: Unauthorized,
    404: NotFound,
    405: MethodNotAllowed,
    413: BodyTooLarge,
    415: MediaTypeUnsupported,
}


def register_problems(app: APIFlask) -> None:
    """Let every error of ``app`` answer in the one shape."""
    # It takes over the errors of Werkzeug too, without their headers; so it comes first.
    app.error_processor(_answer_apiflask)
    app.register_error_handler(HeadraceError, answer_error)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unknown)


def answer_error(error: HeadraceError) -> Response:
    """Answer with one of our own errors."""
    if isinstance(error, ServiceError):
        get_logger(__name__).warning("request.service_missing", reason=error.code)
    headers: dict[str, str] = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="headrace"'
    body: dict[str, object] = {"code": error.code, "message": error.message, "param": error.param}
    return build_error(body, error.http_status, headers)


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


def _answer_apiflask(error: HTTPError) -> Response:
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return answer_error(explain_invalid(cause))
    return _answer_http(error)


def _answer_http(error: HTTPException | HTTPError) -> Response:
    status = getattr(error, "code", None) or getattr(error, "status_code", None) or 500
    kind = _BY_STATUS.get(status)
    if kind is None:
        return build_error(
            {
                "code": "request_refused",
                "message": f"The request was refused ({status}).",
                "param": None,
            },
            status,
            {},
        )
    allowed = getattr(error, "valid_methods", None)
    response = answer_error(kind(_MESSAGES[kind]))
    if allowed:
        response.headers["Allow"] = ", ".join(sorted(allowed))
    return response


def _answer_unknown(error: Exception) -> Response:
    get_logger(__name__).error("request.broke", exc_info=error)
    return build_error(
        {
            "code": "internal_error",
            "message": f"Headrace failed; its log has the reason under {g.request_id}.",
            "param": None,
        },
        500,
        {},
    )


_MESSAGES: Mapping[type[RequestError], str] = {
    BodyInvalid: "The body is not valid JSON.",
    BodyTooLarge: "The body is longer than 1 MiB.",
    MediaTypeUnsupported: "The body must be sent as Content-Type: application/json.",
    MethodNotAllowed: "This path does not take this method.",
    NotFound: "There is nothing at this path.",
    Unauthorized: "Send a valid key as 'Authorization: Bearer <key>'.",
}


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
    return shown.encode(errors="backslashreplace").decode()


def _name_type(value: object) -> str:
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (dict, "an object"),
        (list, "an array"),
        (str, "a string"),
        (bool, "a boolean"),
        ((int, float), "a number"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "null")

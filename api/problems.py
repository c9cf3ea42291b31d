"""Errors as answers: every failure leaves through here, in one shape, with no trace of insides."""

from __future__ import annotations

from collections.abc import Mapping

from apiflask import APIFlask
from apiflask.exceptions import HTTPError
from flask import Response, g
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from api.envelope import build_error
from ingest.complaints import explain_invalid
from ingest.errors import (
    BodyInvalid,
    BodyTooLarge,
    HeadraceError,
    MediaTypeUnsupported,
    MethodNotAllowed,
    NotFound,
    RequestError,
    ServiceError,
    Unauthorized,
)
from ingest.logs import get_logger

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

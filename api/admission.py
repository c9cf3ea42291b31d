"""What every request to a resource must pass before its view sees it: a key, then a JSON object."""

from __future__ import annotations

from flask import request

from api.auth import require_project
from ingest.errors import BodyInvalid, BodyTooLarge, MediaTypeUnsupported

MAX_BODY_BYTES = 1024 * 1024


def admit() -> None:
    """Let a request through.

    Raises:
        Unauthorized, MediaTypeUnsupported, BodyTooLarge, BodyInvalid
    """
    require_project()
    if request.method != "POST":
        return
    if request.mimetype != "application/json":
        raise MediaTypeUnsupported("The body must be sent as Content-Type: application/json.")
    if len(request.get_data()) > MAX_BODY_BYTES:
        raise BodyTooLarge("The body is longer than 1 MiB.")
    if not isinstance(request.get_json(), dict):
        raise BodyInvalid("The body is not a JSON object.")

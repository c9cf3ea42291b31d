"""What every request to a resource must pass before its view sees it: a key, then a JSON object."""

from __future__ import annotations

import hashlib

from flask import request
from pydantic import ValidationError

from api import idempotency
from api.auth import LOOKS, require_access
from api.schemas import NoFields
from ingest.access import Scope
from ingest.complaints import cut, explain_invalid
from ingest.errors import BodyInvalid, BodyTooLarge, FieldInvalid, MediaTypeUnsupported
from ingest.ids import Prefix, is_id

MAX_BODY_BYTES = 1024 * 1024


def admit() -> None:
    """Let a request through.

    Raises:
        Unauthorized, Forbidden, FieldInvalid, MediaTypeUnsupported, BodyTooLarge, BodyInvalid
        IdempotencyMismatch, IdempotencyInFlight, Replay: by its Idempotency-Key
    """
    _admit(None)


def admit_to_task() -> None:
    """Let a request through as :func:`admit` does; a task that it looks at is found with its key.

    Raises:
        Unauthorized, Forbidden, FieldInvalid, MediaTypeUnsupported, BodyTooLarge, BodyInvalid
        IdempotencyMismatch, IdempotencyInFlight, Replay: by its Idempotency-Key
    """
    task_id = (request.view_args or {}).get("task_id", "")
    is_looked_at = request.method in LOOKS and is_id(Prefix.TASK, task_id)
    _admit(None, task_id if is_looked_at else None)


def admit_admin() -> None:
    """Let a request through whose key may keep the project's keys.

    Raises:
        Unauthorized, Forbidden, FieldInvalid, MediaTypeUnsupported, BodyTooLarge, BodyInvalid
    """
    _admit(Scope.ADMIN)


def admit_changes() -> None:
    """Let a request through that looks, or whose key may keep the project's keys.

    Raises:
        Unauthorized, Forbidden, FieldInvalid, MediaTypeUnsupported, BodyTooLarge, BodyInvalid
    """
    _admit(None if request.method in LOOKS else Scope.ADMIN)


def _admit(scope: Scope | None, task_id: str | None = None) -> None:
    require_access(scope, task_id)
    _require_single_parameters()
    if request.method in {"POST", "PATCH"}:
        _require_object()
        idempotency.begin(_digest_body)


def admit_list() -> None:
    """Let a request through whose body, if it has one, is a list of its own form.

    Raises:
        Unauthorized, Forbidden, FieldInvalid
    """
    require_access()
    _require_single_parameters()


def admit_bodiless() -> None:
    """Let a request through that needs no body; one that is there must be an object without fields.

    Raises:
        Unauthorized, Forbidden, MediaTypeUnsupported, BodyTooLarge, BodyInvalid, FieldInvalid
    """
    require_access()
    if request.get_data():
        _require_object()
        try:
            NoFields.model_validate(request.get_json())
        except ValidationError as error:
            raise explain_invalid(error) from None
    idempotency.begin(_digest_body)


def _digest_body() -> bytes:
    return hashlib.sha256(request.get_data()).digest()


def _require_single_parameters() -> None:
    if not request.query_string:
        return
    for name, values in request.args.lists():
        if len(values) > 1:
            # Which of them holds is not for us to guess.
            shown = cut(name)
            raise FieldInvalid(f"'{shown}' stands in the query more than once.", param=shown)


def _require_object() -> None:
    if request.mimetype != "application/json":
        raise MediaTypeUnsupported("The body must be sent as Content-Type: application/json.")
    if len(request.get_data()) > MAX_BODY_BYTES:
        raise BodyTooLarge("The body is longer than 1 MiB.")
    if not isinstance(request.get_json(), dict):
        raise BodyInvalid("The body is not a JSON object.")

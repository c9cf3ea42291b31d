"""Which errors an operation answers with, for the OpenAPI document.

A view names the statuses that are its own; what every request can meet (a key, a body, an
Idempotency-Key, PostgreSQL) follows from its method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.example_answers import build_error
from ingest.errors import (
    BodyInvalid,
    BodyTooLarge,
    ConflictError,
    DatabaseUnavailable,
    FieldInvalid,
    Forbidden,
    HeadraceError,
    IdempotencyInFlight,
    IdempotencyMismatch,
    IngestError,
    InternalError,
    MediaTypeUnsupported,
    NotFound,
    RateLimited,
    StorageUnavailable,
    Unauthorized,
    UploadLost,
)

Errors = Sequence[type[HeadraceError]]

# What a failed ingest answers with, all with 422.
FAILED_INGEST: Errors = (*IngestError.__subclasses__(), StorageUnavailable, UploadLost)
# What a status means where a view says no more of it.
_USUAL: Mapping[int, type[HeadraceError]] = {
    400: BodyInvalid,
    404: NotFound,
    409: ConflictError,
    413: BodyTooLarge,
    415: MediaTypeUnsupported,
    422: FieldInvalid,
    503: DatabaseUnavailable,
}
_KEYED: Mapping[int, Errors] = {
    401: (Unauthorized,),
    403: (Forbidden,),
    422: (FieldInvalid,),
    429: (RateLimited,),
    503: (DatabaseUnavailable,),
}
_WITH_BODY: Mapping[int, Errors] = {
    400: (BodyInvalid,),
    413: (BodyTooLarge,),
    415: (MediaTypeUnsupported,),
}
_OF_POST: Mapping[int, Errors] = {409: (IdempotencyInFlight,), 422: (IdempotencyMismatch,)}
_SAID: Mapping[int, str] = {
    400: "The body cannot be read",
    401: "No valid key",
    403: "Not with this key, or not any more in this project",
    404: "Not found",
    409: "Not as things stand",
    413: "The body is too long",
    415: "The body is of another type",
    422: "Not to be done as it is asked",
    429: "Too many requests for now",
    500: "A fault of Headrace's own",
    503: "A service Headrace stands on does not answer",
}
_EXAMPLES = "#/components/examples/"
_ERROR = {"$ref": "#/components/schemas/ErrorAnswer"}


def get_usual(status: int) -> Errors:
    """Return what a status means where nothing more is said of it."""
    return (_USUAL[status],)


def add_errors(
    operation: dict[str, Any], errors: Mapping[int, Iterable[type[HeadraceError]]]
) -> None:
    """Add errors to the answers of an operation, by their status."""
    for status, kinds in errors.items():
        if not kinds:
            continue
        answer = operation["responses"].setdefault(str(status), {})
        content = answer.setdefault("content", {}).setdefault(
            "application/json", {"schema": dict(_ERROR), "examples": {}}
        )
        codes = content["examples"].keys() | {kind.code for kind in kinds}
        content["examples"] = {code: {"$ref": _EXAMPLES + code} for code in sorted(codes)}
        answer["description"] = f"{_SAID[status]}: " + ", ".join(
            f"`{code}`" for code in sorted(codes)
        )


def add_usual_errors(operation: dict[str, Any], method: str, *, keyed: bool) -> None:
    """Add what every request of this kind can meet."""
    add_errors(operation, {500: (InternalError,)})
    if keyed:
        add_errors(operation, _KEYED)
        if method in {"post", "patch"}:
            add_errors(operation, _WITH_BODY)
        if method == "post":
            add_errors(operation, _OF_POST)


def build_error_examples() -> dict[str, dict[str, Any]]:
    """Return an example of every error in the tree, by its code."""
    kinds: list[type[HeadraceError]] = [HeadraceError]
    examples = {}
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        said = " ".join((kind.__doc__ or "").split())
        message, param = (
            ("'url' is missing.", "url") if kind is FieldInvalid else (said.split(". ")[0], None)
        )
        value = build_error(kind.code, message.rstrip(".") + ".", param)
        examples[kind.code] = {"summary": said, "value": value}
    return examples

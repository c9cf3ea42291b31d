"""The secrets that sign: of an endpoint, and of the project for the ``webhook_url`` of its tasks.

Only a key that may keep keys sees them.
"""

from __future__ import annotations

from datetime import timedelta

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit_admin
from api.answers import NewEndpointAnswer, SecretAnswer
from api.auth import get_project
from api.documents import describe
from api.endpoints import find_endpoint
from api.envelope import build_object
from api.receivers import ensure_project_secret, make_sealed_secret, open_secret
from api.services import Services, get_services
from api.webhook_answers import SecretResource, show_new_endpoint
from api.webhook_schemas import RotateRequest
from ingest.errors import ConflictError, NotFound, SecretUnreadable
from ingest.logs import get_logger
from ingest.resources import show_time_or_none
from storage.records import endpoints, webhook_secrets

blueprint = APIBlueprint("webhook_secrets", __name__, tag="Webhooks")
blueprint.before_request(admit_admin)

_OF_PROJECT = "/webhooks/secret"


@blueprint.get("/webhooks/endpoints/<endpoint_id>/secret")
@describe(
    blueprint,
    "Get an endpoint's secret",
    "The newest; takes a key with the scope `admin`.",
    {200: SecretAnswer, 404: None, 409: None},
    raises={422: (SecretUnreadable,)},
)
def read_endpoint(endpoint_id: str) -> Response:
    """Answer with what signs for an endpoint."""
    services, project = get_services(), get_project()
    with services.database.transaction() as connection:
        endpoint = find_endpoint(connection, project, endpoint_id)
        sealed = endpoints.read_secrets(connection, project.id, endpoint.id)
    if sealed is None:
        raise NotFound("There is no such endpoint in this project.")
    shown = SecretResource(
        secret=open_secret(services, sealed),
        old_secret_until=show_time_or_none(endpoint.old_secret_until),
    )
    return build_object(shown, f"/webhooks/endpoints/{endpoint.id}/secret")


@blueprint.post("/webhooks/endpoints/<endpoint_id>/rotate")
@blueprint.input(RotateRequest, arg_name="asked")
@describe(
    blueprint,
    "Rotate an endpoint's secret",
    "The new one signs at once; the one before signs as well while the overlap lasts. There is no "
    "other rotation meanwhile, but for one without an overlap, which ends all secrets before.",
    {200: NewEndpointAnswer, 400: None, 404: None, 409: None, 413: None, 415: None, 422: None,
     503: None},
)  # fmt: skip
def rotate_endpoint(endpoint_id: str, asked: RotateRequest) -> Response:
    """Sign with a new secret."""
    services, project = get_services(), get_project()
    _require_keys(services)
    secret, sealed = make_sealed_secret(services)
    with services.database.transaction() as connection:
        find_endpoint(connection, project, endpoint_id)
        endpoint = endpoints.rotate(
            connection, project.id, endpoint_id, sealed, timedelta(seconds=asked.overlap_s)
        )
    if endpoint is None:
        raise _say_still_rotating()
    get_logger(__name__).info("endpoint.rotated", endpoint_id=endpoint.id)
    return build_object(show_new_endpoint(endpoint, secret), f"/webhooks/endpoints/{endpoint.id}")


@blueprint.get(_OF_PROJECT)
@describe(
    blueprint,
    "Get the project's secret",
    "What signs for the `webhook_url` of tasks; made now, if nothing was ever signed. Takes a key "
    "with the scope `admin`.",
    {200: SecretAnswer, 409: None},
    raises={422: (SecretUnreadable,)},
)
def read_project() -> Response:
    """Answer with what signs for the project's tasks."""
    services, project = get_services(), get_project()
    _require_keys(services)
    with services.database.transaction() as connection:
        sealed = ensure_project_secret(services, connection, project)
        until = webhook_secrets.read_old_until(connection, project.id)
    shown = SecretResource(
        secret=open_secret(services, sealed), old_secret_until=show_time_or_none(until)
    )
    return build_object(shown, _OF_PROJECT)


@blueprint.post(f"{_OF_PROJECT}/rotate")
@blueprint.input(RotateRequest, arg_name="asked")
@describe(
    blueprint,
    "Rotate the project's secret",
    "The new one signs at once; the one before signs as well while the overlap lasts. There is no "
    "other rotation meanwhile, but for one without an overlap, which ends all secrets before.",
    {200: SecretAnswer, 400: None, 409: None, 413: None, 415: None, 422: None, 503: None},
)
def rotate_project(asked: RotateRequest) -> Response:
    """Sign with a new secret."""
    services, project = get_services(), get_project()
    _require_keys(services)
    secret, sealed = make_sealed_secret(services)
    with services.database.transaction() as connection:
        ensure_project_secret(services, connection, project)
        overlap = timedelta(seconds=asked.overlap_s)
        if not webhook_secrets.rotate(connection, project.id, sealed, overlap):
            raise _say_still_rotating()
        until = webhook_secrets.read_old_until(connection, project.id)
    get_logger(__name__).info("project.secret_rotated")
    shown = SecretResource(secret=secret, old_secret_until=show_time_or_none(until))
    return build_object(shown, _OF_PROJECT)


def _say_still_rotating() -> ConflictError:
    return ConflictError(
        "The secret before the last one signs still. Rotate once it has ended, or with an "
        "'overlap_s' of 0, which ends all before the new one at once."
    )


def _require_keys(services: Services) -> None:
    if not services.sealer.can_seal:
        raise ConflictError(
            "There are no webhooks here: the operator has set no HEADRACE_SECRET_KEYS."
        )

"""``/webhooks/endpoints``: where a project is told of its events.

Whoever may keep the project's keys may say where its events go; others may look.
"""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import Connection

from api.admission import admit_changes
from api.answers import EndpointAnswer, EndpointListAnswer, NewEndpointAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_list, build_object, make_link
from api.receivers import make_sealed_secret
from api.services import get_services
from api.webhook_answers import show_new_endpoint
from api.webhook_schemas import EndpointChange, EndpointListing, EndpointRequest
from ingest.errors import ConflictError, NotFound
from ingest.ids import Prefix, is_id
from ingest.logs import get_logger
from ingest.model import Project
from ingest.webhook_resources import show_endpoint
from ingest.webhooks import Endpoint
from storage.records import endpoints

blueprint = APIBlueprint("endpoints", __name__, tag="Webhooks")
blueprint.before_request(admit_changes)

# Each event makes a delivery for each of them, in the transaction that ends a task.
MOST_ENDPOINTS = 50


@blueprint.post("/webhooks/endpoints")
@blueprint.input(EndpointRequest, arg_name="asked")
@describe(
    blueprint,
    "Make an endpoint",
    "Its secret is in this answer; `GET /webhooks/endpoints/{id}/secret` shows it again.",
    {201: NewEndpointAnswer, 400: None, 409: None, 413: None, 415: None, 422: None, 503: None},
)
def create(asked: EndpointRequest) -> Response:
    """Make an endpoint of this project."""
    services, project = get_services(), get_project()
    url = services.planner.check_receiver(asked.url)
    secret, sealed = make_sealed_secret(services)
    with services.database.transaction() as connection:
        if endpoints.count_held(connection, project.id) >= MOST_ENDPOINTS:
            raise ConflictError(
                f"The project has {MOST_ENDPOINTS} endpoints, as many as it may have."
            )
        endpoint = endpoints.create(
            connection,
            project.id,
            url=url,
            topics=asked.topics,
            description=asked.description,
            metadata=asked.metadata,
            sealed_secret=sealed,
        )
    get_logger(__name__).info("endpoint.created", endpoint_id=endpoint.id)
    path = f"/webhooks/endpoints/{endpoint.id}"
    shown = show_new_endpoint(endpoint, secret)
    return build_object(shown, path, 201, {"Location": make_link(path)})


@blueprint.get("/webhooks/endpoints/<endpoint_id>")
@describe(blueprint, "Get an endpoint", "Without its secret.", {200: EndpointAnswer, 404: None})
def read(endpoint_id: str) -> Response:
    """Answer with one endpoint."""
    with get_services().database.transaction() as connection:
        endpoint = find_endpoint(connection, get_project(), endpoint_id)
    return build_object(show_endpoint(endpoint), f"/webhooks/endpoints/{endpoint.id}")


@blueprint.get("/webhooks/endpoints")
@blueprint.input(EndpointListing, location="query", arg_name="asked")
@describe(blueprint, "List endpoints", "Newest first.", {200: EndpointListAnswer, 422: None})
def list_all(asked: EndpointListing) -> Response:
    """Answer with one page of endpoints."""
    window = asked.to_window()
    with get_services().database.transaction() as connection:
        page = endpoints.list_page(connection, get_project().id, window)
    ids = [endpoint.id for endpoint in page.items]
    return build_list([show_endpoint(one) for one in page.items], page, window, ids)


@blueprint.patch("/webhooks/endpoints/<endpoint_id>")
@blueprint.input(EndpointChange, arg_name="asked")
@describe(
    blueprint,
    "Change an endpoint",
    "Enabled again, it is sent what still waits; `replay` sends what it missed.",
    {200: EndpointAnswer, 400: None, 404: None, 413: None, 415: None, 422: None, 503: None},
)
def change(endpoint_id: str, asked: EndpointChange) -> Response:
    """Change what is named."""
    services, project = get_services(), get_project()
    values = {name: getattr(asked, name) for name in asked.model_fields_set}
    if asked.url is not None:
        values["url"] = services.planner.check_receiver(asked.url)
    with services.database.transaction() as connection:
        find_endpoint(connection, project, endpoint_id)
        endpoint = endpoints.change(connection, project.id, endpoint_id, values)
    if endpoint is None:
        raise NotFound(_NO_ENDPOINT)
    get_logger(__name__).info(
        "endpoint.changed", endpoint_id=endpoint.id, fields=sorted(values), status=endpoint.status
    )
    services.queue.nudge_webhooks()
    return build_object(show_endpoint(endpoint), f"/webhooks/endpoints/{endpoint.id}")


@blueprint.delete("/webhooks/endpoints/<endpoint_id>")
@describe(
    blueprint,
    "Delete an endpoint",
    "With its deliveries, those that wait as well.",
    {204: None, 404: None},
)
def delete(endpoint_id: str) -> tuple[str, int]:
    """Delete an endpoint."""
    project = get_project()
    with get_services().database.transaction() as connection:
        find_endpoint(connection, project, endpoint_id)
        endpoints.remove(connection, project.id, endpoint_id)
    get_logger(__name__).info("endpoint.deleted", endpoint_id=endpoint_id)
    return "", 204


def find_endpoint(connection: Connection, project: Project, endpoint_id: str) -> Endpoint:
    """Return a project's endpoint.

    Raises:
        NotFound: it has no such endpoint, or this is no endpoint's id.
    """
    endpoint = None
    if is_id(Prefix.ENDPOINT, endpoint_id):
        endpoint = endpoints.get(connection, project.id, endpoint_id)
    if endpoint is None:
        raise NotFound(_NO_ENDPOINT)
    return endpoint


_NO_ENDPOINT = "There is no such endpoint in this project."

"""``/webhooks/deliveries``: what was sent, what came of it, and sending it once more."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import Connection

from api.admission import admit
from api.answers import DeliveryAnswer, DeliveryListAnswer, ReplayAnswer
from api.auth import get_project
from api.documents import describe
from api.endpoints import find_endpoint
from api.envelope import build_list, build_object
from api.services import get_services
from api.webhook_answers import ReplayResource
from api.webhook_schemas import DeliveryListing, ReplayRequest
from ingest.errors import ConflictError, NotFound
from ingest.ids import Prefix, is_id
from ingest.logs import get_logger
from ingest.model import Project
from ingest.webhook_resources import show_delivery
from ingest.webhooks import Delivery, EndpointStatus
from storage.records import deliveries
from storage.records.deliveries import MOST_REPLAYED, Missed

blueprint = APIBlueprint("deliveries", __name__, tag="Webhooks")
blueprint.before_request(admit)


@blueprint.get("/webhooks/deliveries/<delivery_id>")
@describe(blueprint, "Get a delivery", "With its attempts.", {200: DeliveryAnswer, 404: None})
def read(delivery_id: str) -> Response:
    """Answer with one delivery."""
    with get_services().database.transaction() as connection:
        delivery = find_delivery(connection, get_project(), delivery_id)
    return build_object(show_delivery(delivery), f"/webhooks/deliveries/{delivery.id}")


@blueprint.get("/webhooks/deliveries")
@blueprint.input(DeliveryListing, location="query", arg_name="asked")
@describe(
    blueprint,
    "List deliveries",
    "With their attempts, newest first.",
    {200: DeliveryListAnswer, 422: None},
)
def list_all(asked: DeliveryListing) -> Response:
    """Answer with one page of deliveries."""
    narrowed = deliveries.DeliveryFilter(asked.endpoint_id, asked.event_id, asked.status)
    window = asked.to_window()
    with get_services().database.transaction() as connection:
        page = deliveries.list_page(connection, get_project().id, narrowed, window)
    ids = [delivery.id for delivery in page.items]
    return build_list([show_delivery(one) for one in page.items], page, window, ids)


@blueprint.post("/webhooks/endpoints/<endpoint_id>/replay")
@blueprint.input(ReplayRequest, arg_name="asked")
@describe(
    blueprint,
    "Replay what an endpoint missed",
    "Oldest first, each with all its attempts before it; answers with how many there are.",
    {200: ReplayAnswer, 400: None, 404: None, 409: None, 413: None, 415: None, 422: None,
     503: None},
)  # fmt: skip
def replay(endpoint_id: str, asked: ReplayRequest) -> Response:
    """Send what was missed."""
    services, project = get_services(), get_project()
    with services.database.transaction() as connection:
        endpoint = find_endpoint(connection, project, endpoint_id)
        if endpoint.status is EndpointStatus.DISABLED:
            raise ConflictError("The endpoint is disabled; enable it first.")
        count = deliveries.replay(connection, endpoint, asked.since, Missed(asked.status))
    get_logger(__name__).info("endpoint.replayed", endpoint_id=endpoint.id, deliveries=count)
    services.queue.nudge_webhooks()
    shown = ReplayResource(
        endpoint_id=endpoint.id, deliveries=count, complete=count < MOST_REPLAYED
    )
    return build_object(shown, f"/webhooks/endpoints/{endpoint.id}")


def find_delivery(connection: Connection, project: Project, delivery_id: str) -> Delivery:
    """Return a project's delivery with its attempts.

    Raises:
        NotFound: it has no such delivery (any more), or this is no delivery's id.
    """
    delivery = None
    if is_id(Prefix.DELIVERY, delivery_id):
        delivery = deliveries.get(connection, project.id, delivery_id)
    if delivery is None:
        raise NotFound("There is no such delivery in this project.")
    return delivery

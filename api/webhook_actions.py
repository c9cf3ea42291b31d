"""``…/test`` and ``…/redeliver``: what is sent because somebody asks for it now."""

from __future__ import annotations

import time

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit_bodiless
from api.answers import DeliveryAnswer
from api.auth import get_project
from api.deliveries import find_delivery
from api.documents import describe
from api.endpoints import find_endpoint
from api.envelope import build_object
from api.services import Services, get_services
from ingest.errors import ConflictError, RedisUnavailable
from ingest.logs import get_logger
from ingest.model import Project
from ingest.webhook_resources import show_delivery
from ingest.webhooks import Delivery, DeliveryStatus, EndpointStatus
from storage.records import deliveries, endpoints

blueprint = APIBlueprint("webhook_actions", __name__, tag="Webhooks")
blueprint.before_request(admit_bodiless)

_ENDED = frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.FAILED})
# Beyond an attempt's own limit: for its way through the queue.
_WAY_S = 5.0


@blueprint.post("/webhooks/endpoints/<endpoint_id>/test")
@describe(
    blueprint,
    "Test an endpoint",
    "Sends one `webhook.test` at once, also to an endpoint that is disabled, and answers with what "
    "came of it; 202 if that is not known yet. Takes no body.",
    {200: DeliveryAnswer, 202: DeliveryAnswer, 404: None, 415: None, 422: None, 503: None},
)
def test(endpoint_id: str) -> Response:
    """Send a test and wait for what comes of it."""
    services, project = get_services(), get_project()
    with services.database.transaction() as connection:
        endpoint = find_endpoint(connection, project, endpoint_id)
        made = deliveries.create_test(connection, endpoint)
    delivery = _wait(services, project, made)
    get_logger(__name__).info(
        "endpoint.tested", endpoint_id=endpoint.id, delivery_id=delivery.id, status=delivery.status
    )
    path = f"/webhooks/deliveries/{delivery.id}"
    return build_object(show_delivery(delivery), path, 200 if delivery.status in _ENDED else 202)


@blueprint.post("/webhooks/deliveries/<delivery_id>/redeliver")
@describe(
    blueprint,
    "Redeliver",
    "Sends one delivery at once, whatever came of it, under the same `webhook-id` and with all its "
    "attempts before it. Takes no body.",
    {200: DeliveryAnswer, 404: None, 409: None, 415: None, 422: None, 503: None},
)
def redeliver(delivery_id: str) -> Response:
    """Send a delivery once more."""
    services, project = get_services(), get_project()
    with services.database.transaction() as connection:
        found = find_delivery(connection, project, delivery_id)
        delivery = deliveries.redeliver(connection, project.id, found.id)
        if delivery is None:
            raise ConflictError("The delivery is being sent at this moment.")
        endpoint = None
        if delivery.endpoint_id is not None:
            endpoint = endpoints.get(connection, project.id, delivery.endpoint_id)
        if endpoint is not None and endpoint.status is EndpointStatus.DISABLED:
            raise ConflictError("The endpoint is disabled; enable it first.")
    get_logger(__name__).info("delivery.asked_for", delivery_id=delivery.id)
    services.queue.nudge_webhooks()
    return build_object(show_delivery(delivery), f"/webhooks/deliveries/{delivery.id}")


def _wait(services: Services, project: Project, delivery: Delivery) -> Delivery:
    """Return a delivery once it has ended, or as it is when the time is over.

    Without Redis nothing is sent, so there is nothing to wait for.
    """
    limit_s = min(services.settings.webhook_timeout_s + _WAY_S, services.settings.sync_timeout_s)
    deadline = time.monotonic() + limit_s
    if not services.waiters.acquire(blocking=False):
        services.queue.nudge_webhooks()
        return delivery
    try:
        with services.signals.listen_for_end(delivery.id) as wait:
            services.signals.nudge_webhooks()
            heard = False
            while not heard and (left_s := deadline - time.monotonic()) > 0:
                heard = wait(left_s)
    except RedisUnavailable:
        get_logger(__name__).warning("wait.redis_missing", delivery_id=delivery.id)
    finally:
        services.waiters.release()
    with services.database.transaction() as connection:
        return deliveries.get(connection, project.id, delivery.id) or delivery

"""``/events``: what has happened, for as long as it is kept."""

from __future__ import annotations

from functools import partial

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit
from api.answers import EventAnswer, EventListAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_list, build_object
from api.ingests import show
from api.services import get_services
from api.webhook_schemas import EventListing
from ingest.errors import NotFound
from ingest.ids import Prefix, is_id
from ingest.webhook_resources import show_event
from storage.records import events

blueprint = APIBlueprint("events", __name__, tag="Events")
blueprint.before_request(admit)


@blueprint.get("/events/<event_id>")
@describe(
    blueprint,
    "Get an event",
    "With what it is about, as that was then; what webhooks tell, and never cut.",
    {200: EventAnswer, 404: None},
)
def read(event_id: str) -> Response:
    """Answer with one event."""
    services = get_services()
    event = None
    if is_id(Prefix.EVENT, event_id):
        with services.database.transaction() as connection:
            event = events.get(connection, get_project().id, event_id)
    if event is None:
        raise NotFound("There is no such event in this project.")
    return build_object(show_event(event, partial(show, services)), f"/events/{event.id}")


@blueprint.get("/events")
@blueprint.input(EventListing, location="query", arg_name="asked")
@describe(blueprint, "List events", "Newest first.", {200: EventListAnswer, 422: None})
def list_all(asked: EventListing) -> Response:
    """Answer with one page of events."""
    services = get_services()
    window = asked.to_window()
    with services.database.transaction() as connection:
        page = events.list_page(
            connection,
            get_project().id,
            window,
            type_=asked.type,
            subject_id=asked.subject_id,
        )
    ids = [event.id for event in page.items]
    shown = [show_event(event, partial(show, services)) for event in page.items]
    return build_list(shown, page, window, ids)

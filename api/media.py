"""``/media``: files that belong together."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit
from api.answers import MediaAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_object
from api.ingests import show
from api.services import get_services
from ingest.errors import NotFound
from ingest.ids import Prefix, is_id
from ingest.model import File
from ingest.resources import show_media
from storage.records import media

blueprint = APIBlueprint("media", __name__, tag="Media")
blueprint.before_request(admit)


@blueprint.get("/media/<media_id>")
@describe(
    blueprint,
    "Get a media",
    "The files that have this `media_id`: the first one, and those that were ordered with it.",
    {200: MediaAnswer, 404: None},
)
def read(media_id: str) -> Response:
    """Answer with one media."""
    services = get_services()
    found: list[File] = []
    if is_id(Prefix.MEDIA, media_id):
        with services.database.look() as connection:
            found = list(media.list_files(connection, get_project().id, media_id))
    if not found:
        raise NotFound("There is no such media in this project.")
    shown = show_media(media_id, [show(services, file) for file in found])
    return build_object(shown, f"/media/{media_id}")

"""``/media``: files that belong together. A media is there as long as it has a file."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit
from api.answers import DeletedAnswer, MediaAnswer, MediaListAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_list, build_object
from api.ingests import show
from api.removal import remove_file
from api.schemas import MediaListing
from api.services import get_services
from ingest.errors import NotFound, StorageUnavailable
from ingest.ids import Prefix, is_id
from ingest.logs import get_logger
from ingest.model import File
from ingest.resources import DeletedResource, show_media
from storage.records import media

blueprint = APIBlueprint("media", __name__, tag="Media")
blueprint.before_request(admit)

_NO_MEDIA = "There is no such media in this project."


@blueprint.get("/media")
@blueprint.input(MediaListing, location="query", arg_name="asked")
@describe(
    blueprint,
    "List media",
    "Newest first, each with the first ten of its files.",
    {200: MediaListAnswer, 422: None},
)
def list_all(asked: MediaListing) -> Response:
    """Answer with one page of media."""
    services, project = get_services(), get_project()
    window = asked.to_window()
    with services.database.transaction() as connection:
        page = media.list_page(connection, project.id, window)
        found = {
            one: media.list_files(connection, project.id, one, media.MOST_LISTED)
            for one in page.items
        }
    # One of which the last file was deleted at this moment has nothing to show.
    shown = {
        one: show_media(one, [show(services, file) for file in files])
        for one, files in found.items()
        if files
    }
    return build_list(list(shown.values()), page, window, list(shown))


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
        raise NotFound(_NO_MEDIA)
    shown = show_media(media_id, [show(services, file) for file in found])
    return build_object(shown, f"/media/{media_id}")


@blueprint.delete("/media/<media_id>")
@describe(
    blueprint,
    "Delete a media",
    "All of its files, one after the other, the oldest first. What is still being ingested into it "
    "becomes a file of it; if the store does not answer in between, ask again for the rest.",
    {200: DeletedAnswer, 404: None, 503: None},
    raises={503: (StorageUnavailable,)},
)
def delete(media_id: str) -> Response:
    """Delete all files of a media."""
    services, project = get_services(), get_project()
    count = 0
    while is_id(Prefix.MEDIA, media_id):
        with services.database.look() as connection:
            found = media.list_files(connection, project.id, media_id)
        if not found:
            break
        count += sum(remove_file(services, project.id, file.id) for file in found)
    if not count:
        raise NotFound(_NO_MEDIA)
    get_logger(__name__).info("media.deleted", media_id=media_id, files=count)
    message = f"{media_id} and its files are deleted."
    gone = DeletedResource(id=media_id, object="media", message=message)
    return build_object(gone, f"/media/{media_id}")

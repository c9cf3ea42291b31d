"""``/delivery/…``: the stable address of a file, which redirects to a short-lived presigned one.

Whoever has the address may read the file, as with a public bucket; keys are asked for nowhere here.
"""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, redirect, request

from api.documents import describe
from api.services import get_services
from ingest.errors import NotFound
from ingest.ids import Prefix, is_id
from ingest.naming import make_disposition
from storage.objects.store import ObjectHeaders
from storage.records import files

blueprint = APIBlueprint("delivery", __name__, tag="Delivery")


@blueprint.get("/delivery/<path:name>")
@describe(
    blueprint,
    "Read a file's bytes",
    "Redirects to the object store; HEAD works too.",
    {302: None, 404: None, 503: None},
    public=True,
)
def deliver(name: str) -> Response:
    """Redirect to the object, under the type that was found in its bytes."""
    services = get_services()
    file = None
    # PostgreSQL takes no U+0000 in text, and no key has one.
    if "\x00" not in name:
        file_id = name if is_id(Prefix.FILE, name) else None
        with services.database.transaction() as connection:
            file = files.find_delivered(connection, file_id=file_id, object_key=name)
    if file is None:
        raise NotFound("There is no such file.")
    shown = file.filename or file.source_name or f"{file.id}.{file.media.extension}"
    headers = ObjectHeaders(file.media.type, make_disposition(shown), {})
    ttl_s = services.settings.presign_ttl_s
    address = services.store.presign(file.stored_key, ttl_s, headers, head=request.method == "HEAD")
    response = redirect(address, 302)
    # Half the signature's life: a cached redirect must still work when it is followed. One to an
    # object that is about to be moved would not.
    kept = "no-store" if file.lies_at is not None else f"private, max-age={ttl_s // 2}"
    response.headers["Cache-Control"] = kept
    return response  # type: ignore[return-value]  # werkzeug's redirect is typed one class up

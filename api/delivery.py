"""``/delivery/…``: the stable address of a file, which redirects to a short-lived presigned one.

Keys are asked for nowhere here. Whoever has the address of a public file may read it, as with a
public bucket; of a signed one whoever has an address that ``POST /signatures`` has signed. A
signature that is there is judged whatever the file is, and one that is no good is no better than a
name of nothing: the answers are the same.
"""

from __future__ import annotations

import math

from apiflask import APIBlueprint
from flask import Response, redirect, request

from api.documents import describe
from api.schemas import DeliveryQuery
from api.services import Services, get_services
from ingest.errors import NotFound
from ingest.ids import Prefix, is_id
from ingest.model import File, FileAccess
from ingest.naming import POSTER_TYPE, clean_name, find_poster_owner, make_disposition
from ingest.url_signatures import Grant, SignedMethod, read_terms
from storage.objects.store import ObjectHeaders
from storage.records import files

blueprint = APIBlueprint("delivery", __name__, tag="Delivery")


@blueprint.get("/delivery/<path:name>")
@blueprint.input(DeliveryQuery, location="query", arg_name="asked")
@describe(
    blueprint,
    "Read a file's bytes",
    "Redirects to the object store; HEAD works too. Of a file whose `access` is `signed` it takes "
    "the `expiry` and `signature` of `POST /signatures`.",
    {302: None, 404: None, 503: None},
    public=True,
)
def deliver(name: str, asked: DeliveryQuery) -> Response:
    """Redirect to the object, under the type that was found in its bytes."""
    services = get_services()
    file = None
    shown_id = find_poster_owner(name)
    # PostgreSQL takes no U+0000 in text, and no key has one.
    if "\x00" not in name:
        file_id = name if is_id(Prefix.FILE, name) else shown_id
        with services.database.transaction() as connection:
            file = files.find_delivered(connection, file_id=file_id, object_key=name)
    ttl_s = services.settings.presign_ttl_s
    if file is not None:
        ttl_s = min(ttl_s, _count_seconds(services, file, name, asked))
    key = None
    if file is not None:
        key = file.stored_key if shown_id is None else file.poster_key
    if file is None or key is None or not ttl_s:
        raise NotFound("There is no such file, or it takes a signed URL that has not ended.")
    own = file.filename or file.source_name or f"{file.id}.{file.media.extension}"
    shown = clean_name(asked.download or "") or (own if shown_id is None else name)
    disposition = make_disposition(shown, saves=asked.download is not None)
    content_type = file.media.type if shown_id is None else POSTER_TYPE
    headers = ObjectHeaders(content_type, disposition, {})
    address = services.store.presign(key, ttl_s, headers, head=request.method == "HEAD")
    response = redirect(address, 302)
    # Half the signature's life: a cached redirect must still work when it is followed. One to an
    # object that is about to be moved would not.
    kept = "no-store" if file.lies_at is not None else f"private, max-age={ttl_s // 2}"
    response.headers["Cache-Control"] = kept
    return response  # type: ignore[return-value]  # werkzeug's redirect is typed one class up


def _count_seconds(services: Services, file: File, name: str, asked: DeliveryQuery) -> int:
    """Return for how many seconds the bytes may be read; 0 where they may not."""
    if asked.signature is None and file.access is FileAccess.PUBLIC:
        return services.settings.presign_ttl_s
    terms = read_terms(asked.expiry, None, None)
    if asked.signature is None or terms is None:
        return 0
    grant = Grant(SignedMethod.GET, file.project_id, name, terms[0])
    return math.ceil(services.signer.count_seconds(grant, asked.signature))

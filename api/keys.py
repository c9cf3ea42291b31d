"""``/keys``: the keys of a project, kept by whoever has one with the scope ``admin``."""

from __future__ import annotations

from datetime import UTC, datetime

from apiflask import APIBlueprint
from flask import Response, g

from api.admission import admit_admin
from api.answers import KeyAnswer, KeyListAnswer, NewKeyAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_list, build_object, make_link
from api.schemas import KeyListing, KeyRequest
from api.services import get_services
from api.tenancy import show_key, show_new_key
from ingest.access import ApiKey
from ingest.errors import FieldInvalid, NotFound
from ingest.ids import Prefix, is_id
from ingest.logs import get_logger
from storage.records import keys

blueprint = APIBlueprint("keys", __name__, tag="Keys")
blueprint.before_request(admit_admin)


@blueprint.post("/keys")
@blueprint.input(KeyRequest, arg_name="asked")
@describe(
    blueprint,
    "Make a key",
    "Its secret is in this answer and never shown again.",
    {201: NewKeyAnswer, 400: None, 413: None, 415: None, 422: None, 503: None},
)
def create(asked: KeyRequest) -> Response:
    """Make a key of this project."""
    if asked.expires is not None and asked.expires <= datetime.now(UTC):
        raise FieldInvalid("'expires' is in the past.", param="expires")
    with get_services().database.transaction() as connection:
        key, secret = keys.create_key(
            connection, get_project().id, asked.name, scopes=asked.scopes, expires=asked.expires
        )
    g.tells_secret = True
    get_logger(__name__).info("key.created", key_id=key.id, scopes=list(key.scopes))
    path = f"/keys/{key.id}"
    return build_object(show_new_key(key, secret), path, 201, {"Location": make_link(path)})


@blueprint.get("/keys/<key_id>")
@describe(blueprint, "Get a key", "Without its secret.", {200: KeyAnswer, 404: None})
def read(key_id: str) -> Response:
    """Answer with one key."""
    key = None
    if is_id(Prefix.KEY, key_id):
        with get_services().database.transaction() as connection:
            key = keys.get_key(connection, get_project().id, key_id)
    return build_object(show_key(_require(key)), f"/keys/{key_id}")


@blueprint.get("/keys")
@blueprint.input(KeyListing, location="query", arg_name="asked")
@describe(
    blueprint, "List keys", "Newest first, revoked ones too.", {200: KeyListAnswer, 422: None}
)
def list_all(asked: KeyListing) -> Response:
    """Answer with one page of keys."""
    window = asked.to_window()
    with get_services().database.transaction() as connection:
        page = keys.list_page(connection, get_project().id, window)
    ids = [key.id for key in page.items]
    return build_list([show_key(key) for key in page.items], page, window, ids)


@blueprint.delete("/keys/<key_id>")
@describe(
    blueprint,
    "Revoke a key",
    "At once, be it the one that asks. It stays in the list. Revoking it twice does no harm.",
    {204: None, 404: None},
)
def revoke(key_id: str) -> tuple[str, int]:
    """End a key."""
    key = None
    if is_id(Prefix.KEY, key_id):
        with get_services().database.transaction() as connection:
            if keys.revoke_key(connection, get_project().id, key_id):
                get_logger(__name__).info("key.revoked", key_id=key_id)
            key = keys.get_key(connection, get_project().id, key_id)
    _require(key)
    return "", 204


def _require(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise NotFound("There is no such key in this project.")
    return key

"""``/signatures``: URLs that let whoever has them read or send one file, without a key.

Nothing is looked up and nothing is kept: a signature is judged by itself when it is used.
"""

from __future__ import annotations

from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response

from api.admission import admit
from api.answers import SignatureAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_object, make_link
from api.ingests import find_places
from api.schemas import SignatureRequest
from api.services import Services, get_services
from api.signature_answers import show_signature
from ingest.errors import FieldInvalid
from ingest.ids import Prefix, is_id
from ingest.model import FileAccess, IfExists, Project
from ingest.naming import check_filename, find_poster_owner, make_key
from ingest.url_signatures import MOST_S, USUAL_S, Grant, SignedMethod

blueprint = APIBlueprint("signatures", __name__, tag="Signatures")
blueprint.before_request(admit)


@blueprint.post("/signatures")
@blueprint.input(SignatureRequest, arg_name="asked")
@describe(
    blueprint,
    "Sign a URL",
    "A URL that reads one file, or that one is sent to, until it ends. A URL that reads is signed "
    "whether or not there is such a file.",
    {200: SignatureAnswer, 422: None},
)
def create(asked: SignatureRequest) -> Response:
    """Answer with a URL of this API that is signed."""
    services, project = get_services(), get_project()
    if not services.settings.secret_keys:
        raise FieldInvalid(
            "Nothing can be signed here: the operator has set no HEADRACE_SECRET_KEYS."
        )
    method = asked.method or SignedMethod.GET
    expiry = _find_expiry(services, asked.expiry)
    if method is SignedMethod.GET:
        name = _find_name(project.key_prefix, asked)
        grant = Grant(method, project.id, name, expiry)
        address = make_link(f"/delivery/{quote(name)}")
    else:
        grant = _plan_put(services, project, asked, expiry)
        path = "/".join(part for part in (asked.folder, asked.filename) if part)
        address = make_link(f"/uploads/{project.id}/{quote(path)}")
    signature = services.signer.sign(grant)
    shown = show_signature(grant, asked.folder, asked.filename, address, signature)
    return build_object(shown, "/signatures")


def _plan_put(services: Services, project: Project, asked: SignatureRequest, expiry: int) -> Grant:
    # Of a name that cannot be had somebody is told who can choose another.
    with services.database.transaction() as connection:
        name = services.planner.plan_key(
            project, asked.folder, check_filename(asked.filename), find_places(connection, project)
        )
    access = asked.access or FileAccess.PUBLIC
    services.planner.check_file_access(access)
    if_exists = asked.if_exists or IfExists.ERROR
    return Grant(SignedMethod.PUT, project.id, name, expiry, if_exists, access)


def _find_name(key_prefix: str, asked: SignatureRequest) -> str:
    for field in ("if_exists", "access"):
        if getattr(asked, field) is not None:
            raise FieldInvalid(f"'{field}' goes with the method 'put' alone.", param=field)
    by_id = is_id(Prefix.FILE, asked.filename) or find_poster_owner(asked.filename) is not None
    if not by_id:
        return make_key(key_prefix, asked.folder, asked.filename)
    if asked.folder is not None:
        raise FieldInvalid(
            "'folder' does not go with a file's id, which names the file by itself.", param="folder"
        )
    return asked.filename


def _find_expiry(services: Services, asked: int | None) -> int:
    now = services.signer.now()
    if asked is None:
        return int(now) + USUAL_S
    if asked <= now:
        raise FieldInvalid("'expiry' is over; it takes seconds since 1970.", param="expiry")
    if asked > now + MOST_S:
        raise FieldInvalid(
            f"'expiry' is more than {MOST_S} seconds ahead; it takes seconds since 1970.",
            param="expiry",
        )
    return asked

"""``Idempotency-Key``: a POST that is sent again is answered again, and done once.

Any POST takes one. The first request with a key is answered; the same one again gets that answer
for a day, byte for byte; while it is being answered, those that come wait for it a moment. Another
request with the same key is refused. Keys belong to the project.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable

from flask import Response, g, request
from sqlalchemy import Connection

from api.services import Services, get_services
from ingest.errors import (
    ConflictError,
    DatabaseUnavailable,
    FieldInvalid,
    IdempotencyInFlight,
    IdempotencyMismatch,
)
from ingest.ids import Prefix, is_id
from ingest.logs import get_logger
from storage.records import idempotency
from storage.records.idempotency import Busy, IdempotencyKey, Kept, Mine

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("Content-Type", "Content-Version", "Location", "Retry-After", "Vary")
_LOOK_EVERY_S, _WAIT_S = 0.05, 5.0
# Beyond what a request may wait for an ingest.
_SLACK_S = 30.0
_RENEWED_EVERY_S = 10.0


class Replay(Exception):
    """Ends a request with an answer that was kept."""

    def __init__(self, response: Response) -> None:
        super().__init__("answered before")
        self.response = response


def begin(digest_body: Callable[[], bytes]) -> None:
    """Find out whether this request was answered before, if it says how to know it.

    Args:
        digest_body: returns the SHA-256 of its body.

    Raises:
        Replay: it was; this is the answer.
        IdempotencyMismatch: another request was.
        IdempotencyInFlight: it is being answered, and takes its time.
        FieldInvalid: the header is no key.
    """
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return
    if _KEY.fullmatch(key) is None:
        raise FieldInvalid(
            f"'{HEADER}' takes 1 to 255 printable characters of ASCII.", param=HEADER
        )
    services = get_services()
    mine = IdempotencyKey(g.access.project.id, key, g.request_id)
    fingerprint = _digest(digest_body())
    found = _take(services, mine, fingerprint)
    if isinstance(found, Mine):
        g.idempotency_key, g.made_before = mine, found.made
        return
    if found.fingerprint != fingerprint:
        raise IdempotencyMismatch(
            f"This {HEADER} was sent with another request before; take a new one.", param=HEADER
        )
    if isinstance(found, Busy):
        raise IdempotencyInFlight(
            f"A request with this {HEADER} is being answered; ask again.",
            param=HEADER,
            retry_after_s=1,
        )
    raise Replay(_replay(services, found))


def note_made(connection: Connection, made: str) -> None:
    """Note, in the transaction that makes it, what this request makes.

    Raises:
        ConflictError: it took so long that another request has its key; nothing is to be made.
    """
    mine: IdempotencyKey | None = g.get("idempotency_key")
    if mine is not None and not idempotency.note_made(connection, mine, made):
        raise ConflictError(f"Another request with this {HEADER} was quicker.")


def make_renewal() -> Callable[[], None]:
    """Return what keeps this request's key its own while it works for long."""
    mine: IdempotencyKey | None = g.get("idempotency_key")
    services, renewed = get_services(), time.monotonic()

    def renew() -> None:
        nonlocal renewed
        if mine is None or time.monotonic() - renewed < _RENEWED_EVERY_S:
            return
        lease_s = services.settings.sync_timeout_s + _SLACK_S
        with services.database.transaction() as connection:
            idempotency.renew(connection, mine, lease_s)
        renewed = time.monotonic()

    return renew


def find_made(prefix: Prefix) -> str | None:
    """Return the id of what a request with this key made that came to no answer."""
    made: str | None = g.get("made_before")
    return made if made is not None and is_id(prefix, made) else None


def keep(response: Response) -> None:
    """Keep an answer for those that ask again; one that says "later" lets them be answered."""
    mine: IdempotencyKey | None = g.pop("idempotency_key", None)
    if mine is None:
        return
    services = get_services()
    try:
        with services.database.transaction() as connection:
            if response.status_code >= 500:
                idempotency.let_go(connection, mine)
                return
            idempotency.keep(connection, mine, _pack(services, response))
    except DatabaseUnavailable:
        # What was made is noted. Whoever asks again finds it once the lease is over.
        get_logger(__name__).warning("idempotency.not_kept")


def _take(services: Services, mine: IdempotencyKey, fingerprint: bytes) -> Mine | Kept | Busy:
    """Take the key; while another request with it is being answered, wait for that a moment."""
    deadline = time.monotonic() + _WAIT_S
    lease_s = services.settings.sync_timeout_s + _SLACK_S
    while True:
        with services.database.transaction() as connection:
            found = idempotency.take(connection, mine, fingerprint, lease_s)
        waits = isinstance(found, Busy) and found.fingerprint == fingerprint
        if not waits or time.monotonic() > deadline:
            return found
        time.sleep(_LOOK_EVERY_S)


def _digest(body_sha256: bytes) -> bytes:
    asked = f"{request.method} {request.full_path}\0{request.headers.get('Accept-Version', '')}\0"
    return hashlib.sha256(asked.encode() + body_sha256).digest()


def _pack(services: Services, response: Response) -> Kept:
    body = response.get_data()
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    sealer = services.sealer
    if not sealer.can_seal and g.get("tells_secret", False):
        body = _leave_out_secret(body)
    if sealer.can_seal:
        return Kept(b"", response.status_code, headers, sealer.seal(body), is_sealed=True)
    return Kept(b"", response.status_code, headers, body, is_sealed=False)


def _leave_out_secret(body: bytes) -> bytes:
    """Return an answer as it may be kept where nothing can be kept secret."""
    answer = json.loads(body)
    holder = answer if "secret" in answer else answer["data"]
    holder["secret"] = None
    return json.dumps(answer).encode()


def _replay(services: Services, kept: Kept) -> Response:
    body = services.sealer.open(kept.body) if kept.is_sealed else kept.body
    response = Response(body, kept.status)
    for name, value in kept.headers.items():
        response.headers[name] = value
    response.headers[REPLAYED] = "true"
    return response

"""Signed URLs: what one lets its holder do, and how it is known that we said so.

An HMAC-SHA256 over all that it grants, under a key that is derived from those of the settings: a
signature opens nothing that is sealed, and what is sealed signs nothing. The first key signs, each
verifies, so keys are changed by putting a new one first. Invariants: a signature is good for the
method, project, name and terms that it was made for, until its end, and for nothing else; it is
compared in constant time; it tells nothing of whether there is such a file.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from enum import StrEnum

from pydantic import SecretStr

from ingest.errors import ConfigError
from ingest.model import FileAccess, IfExists

MOST_S = 7 * 24 * 3600
USUAL_S = 3600
# Written in one way alone.
_EXPIRY = re.compile(r"[1-9][0-9]{0,11}")
_PURPOSE = b"headrace: signed URLs, 1"


class SignedMethod(StrEnum):
    """What a signed URL is for: to read a file (HEAD too), or to send one."""

    GET = "get"
    PUT = "put"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signed URL lets its holder do.

    ``name`` is a file's id or its key in the bucket; of a put it is the key that the file will
    have. ``expiry`` is in seconds since 1970. What becomes of a name that is taken, and who may
    read the file, are terms of a put.
    """

    method: SignedMethod
    project_id: str
    name: str
    expiry: int
    if_exists: IfExists = IfExists.ERROR
    access: FileAccess = FileAccess.PUBLIC


def read_terms(
    expiry: str | None, if_exists: str | None, access: str | None
) -> tuple[int, IfExists, FileAccess] | None:
    """Return the terms that stand in the query of a signed URL; None where they are none."""
    if _EXPIRY.fullmatch(expiry or "") is None:
        return None
    with suppress(ValueError):
        return (
            int(expiry or ""),
            IfExists(if_exists or IfExists.ERROR),
            FileAccess(access or FileAccess.PUBLIC),
        )
    return None


class UrlSigner:
    """Signs and verifies. Safe to use from several threads.

    Args:
        keys: of the settings, the newest first; without any, nothing can be signed.
        now: seconds since 1970.
    """

    def __init__(self, keys: Sequence[SecretStr], now: Callable[[], float] = time.time) -> None:
        self._keys = [_derive(key.get_secret_value()) for key in keys]
        self.now = now

    def sign(self, grant: Grant) -> str:
        """Return the signature of a grant, in hex.

        Raises:
            ConfigError: there is no key.
        """
        if not self._keys:
            raise ConfigError("HEADRACE_SECRET_KEYS is empty, so nothing can be signed.")
        return _sign(self._keys[0], grant)

    def count_seconds(self, grant: Grant, signature: str) -> float:
        """Return for how many seconds more a signature is good for a grant; 0 if it is not."""
        given = signature.encode(errors="replace")
        # Every key is tried, so that the time it takes says nothing of which one it was.
        found = [hmac.compare_digest(_sign(key, grant).encode(), given) for key in self._keys]
        return max(0.0, grant.expiry - self.now()) if any(found) else 0.0


def _derive(key: str) -> bytes:
    return hmac.digest(base64.urlsafe_b64decode(key), _PURPOSE, "sha256")


def _sign(key: bytes, grant: Grant) -> str:
    # As JSON no field can take up what is another's.
    return hmac.new(key, json.dumps(astuple(grant)).encode(), "sha256").hexdigest()

"""Headers that somebody wants sent to the source with each request.

They may carry credentials. So they go to the origin of the URL they were given with and to no other
(:mod:`workers.fetch`), lie sealed in the database (:mod:`storage.sealing`), and stand in no log, no
error and no answer. Invariant: what passes here can neither end a header line nor change where a
body ends, which part of a file is asked for, or whom the request is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from ingest.errors import FieldInvalid

MAX_HEADERS = 32
MAX_HEADER_BYTES = 8192
# RFC 9110, 5.6.2 and 5.5; what is not ASCII is read in as many ways as there are servers.
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
# What frames the message, chooses the bytes, or belongs to the connection.
_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "if-match",
        "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "range", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers as they are sent: names in lower case.

    Raises:
        FieldInvalid: the message says why, and never a value.
    """
    if len(headers) > MAX_HEADERS:
        raise _refuse(f"has {len(headers)} headers; it takes at most {MAX_HEADERS}")
    checked: dict[str, str] = {}
    for given, value in headers.items():
        if _NAME.fullmatch(given) is None:
            raise _refuse("has a name that no header has")
        name = given.lower()
        if name in _OURS:
            raise _refuse(f"has '{name}', which Headrace sets itself")
        if name in checked:
            raise _refuse(f"has '{name}' twice")
        if _VALUE.fullmatch(value) is None:
            raise _refuse(f"has a value of '{name}' that is empty or no printable ASCII")
        checked[name] = value
    size_bytes = sum(len(name) + len(value) + 4 for name, value in checked.items())
    if size_bytes > MAX_HEADER_BYTES:
        raise _refuse(f"takes {size_bytes} bytes; it takes at most {MAX_HEADER_BYTES}")
    return checked


def dump_headers(headers: Mapping[str, str]) -> bytes:
    """Return headers as bytes that can be sealed."""
    return json.dumps(dict(headers)).encode()


def load_headers(content: bytes) -> dict[str, str]:
    """Return the headers that :func:`dump_headers` made bytes of."""
    found: dict[str, str] = json.loads(content)
    return found


def _refuse(reason: str) -> FieldInvalid:
    return FieldInvalid(f"'headers' {reason}.", param="headers")

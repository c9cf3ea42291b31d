"""Ids: a prefix, then a ULID in lower case.

48 bits of milliseconds and 80 random bits (https://github.com/ulid/spec), so ids of one kind sort
by the time they were made and cannot be guessed from each other. The spec's monotonic mode is left
out for that reason: it makes the ids of one millisecond neighbours, across tenants.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from ulid import ULID


class Prefix(StrEnum):
    """What an id names, readable in the id itself."""

    TASK = "task"
    FILE = "file"
    MEDIA = "med"
    PROJECT = "prj"
    KEY = "key"
    REQUEST = "req"
    EVENT = "evt"
    ENDPOINT = "we"
    DELIVERY = "del"


_ULID = r"[0-7][0-9a-hjkmnp-tv-z]{25}"
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SHAPES = {prefix: re.compile(rf"{prefix}_{_ULID}") for prefix in Prefix}


def make_id(prefix: Prefix, now: datetime | None = None) -> str:
    """Return a new id such as ``task_01k…``; ``now`` fixes its time part."""
    # In whole numbers: a float of seconds is often a hair below its millisecond.
    milliseconds = time.time_ns() // 1_000_000 if now is None else (now - _EPOCH) // _MILLISECOND
    ulid = ULID.from_bytes(milliseconds.to_bytes(6, "big") + secrets.token_bytes(10))
    return f"{prefix}_{str(ulid).lower()}"


def is_id(prefix: Prefix, text: str) -> bool:
    """Return whether ``text`` has the shape of an id of this kind."""
    return _SHAPES[prefix].fullmatch(text) is not None

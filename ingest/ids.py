"""Ids: a prefix, then a ULID in lower case.

48 bits of milliseconds and 80 random bits (https://github.com/ulid/spec), so ids of one kind sort
by the time they were made and cannot be guessed from each other. The spec's monotonic mode is left
out for that reason: it makes the ids of one millisecond neighbours, across tenants.
"""

from __future__ import annotations

import re
import secrets
import time
from base64 import b32encode
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
    BATCH = "batch"


_ULID = r"[0-7][0-9a-hjkmnp-tv-z]{25}"
_RANDOM_BYTES = 10
_TO_CROCKFORD = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz"
)
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SHAPES = {prefix: re.compile(rf"{prefix}_{_ULID}") for prefix in Prefix}


def make_id(prefix: Prefix, now: datetime | None = None) -> str:
    """Return a new id such as ``task_01k…``; ``now`` fixes its time part."""
    # In whole numbers: a float of seconds is often a hair below its millisecond.
    milliseconds = time.time_ns() // 1_000_000 if now is None else (now - _EPOCH) // _MILLISECOND
    return _begin(prefix, milliseconds) + _write_random(secrets.token_bytes(_RANDOM_BYTES))


def make_ids(prefix: Prefix, count: int) -> list[str]:
    """Return new ids of one moment, in their order."""
    # Sorted and not counted on as by the spec's monotonic mode: each has all of its random bits.
    beginning = _begin(prefix, time.time_ns() // 1_000_000)
    drawn = secrets.token_bytes(_RANDOM_BYTES * count)
    return sorted(
        beginning + _write_random(drawn[at : at + _RANDOM_BYTES])
        for at in range(0, len(drawn), _RANDOM_BYTES)
    )


def _begin(prefix: Prefix, milliseconds: int) -> str:
    ulid = ULID.from_bytes(milliseconds.to_bytes(6, "big") + bytes(_RANDOM_BYTES))
    return f"{prefix}_{str(ulid)[:-16].lower()}"


def _write_random(drawn: bytes) -> str:
    # 80 bits are 16 digits in either alphabet.
    return b32encode(drawn).translate(_TO_CROCKFORD).decode()


def read_time(made: str) -> datetime:
    """Return when an id was made, in UTC."""
    return ULID.from_str(made.rpartition("_")[2].upper()).datetime


def is_id(prefix: Prefix, text: str) -> bool:
    """Return whether ``text`` has the shape of an id of this kind."""
    return _SHAPES[prefix].fullmatch(text) is not None

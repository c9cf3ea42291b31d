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
from ulid.base32 import encode_timestamp


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
# 80 random bits, of which each digit shows five.
_RANDOM_DIGITS = 16
# Of a random byte five bits are used: all digits are equally likely.
_DIGITS = b"0123456789abcdefghjkmnpqrstvwxyz" * 8
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SHAPES = {prefix: re.compile(rf"{prefix}_{_ULID}") for prefix in Prefix}


def make_id(prefix: Prefix, now: datetime | None = None) -> str:
    """Return a new id such as ``task_01k…``; ``now`` fixes its time part."""
    # In whole numbers: a float of seconds is often a hair below its millisecond.
    milliseconds = time.time_ns() // 1_000_000 if now is None else (now - _EPOCH) // _MILLISECOND
    drawn = secrets.token_bytes(_RANDOM_DIGITS).translate(_DIGITS)
    return f"{prefix}_{_write_time(milliseconds)}{drawn.decode()}"


def make_ids(prefix: Prefix, count: int) -> list[str]:
    """Return new ids of one moment, in their order."""
    # Sorted and not counted on as by the spec's monotonic mode: each has all of its random bits.
    beginning = f"{prefix}_{_write_time(time.time_ns() // 1_000_000)}"
    drawn = secrets.token_bytes(_RANDOM_DIGITS * count).translate(_DIGITS).decode()
    return sorted(
        beginning + drawn[at : at + _RANDOM_DIGITS] for at in range(0, len(drawn), _RANDOM_DIGITS)
    )


def _write_time(milliseconds: int) -> str:
    return encode_timestamp(milliseconds.to_bytes(6, "big")).lower()


def read_time(made: str) -> datetime:
    """Return when an id was made, in UTC."""
    return ULID.from_str(made.rpartition("_")[2].upper()).datetime


def is_id(prefix: Prefix, text: str) -> bool:
    """Return whether ``text`` has the shape of an id of this kind."""
    return _SHAPES[prefix].fullmatch(text) is not None

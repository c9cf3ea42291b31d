"""Fields that several requests have: what is checked of each, and in which words it is refused.

Requests are strict: an unknown field is refused by name, and a number in quotes is not a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from ingest.checksum import parse_checksum
from ingest.errors import FieldInvalid
from ingest.events import check_topics
from ingest.naming import check_filename, check_folder
from ingest.source_headers import check_headers
from ingest.urls import parse_order_url

T = TypeVar("T")
R = TypeVar("R")

_MAX_METADATA_BYTES = 16 * 1024
_MAX_METADATA_DEPTH = 8
# Not what somebody wrote with a backslash of their own, which is escaped itself.
_ESCAPED_NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CURSOR = r"^[a-z]{2,8}_[0-9a-z]{26}$"


class Strict(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Window(BaseModel):
    """The part of a list that a query asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: int = Field(1, ge=1, le=1_000_000, description="Page number.")
    limit: int = Field(20, ge=1, le=100, description="Items per page.")
    after: str | None = Field(None, pattern=_CURSOR, description="Go on after this id (older).")
    before: str | None = Field(None, pattern=_CURSOR, description="Go back before this id (newer).")


def _let_name(check: Callable[[T], R]) -> Callable[[T], R]:
    """Return a check of the domain's as one of pydantic's, which names the field itself."""

    def checked(value: T) -> R:
        try:
            return check(value)
        except FieldInvalid as error:
            _, _, reason = error.message.partition("' ")
            raise ValueError(reason or error.message) from None

    return checked


def _check_text(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains U+0000, which cannot be stored")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair, which is no text") from None
    return text


def _require_moment(value: object) -> object:
    # Else a number, in quotes or not, would pass for seconds since 1970.
    if not isinstance(value, str) or _DATE.match(value) is None:
        raise ValueError("takes a time as ISO 8601 text")
    return value


def _refuse_null(value: object) -> object:
    if value is None:
        raise ValueError("takes no null; leave it out to keep it as it is")
    return value


def _check_metadata(value: dict[str, object]) -> dict[str, object]:
    if _measure_depth(value) > _MAX_METADATA_DEPTH:
        raise ValueError(f"is nested deeper than {_MAX_METADATA_DEPTH} levels")
    text = json.dumps(value, ensure_ascii=False)
    _check_text(text)
    if _ESCAPED_NUL.search(text):
        raise ValueError("contains U+0000, which cannot be stored")
    if len(text.encode()) > _MAX_METADATA_BYTES:
        raise ValueError(f"is longer than {_MAX_METADATA_BYTES} bytes of JSON")
    return value


def _measure_depth(value: object, depth: int = 1) -> int:
    if depth > _MAX_METADATA_DEPTH:
        return depth
    children: Sequence[object] = ()
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list):
        children = value
    return max((_measure_depth(child, depth + 1) for child in children), default=depth)


OrderUrl = Annotated[str, AfterValidator(_let_name(lambda text: str(parse_order_url(text))))]
Folder = Annotated[str, AfterValidator(_let_name(check_folder))]
Filename = Annotated[str, AfterValidator(_let_name(check_filename))]
Checksum = Annotated[str, AfterValidator(_let_name(parse_checksum))]
Text = Annotated[str, AfterValidator(_check_text)]
Metadata = Annotated[dict[str, object], AfterValidator(_check_metadata)]
SourceHeaders = Annotated[dict[str, str], AfterValidator(_let_name(check_headers))]
Topics = Annotated[list[str], AfterValidator(_let_name(lambda names: list(check_topics(names))))]
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_require_moment)]
QueryMoment = Annotated[datetime, BeforeValidator(_require_moment)]
# Of a change: what may be left out and is never nothing.
NotNull = BeforeValidator(_refuse_null)

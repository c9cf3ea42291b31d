"""Requests as strict pydantic models.

An unknown field is refused by name, and a number in quotes is not a number. What answers look like
stands in ``api.resources``; nothing else knows JSON's shapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from ingest.access import USUAL_SCOPES, Scope
from ingest.checksum import parse_checksum
from ingest.config import MAX_OBJECT_BYTES
from ingest.errors import FieldInvalid
from ingest.formats import Kind
from ingest.model import Order
from ingest.naming import check_filename, check_folder
from ingest.source_headers import check_headers
from ingest.states import Status
from ingest.urls import parse_order_url

_MAX_METADATA_BYTES = 16 * 1024
_MAX_METADATA_DEPTH = 8
# Not what somebody wrote with a backslash of their own, which is escaped itself.
_ESCAPED_NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CURSOR = r"^[a-z]{2,8}_[0-9a-z]{26}$"


def _say(error: FieldInvalid) -> ValueError:
    # pydantic names the field itself.
    _, _, reason = error.message.partition("' ")
    return ValueError(reason or error.message)


def _check_url(text: str) -> str:
    try:
        return str(parse_order_url(text))
    except FieldInvalid as error:
        raise _say(error) from None


def _check_folder(text: str) -> str:
    try:
        return check_folder(text)
    except FieldInvalid as error:
        raise _say(error) from None


def _check_filename(text: str) -> str:
    try:
        return check_filename(text)
    except FieldInvalid as error:
        raise _say(error) from None


def _check_checksum(text: str) -> str:
    try:
        return parse_checksum(text)
    except FieldInvalid as error:
        raise _say(error) from None


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


def _check_headers(value: dict[str, str]) -> dict[str, str]:
    try:
        return check_headers(value)
    except FieldInvalid as error:
        raise _say(error) from None


_SourceHeaders = Annotated[dict[str, str], AfterValidator(_check_headers)]
_Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_require_moment)]
_QueryMoment = Annotated[datetime, BeforeValidator(_require_moment)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FileRequest(_Strict):
    """``POST /files``."""

    url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="Where the media is: an http or https URL, signed ones as they are, or "
        "`s3://connection/key` for an object in a bucket that the operator has connected.",
        examples=["https://example.com/video.mp4"],
    )
    folder: Annotated[str, AfterValidator(_check_folder)] | None = Field(
        None, description="Folder in the bucket.", examples=["user_1234/uploads"]
    )
    filename: Annotated[str, AfterValidator(_check_filename)] | None = Field(
        None,
        description="Name in the folder; without one the file is named by its id.",
        examples=["custom-filename.mp4"],
    )
    ref: Annotated[str, AfterValidator(_check_text)] | None = Field(
        None, min_length=1, max_length=255, description="Your own id for it; lists filter by it."
    )
    metadata: Annotated[dict[str, object], AfterValidator(_check_metadata)] | None = Field(
        None, description="Anything of yours to keep with it, up to 16 KiB of JSON."
    )
    checksum: Annotated[str, AfterValidator(_check_checksum)] | None = Field(
        None,
        description="Fail unless the bytes match: `sha256:…`, `md5:…` or `crc32c:…` and hex.",
    )
    max_bytes: int | None = Field(
        None, ge=1, le=MAX_OBJECT_BYTES, description="Fail if the source is longer than this."
    )
    headers: _SourceHeaders | None = Field(
        None,
        description="Sent to the URL's origin with each request, to no other, and kept sealed "
        "until the file is there. No answer shows them.",
        examples=[{"Authorization": "Bearer s3cr3t"}],
    )

    def to_order(self) -> Order:
        """Return what is asked for in the domain's words."""
        return Order(
            url=self.url,
            folder=self.folder,
            filename=self.filename,
            ref=self.ref,
            metadata=self.metadata,
            checksum=self.checksum,
            max_bytes=self.max_bytes,
        )


class TaskRequest(FileRequest):
    """``POST /tasks``."""

    kind: Literal["ingest"] = Field(description="What to do.")
    priority: int | None = Field(
        None, ge=-10, le=10, description="Which tasks run first: the higher the sooner; 0 without."
    )
    max_attempts: int | None = Field(
        None, ge=1, le=100, description="How often it is tried; the server's number without."
    )

    def to_order(self) -> Order:
        """Return what is asked for in the domain's words."""
        return replace(super().to_order(), priority=self.priority or 0)


class TaskChange(_Strict):
    """``PATCH /tasks/{id}``."""

    url: Annotated[str, AfterValidator(_check_url)] = Field(
        description="Where the same media is now, such as a fresh signed URL.",
        examples=["https://example.com/video.mp4?signature=n3w"],
    )
    headers: _SourceHeaders | None = Field(
        None,
        description="Sent to its origin. Those from before stay if this is left out and the origin "
        "is the same; null takes them away.",
    )


class KeyRequest(_Strict):
    """``POST /keys``."""

    name: Annotated[str, AfterValidator(_check_text)] = Field(
        min_length=1, max_length=255, description="What you know it by.", examples=["uploader"]
    )
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        list(USUAL_SCOPES),
        min_length=1,
        max_length=len(Scope),
        description="What it may do: `read`, `write`, and `admin`, which is both and keeps keys.",
    )
    expires: _Moment | None = Field(
        None,
        description="When it ends by itself: ISO 8601, with its offset from UTC.",
        examples=["2030-01-01T00:00:00Z"],
    )


class NoFields(_Strict):
    """What takes no field: an empty object, which may be left out."""


class _Window(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    page: int = Field(1, ge=1, le=1_000_000, description="Page number.")
    limit: int = Field(20, ge=1, le=100, description="Items per page.")
    after: str | None = Field(None, pattern=_CURSOR, description="Go on after this id (older).")
    before: str | None = Field(None, pattern=_CURSOR, description="Go back before this id (newer).")


class _Listing(_Window):
    ref: Annotated[str, AfterValidator(_check_text)] | None = Field(
        None, max_length=255, description="Only those with this ref."
    )


class KeyListing(_Window):
    """Query of ``GET /keys``."""


class FileListing(_Listing):
    """Query of ``GET /files``."""

    kind: Kind | None = Field(None, description="Only files of this kind.")


class TaskListing(_Listing):
    """Query of ``GET /tasks``."""

    status: Status | None = Field(None, description="Only tasks in this state.")
    kind: Literal["ingest"] | None = Field(None, description="Only tasks of this kind.")
    created_from: _QueryMoment | None = Field(
        None, description="Only those created at or after this."
    )
    created_until: _QueryMoment | None = Field(None, description="Only those created before this.")

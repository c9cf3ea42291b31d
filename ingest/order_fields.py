"""Fields of orders: what is checked of each, and in which words it is refused.

Requests are strict: an unknown field is refused by name, and a number in quotes is not a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
)

from ingest.checksum import parse_checksum
from ingest.errors import FieldInvalid
from ingest.ids import Prefix, is_id
from ingest.naming import check_filename, check_folder
from ingest.source_headers import check_headers
from ingest.urls import parse_order_url

T = TypeVar("T")
R = TypeVar("R")

_MAX_METADATA_BYTES = 16 * 1024
_MAX_METADATA_DEPTH = 8
# Not what somebody wrote with a backslash of their own, which is escaped itself.
_ESCAPED_NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")


class Strict(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def let_name(check: Callable[[T], R]) -> Callable[[T], R]:
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


def _check_media_id(text: str) -> str:
    if not is_id(Prefix.MEDIA, text):
        raise ValueError(f"takes the id of a media, '{Prefix.MEDIA}_' and 26 characters")
    return text


MediaId = Annotated[str, AfterValidator(_check_media_id)]
ListUrl = Annotated[
    str,
    AfterValidator(let_name(lambda text: str(parse_order_url(text, param="source_url")))),
]
OrderUrl = Annotated[str, AfterValidator(let_name(lambda text: str(parse_order_url(text))))]
Folder = Annotated[str, AfterValidator(let_name(check_folder))]
Filename = Annotated[str, AfterValidator(let_name(check_filename))]
# Of a file that is there, or will be; one that nobody named has its id for a name.
AnyFilename = Annotated[
    str, AfterValidator(let_name(lambda text: check_filename(text, may_be_own=True)))
]
Checksum = Annotated[str, AfterValidator(let_name(parse_checksum))]
Text = Annotated[str, AfterValidator(_check_text)]
Metadata = Annotated[dict[str, object], AfterValidator(_check_metadata)]
SourceHeaders = Annotated[dict[str, str], AfterValidator(let_name(check_headers))]

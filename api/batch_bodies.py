"""The list of a batch as it comes in: kept aside, bounded, then read as a stream.

A request is read whole before anything else is done: a client that dawdles must hold no transaction
open. What is longer than a moment's memory is kept in a file that has no name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Annotated, BinaryIO, Literal, cast

from flask import request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api import idempotency
from ingest.batch_requests import BatchOptions, ListSource
from ingest.complaints import explain_invalid
from ingest.errors import BodyInvalid, BodyTooLarge, FieldInvalid, MediaTypeUnsupported
from ingest.json_list import ITEMS, read_fields, read_items
from ingest.list_rows import FORMATS, ListFormat, ListRow
from ingest.lists import read_rows

_CHUNK_BYTES = 64 * 1024
_KEPT_IN_MEMORY_BYTES = 1024 * 1024
# Of a query, what is meant for each item.
_OF_ITEMS = ("folder", "max_bytes", "max_attempts", "if_exists", "access")
# Of a JSON body, what says where the list is.
_OF_SOURCE = tuple(ListSource.model_fields)
_Number = Annotated[int, Field(strict=False)]


class BatchQuery(BaseModel):
    """Query of ``POST /batches``: what a list says for all of its items that is no JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_error: Literal["continue", "abort"] | None = Field(None, description="As in a JSON body.")
    dry_run: bool | None = Field(None, description="As in a JSON body.")
    check_sources: bool | None = Field(None, description="As in a JSON body.")
    concurrency: _Number | None = Field(None, description="As in a JSON body.")
    priority: _Number | None = Field(None, description="As in a JSON body.")
    ref: str | None = Field(None, description="As in a JSON body.")
    webhook_url: str | None = Field(None, description="As in a JSON body.")
    folder: str | None = Field(None, description="As in `defaults` of a JSON body.")
    max_bytes: _Number | None = Field(None, description="As in `defaults` of a JSON body.")
    max_attempts: _Number | None = Field(None, description="As in `defaults` of a JSON body.")
    if_exists: str | None = Field(None, description="As in `defaults` of a JSON body.")
    access: str | None = Field(None, description="As in `defaults` of a JSON body.")


@dataclass(frozen=True, slots=True)
class AskedBatch:
    """What a request asks for: the rows of its list, to be read once, or where the list is."""

    options: BatchOptions
    rows: Iterable[ListRow] = ()
    source: ListSource | None = None


@contextmanager
def open_list(query: BatchQuery, most_bytes: int) -> Iterator[AskedBatch]:
    """Take in the body of this request, and read what is asked of the batch.

    Raises:
        MediaTypeUnsupported: it is no list that is taken.
        BodyTooLarge: it is longer than ``most_bytes``.
        BodyInvalid, FieldInvalid: it cannot be read, or an option is wrong; also while it is read.
        IdempotencyMismatch, IdempotencyInFlight, Replay: by its Idempotency-Key.
    """
    form = _find_form()
    with SpooledTemporaryFile(max_size=_KEPT_IN_MEMORY_BYTES) as spool:
        kept = cast("BinaryIO", spool)
        digest = _take_in(kept, most_bytes)
        idempotency.begin(lambda: digest)
        if form is not ListFormat.JSON:
            yield AskedBatch(_read_query(query), read_rows(kept, form))
            return
        if query.model_fields_set:
            name = min(query.model_fields_set)
            raise FieldInvalid(f"'{name}' stands in the body of a JSON batch.", param=name)
        fields, has_items = read_fields(kept)
        source = _take_source(fields, has_items=has_items)
        options = _check(fields)
        kept.seek(0)
        yield AskedBatch(options, () if source else read_items(kept), source)


def _find_form() -> ListFormat:
    form = FORMATS.get(request.mimetype)
    if form is None:
        raise MediaTypeUnsupported("The list must be sent as one of " + ", ".join(FORMATS) + ".")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise MediaTypeUnsupported("The list must be sent without a Content-Encoding.")
    if request.mimetype_params.get("charset", "utf-8").lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise MediaTypeUnsupported("The list must be sent as UTF-8.")
    return form


def _take_in(kept: BinaryIO, most_bytes: int) -> bytes:
    """Keep the body aside, and return its SHA-256."""
    # Werkzeug cuts a body without a length here and says nothing.
    request.max_content_length = most_bytes + 1
    too_large = BodyTooLarge(f"The list is longer than {most_bytes} bytes.")
    if (request.content_length or 0) > most_bytes:
        raise too_large
    stream, size_bytes, digest = request.stream, 0, hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        size_bytes += len(chunk)
        if size_bytes > most_bytes:
            raise too_large
        kept.write(chunk)
        digest.update(chunk)
    kept.seek(0)
    return digest.digest()


def _read_query(query: BatchQuery) -> BatchOptions:
    given = query.model_dump(exclude_none=True)
    defaults = {name: given.pop(name) for name in _OF_ITEMS if name in given}
    return _check({**given, **({"defaults": defaults} if defaults else {})})


def _take_source(fields: dict[str, object], *, has_items: bool) -> ListSource | None:
    """Take what says where the list is out of the fields of a JSON body; None if nothing does."""
    given = {name: fields.pop(name) for name in _OF_SOURCE if fields.get(name) is not None}
    for name in _OF_SOURCE:
        fields.pop(name, None)
    if has_items:
        if given:
            name = min(given, key=_OF_SOURCE.index)
            raise FieldInvalid(
                f"'{name}' stands beside '{ITEMS}'; it takes one of them.", param=name
            )
        return None
    if "source_url" not in given:
        raise BodyInvalid(f"The body has no '{ITEMS}' and no 'source_url'.")
    try:
        return ListSource.model_validate(given)
    except ValidationError as error:
        raise explain_invalid(error) from None


def _check(fields: Mapping[str, object]) -> BatchOptions:
    try:
        options = BatchOptions.model_validate(fields)
    except ValidationError as error:
        raise explain_invalid(error) from None
    if options.check_sources and not options.dry_run:
        raise FieldInvalid("'check_sources' goes with 'dry_run'.", param="check_sources")
    return options

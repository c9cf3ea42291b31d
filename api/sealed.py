"""Headers for sources, sealed before anything is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from api.receivers import check_receiver
from api.schemas import FileRequest, TaskChange
from api.services import Services
from ingest.errors import FieldInvalid
from ingest.model import Order
from ingest.source_headers import dump_headers
from ingest.urls import SourceUrl, parse_order_url


def make_order(services: Services, asked: FileRequest) -> Order:
    """Return what is asked for, with its headers sealed.

    Raises:
        FieldInvalid: they cannot be sealed, or the source takes none; or a ``webhook_url`` is not
            let through.
    """
    order = asked.to_order()
    told = order.webhook_url
    return replace(
        order,
        sealed_headers=_seal_headers(services, asked.url, asked.headers),
        webhook_url=None if told is None else check_receiver(services, told, "webhook_url"),
    )


def change_headers(services: Services, before: Order, asked: TaskChange) -> bytes | None:
    """Return the sealed headers that go with a task's new URL.

    Those it had were meant for the origin they were given for, and go nowhere else.

    Raises:
        FieldInvalid: as for :func:`make_order`.
    """
    if "headers" in asked.model_fields_set:
        return _seal_headers(services, asked.url, asked.headers)
    old, new = parse_order_url(before.url), parse_order_url(asked.url)
    is_same = isinstance(old, SourceUrl) and isinstance(new, SourceUrl) and old.origin == new.origin
    return before.sealed_headers if is_same else None


def _seal_headers(services: Services, url: str, headers: Mapping[str, str] | None) -> bytes | None:
    if not headers:
        return None
    if not isinstance(parse_order_url(url), SourceUrl):
        raise FieldInvalid("'headers' go to http and https URLs alone.", param="headers")
    if not services.sealer.can_seal:
        raise FieldInvalid(
            "'headers' cannot be kept safe here: the operator has set no HEADRACE_SECRET_KEYS.",
            param="headers",
        )
    return services.sealer.seal(dump_headers(headers))

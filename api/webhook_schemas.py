"""Requests about webhooks, as strict pydantic models.

A receiver's URL is judged by the operator's rules, which no model knows (``api.receivers``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from api.fields import Moment, NotNull, Topics, Window
from ingest.events import EventType
from ingest.order_fields import Metadata, Strict, Text
from ingest.webhooks import DeliveryStatus, EndpointStatus

_DAY_S = 86_400
_Status = Annotated[EndpointStatus, Field(strict=False)]


class EndpointRequest(Strict):
    """``POST /webhooks/endpoints``."""

    url: str = Field(
        description="Where events are sent: https, and public.",
        examples=["https://example.com/webhooks/headrace"],
    )
    topics: Topics = Field(
        ["*"], description="Which events: `*`, `task.*`, or names.", examples=[["task.completed"]]
    )
    description: Text | None = Field(None, max_length=500, description="What you know it by.")
    metadata: Metadata | None = Field(
        None, description="Anything of yours to keep with it, up to 16 KiB of JSON."
    )


class EndpointChange(Strict):
    """``PATCH /webhooks/endpoints/{id}``; what is left out stays."""

    url: Annotated[str | SkipJsonSchema[None], NotNull] = Field(
        None, description="Where events are sent from now on."
    )
    topics: Annotated[Topics | SkipJsonSchema[None], NotNull] = Field(
        None, description="Which events."
    )
    description: Text | None = Field(None, max_length=500, description="What you know it by.")
    metadata: Metadata | None = Field(None, description="Anything of yours to keep with it.")
    status: Annotated[_Status | SkipJsonSchema[None], NotNull] = Field(
        None, description="`disabled` to send nothing any more, `enabled` to go on."
    )


class RotateRequest(Strict):
    """``POST /webhooks/endpoints/{id}/rotate`` and ``POST /webhooks/secret/rotate``."""

    overlap_s: int = Field(
        _DAY_S,
        ge=0,
        le=7 * _DAY_S,
        description="For how many seconds the secret before signs as well.",
    )


class ReplayRequest(Strict):
    """``POST /webhooks/endpoints/{id}/replay``."""

    since: Moment = Field(
        description="From when on: ISO 8601, with its offset from UTC.",
        examples=["2030-01-01T00:00:00Z"],
    )
    status: Literal["failed", "missing"] = Field(
        "failed",
        description="`failed`: deliveries that were given up. `missing`: events for which there "
        "was none, such as those from before the endpoint, or while it was disabled.",
    )


class EndpointListing(Window):
    """Query of ``GET /webhooks/endpoints``."""


class DeliveryListing(Window):
    """Query of ``GET /webhooks/deliveries``."""

    endpoint_id: Text | None = Field(
        None, max_length=64, description="Only those to this endpoint."
    )
    event_id: Text | None = Field(None, max_length=64, description="Only those of this event.")
    status: DeliveryStatus | None = Field(None, description="Only those in this state.")


class EventListing(Window):
    """Query of ``GET /events``."""

    type: EventType | None = Field(None, description="Only events of this type.")
    subject_id: Text | None = Field(
        None, max_length=64, description="Only those of this task, file or endpoint."
    )

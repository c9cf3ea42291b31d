"""Endpoints, deliveries and events as JSON objects (docs/api.md), beside files and tasks.

What an event tells is written here once: the API shows it, and a delivery carries it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, Field

from ingest.batch_resources import BatchResource, show_batch
from ingest.events import Event, EventType
from ingest.model import File
from ingest.resources import (
    FailureResource,
    FileResource,
    JsonDict,
    TaskResource,
    show_failure,
    show_task,
    show_time,
    show_time_or_none,
)
from ingest.webhooks import (
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    DisabledFor,
    Endpoint,
    EndpointStatus,
)


class EndpointResource(BaseModel):
    """Where a project is told of its events."""

    id: str = Field(examples=["we_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["endpoint"] = "endpoint"
    url: str
    topics: list[str]
    description: str | None
    metadata: JsonDict | None
    status: EndpointStatus
    disabled_for: DisabledFor | None = Field(
        description="Why nothing is sent: `asked`, `gone` (it answered 410) or `failing`."
    )
    failing_since: str | None = Field(description="Since when nothing has arrived.")
    old_secret_until: str | None = Field(
        description="After a rotation: until when the secret before signs as well."
    )
    created: str
    updated: str


class EventResource(BaseModel):
    """Something that happened, and what it was about, as that was then."""

    id: str = Field(examples=["evt_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["event"] = "event"
    type: EventType
    subject_id: str = Field(description="Of the task, the file or the endpoint.")
    created: str
    data: TaskResource | FileResource | BatchResource | EndpointResource


class DeliveryAttemptResource(BaseModel):
    """One try at a delivery."""

    number: int
    started: str
    duration_ms: int | None
    http_status: int | None
    answer: str | None = Field(description="How the body of the answer began, up to 1 kB.")
    error: FailureResource | None


class DeliveryResource(BaseModel):
    """One event on its way to one receiver."""

    id: str = Field(examples=["del_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["delivery"] = "delivery"
    event_id: str
    event_type: str
    endpoint_id: str | None
    url: str | None = Field(description="The `webhook_url` of a task; null for an endpoint.")
    status: DeliveryStatus
    next_attempt_at: str | None = Field(description="While it is pending.")
    attempts: list[DeliveryAttemptResource]
    created: str
    finished: str | None


def show_endpoint(endpoint: Endpoint) -> EndpointResource:
    """Return an Endpoint object."""
    return EndpointResource(
        id=endpoint.id,
        url=endpoint.url,
        topics=list(endpoint.topics),
        description=endpoint.description,
        metadata=None if endpoint.metadata is None else dict(endpoint.metadata),
        status=endpoint.status,
        disabled_for=endpoint.disabled_for,
        failing_since=show_time_or_none(endpoint.failing_since),
        old_secret_until=show_time_or_none(endpoint.old_secret_until),
        created=show_time(endpoint.created),
        updated=show_time(endpoint.updated),
    )


def show_event_data(
    event: Event, show_file: Callable[[File], FileResource]
) -> TaskResource | FileResource | BatchResource | EndpointResource:
    """Return what an event is about, as that was then.

    Args:
        show_file: shows a file, with its address.
    """
    output = None if event.file is None else show_file(event.file)
    if event.task is not None:
        return show_task(event.task, event.attempts, event.transfer, output)
    if event.batch is not None:
        return show_batch(event.batch)
    if event.endpoint is not None:
        return show_endpoint(event.endpoint)
    if output is None:
        raise ValueError(f"event {event.id} is about nothing")
    return output


def show_event(event: Event, show_file: Callable[[File], FileResource]) -> EventResource:
    """Return an Event object; ``show_file`` as for :func:`show_event_data`."""
    return EventResource(
        id=event.id,
        type=event.type,
        subject_id=event.subject_id,
        created=show_time(event.created),
        data=show_event_data(event, show_file),
    )


def show_delivery(delivery: Delivery) -> DeliveryResource:
    """Return a Delivery object."""
    is_pending = delivery.status is DeliveryStatus.PENDING
    return DeliveryResource(
        id=delivery.id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        endpoint_id=delivery.endpoint_id,
        url=delivery.url,
        status=delivery.status,
        next_attempt_at=show_time(delivery.next_attempt_at) if is_pending else None,
        attempts=[_show_attempt(one) for one in delivery.attempts],
        created=show_time(delivery.created),
        finished=show_time_or_none(delivery.finished),
    )


def _show_attempt(attempt: DeliveryAttempt) -> DeliveryAttemptResource:
    return DeliveryAttemptResource(
        number=attempt.number,
        started=show_time(attempt.started),
        duration_ms=attempt.duration_ms,
        http_status=attempt.http_status,
        answer=attempt.answer,
        error=show_failure(attempt.error),
    )

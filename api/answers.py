"""The shapes of answers, for the OpenAPI document (``api.documents``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel

from api.signature_answers import SignatureResource
from api.tenancy import KeyResource, NewKeyResource, ProjectResource
from api.webhook_answers import NewEndpointResource, ReplayResource, SecretResource
from ingest.batch_resources import BatchCheckResource, BatchResource
from ingest.resources import DeletedResource, FileResource, MediaResource, TaskResource
from ingest.webhook_resources import DeliveryResource, EndpointResource, EventResource


class Meta(BaseModel):
    """About the answer; ``id`` is the request's id, also in the logs."""

    id: str
    type: Literal["object"]


class ListMeta(BaseModel):
    """About a list."""

    id: str
    type: Literal["list"]
    total: int
    page: int
    limit: int
    pages: int


class ErrorMeta(BaseModel):
    """About an answer that is an error."""

    id: str
    type: Literal["error"]


class SelfLink(BaseModel):
    """Where to read it again."""

    self: str


class ListLinks(BaseModel):
    """The pages around this one; null at the ends."""

    self: str
    first: str
    prev: str | None
    next: str | None
    last: str | None


class FileAnswer(BaseModel):
    """One file."""

    meta: Meta
    data: FileResource
    links: SelfLink


class TaskAnswer(BaseModel):
    """One task."""

    meta: Meta
    data: TaskResource
    links: SelfLink


class FileListAnswer(BaseModel):
    """A page of files."""

    meta: ListMeta
    data: list[FileResource]
    links: ListLinks


class TaskListAnswer(BaseModel):
    """A page of tasks."""

    meta: ListMeta
    data: list[TaskResource]
    links: ListLinks


class KeyAnswer(BaseModel):
    """One key."""

    meta: Meta
    data: KeyResource
    links: SelfLink


class ProjectAnswer(BaseModel):
    """The project of the key."""

    meta: Meta
    data: ProjectResource
    links: SelfLink


class NewKeyAnswer(BaseModel):
    """A key that was made now, with its secret."""

    meta: Meta
    data: NewKeyResource
    links: SelfLink


class KeyListAnswer(BaseModel):
    """A page of keys."""

    meta: ListMeta
    data: list[KeyResource]
    links: ListLinks


class EndpointAnswer(BaseModel):
    """One endpoint."""

    meta: Meta
    data: EndpointResource
    links: SelfLink


class NewEndpointAnswer(BaseModel):
    """An endpoint with its secret."""

    meta: Meta
    data: NewEndpointResource
    links: SelfLink


class EndpointListAnswer(BaseModel):
    """A page of endpoints."""

    meta: ListMeta
    data: list[EndpointResource]
    links: ListLinks


class SecretAnswer(BaseModel):
    """A secret that signs."""

    meta: Meta
    data: SecretResource
    links: SelfLink


class DeliveryAnswer(BaseModel):
    """One delivery."""

    meta: Meta
    data: DeliveryResource
    links: SelfLink


class DeliveryListAnswer(BaseModel):
    """A page of deliveries."""

    meta: ListMeta
    data: list[DeliveryResource]
    links: ListLinks


class ReplayAnswer(BaseModel):
    """What is sent again."""

    meta: Meta
    data: ReplayResource
    links: SelfLink


class DeletedAnswer(BaseModel):
    """What is gone."""

    meta: Meta
    data: DeletedResource
    links: SelfLink


class MediaAnswer(BaseModel):
    """One media."""

    meta: Meta
    data: MediaResource
    links: SelfLink


class MediaListAnswer(BaseModel):
    """A page of media."""

    meta: ListMeta
    data: list[MediaResource]
    links: ListLinks


class SignatureAnswer(BaseModel):
    """A signed URL."""

    meta: Meta
    data: SignatureResource
    links: SelfLink


class BatchAnswer(BaseModel):
    """One batch."""

    meta: Meta
    data: BatchResource
    links: SelfLink


class BatchListAnswer(BaseModel):
    """A page of batches."""

    meta: ListMeta
    data: list[BatchResource]
    links: ListLinks


class BatchCheckAnswer(BaseModel):
    """What a list would become."""

    meta: Meta
    data: BatchCheckResource
    links: SelfLink


class EventAnswer(BaseModel):
    """One event."""

    meta: Meta
    data: EventResource
    links: SelfLink


class EventListAnswer(BaseModel):
    """A page of events."""

    meta: ListMeta
    data: list[EventResource]
    links: ListLinks


class ErrorBody(BaseModel):
    """What is wrong. ``retryable`` and ``task_id`` come with a failed ingest."""

    code: str
    message: str
    param: str | None
    retryable: bool | None = None
    task_id: str | None = None


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    meta: ErrorMeta
    data: None
    error: ErrorBody
    links: SelfLink


class Health(BaseModel):
    """A sign of life."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """``ok``, or what is wrong, for each part that an ingest needs."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]


ANSWERS: Sequence[type[BaseModel]] = (
    FileAnswer,
    TaskAnswer,
    FileListAnswer,
    TaskListAnswer,
    KeyAnswer,
    NewKeyAnswer,
    KeyListAnswer,
    ProjectAnswer,
    EndpointAnswer,
    NewEndpointAnswer,
    EndpointListAnswer,
    SecretAnswer,
    DeliveryAnswer,
    DeliveryListAnswer,
    ReplayAnswer,
    EventAnswer,
    EventListAnswer,
    DeletedAnswer,
    MediaAnswer,
    MediaListAnswer,
    SignatureAnswer,
    BatchAnswer,
    BatchListAnswer,
    BatchCheckAnswer,
    ErrorAnswer,
    Health,
    Readiness,
)
# What the id in an answer is called in the paths of whatever else can be asked of the object.
LINKED: Mapping[type[BaseModel], str] = {
    FileAnswer: "file_id",
    TaskAnswer: "task_id",
    NewKeyAnswer: "key_id",
    NewEndpointAnswer: "endpoint_id",
    BatchAnswer: "batch_id",
}

"""What happens and is told: the types of events, and the topics that endpoints choose them by.

A topic is ``*``, the first part of a name with ``.*`` behind it, or a whole name. Invariants: what
comes many times for one task (``task.progress``) is told only to who names it; what is about an
endpoint itself (``webhook.test``) is sent to that one, and no topic asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ingest.batches import Batch
from ingest.errors import FieldInvalid
from ingest.model import Attempt, File, Task, Transfer
from ingest.webhooks import Endpoint

_MOST_TOPICS = 50


class EventType(StrEnum):
    """Every event there is."""

    TASK_CREATED = "task.created"
    TASK_STARTED = "task.started"
    TASK_PROGRESS = "task.progress"
    TASK_COMPLETED = "task.completed"
    TASK_FAILED = "task.failed"
    TASK_CANCELLED = "task.cancelled"
    TASK_RETRYING = "task.retrying"
    BATCH_CREATED = "batch.created"
    BATCH_COMPLETED = "batch.completed"
    BATCH_FAILED = "batch.failed"
    BATCH_CANCELLED = "batch.cancelled"
    FILE_CREATED = "file.created"
    FILE_UPDATED = "file.updated"
    FILE_DELETED = "file.deleted"
    ENDPOINT_DISABLED = "endpoint.disabled"
    WEBHOOK_TEST = "webhook.test"


# What the webhook_url of a task or of a batch is told.
ENDS = frozenset(
    {
        EventType.TASK_COMPLETED,
        EventType.TASK_FAILED,
        EventType.TASK_CANCELLED,
        EventType.BATCH_COMPLETED,
        EventType.BATCH_FAILED,
        EventType.BATCH_CANCELLED,
    }
)
_BY_NAME_ONLY = frozenset({EventType.TASK_PROGRESS})
_NEVER_ASKED_FOR = frozenset({EventType.WEBHOOK_TEST})
_TOPICS = frozenset(
    topic
    for one in EventType
    if one not in _NEVER_ASKED_FOR
    for topic in ("*", f"{one.partition('.')[0]}.*", one.value)
)


def check_topics(topics: Sequence[str]) -> tuple[str, ...]:
    """Return topics, each once, in the order of their first mention.

    Raises:
        FieldInvalid: with ``param="topics"`` and the reason.
    """
    if not topics:
        raise FieldInvalid("'topics' is empty; take ['*'] for all.", param="topics")
    if len(topics) > _MOST_TOPICS:
        raise FieldInvalid(f"'topics' has more than {_MOST_TOPICS} entries.", param="topics")
    for topic in topics:
        if topic not in _TOPICS:
            shown = topic[:60].encode(errors="backslashreplace").decode()
            raise FieldInvalid(
                f"'topics' has '{shown}', which is no event; take '*', 'task.*' or a name such as "
                f"'{EventType.TASK_COMPLETED}'.",
                param="topics",
            )
    return tuple(dict.fromkeys(topics))


def list_topics(event: EventType) -> tuple[str, ...]:
    """Return the topics that ask for an event."""
    if event in _NEVER_ASKED_FOR:
        return ()
    if event in _BY_NAME_ONLY:
        return (event.value,)
    return "*", f"{event.partition('.')[0]}.*", event.value


def asks_for(topics: Sequence[str], event: EventType) -> bool:
    """Return whether some topics ask for an event."""
    return not set(topics).isdisjoint(list_topics(event))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, and what it was about, as that was then.

    ``task`` is there with its ``attempts``, its ``transfer`` while it runs and its ``file`` once it
    is complete; or ``file`` alone, or ``batch``, or ``endpoint``. What was asked for is without
    queries of URLs.
    """

    id: str
    project_id: str
    type: EventType
    subject_id: str
    created: datetime
    task: Task | None = None
    attempts: Sequence[Attempt] = ()
    transfer: Transfer | None = None
    file: File | None = None
    batch: Batch | None = None
    endpoint: Endpoint | None = None

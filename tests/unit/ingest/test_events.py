"""Topics choose events: all, a family, or one by its name."""

from __future__ import annotations

import pytest

from ingest.errors import FieldInvalid
from ingest.events import EventType, asks_for, check_topics

# What comes to whoever asks for everything.
USUAL = set(EventType) - {EventType.TASK_PROGRESS, EventType.WEBHOOK_TEST}


@pytest.mark.parametrize(
    ("topics", "wanted"),
    [
        (["*"], USUAL),
        (["task.*"], {one for one in USUAL if one.startswith("task.")}),
        (["file.*"], {EventType.FILE_CREATED, EventType.FILE_UPDATED, EventType.FILE_DELETED}),
        (["task.completed"], {EventType.TASK_COMPLETED}),
        (["task.progress"], {EventType.TASK_PROGRESS}),
        (["*", "task.progress"], USUAL | {EventType.TASK_PROGRESS}),
        (["task.failed", "endpoint.*"], {EventType.TASK_FAILED, EventType.ENDPOINT_DISABLED}),
    ],
)
def test_topics_ask_for_these_events_and_no_others(
    topics: list[str], wanted: set[EventType]
) -> None:
    assert check_topics(topics) == tuple(topics)
    assert {one for one in EventType if asks_for(topics, one)} == wanted


def test_a_topic_that_stands_twice_is_kept_once() -> None:
    assert check_topics(["file.*", "*", "file.*"]) == ("file.*", "*")


@pytest.mark.parametrize(
    "topic",
    ["", "task", "task.", "task.done", "*.completed", "Task.completed", "task.completed ", "**",
     "webhook.*", "webhook.test", "task.*.*", "x" * 5000, "\ud800"],
)  # fmt: skip
def test_a_topic_that_is_none_is_named_with_what_is_taken(topic: str) -> None:
    with pytest.raises(FieldInvalid, match=r"no event; take '\*', 'task.\*' or a name") as refused:
        check_topics(["*", topic])
    assert refused.value.param == "topics"
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("topics", [[], ["*"] * 51])
def test_none_and_too_many_are_refused(topics: list[str]) -> None:
    with pytest.raises(FieldInvalid, match="'topics'"):
        check_topics(topics)

"""What a delivery carries: the whole of it while it is short, and never more than may be sent."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.events import Event, EventType
from ingest.ids import Prefix, make_id
from ingest.payloads import MOST_BYTES, build_payload
from ingest.resources import show_file
from ingest.webhook_resources import show_event
from tests.unit.ingest.test_resources import FILE, TASK

SHOW = partial(show_file, own_url="https://api.example", delivery_url="https://cdn.example")
EVENT = Event(
    id=make_id(Prefix.EVENT),
    project_id="prj_1",
    type=EventType.TASK_COMPLETED,
    subject_id=TASK.id,
    created=datetime(2026, 3, 1, 12, tzinfo=UTC),
    task=TASK,
    file=FILE,
)


def test_a_payload_has_type_time_and_the_object_as_the_api_shows_it() -> None:
    payload = json.loads(build_payload(EVENT, SHOW))
    assert payload == {
        "type": "task.completed",
        "timestamp": "2026-03-01T12:00:00.000Z",
        "data": show_event(EVENT, SHOW).model_dump(mode="json")["data"],
    }


@pytest.mark.parametrize(
    ("length", "left_out"),
    [(10, None), (19_000, ["streams", "attempts", "metadata"])],
)
def test_what_is_too_long_is_left_out_and_named(length: int, left_out: list[str] | None) -> None:
    task = replace(TASK, order=replace(TASK.order, metadata={"long": "a" * length}))
    payload = json.loads(build_payload(replace(EVENT, task=task), SHOW))
    found = payload.get("truncated")
    assert found is None or found[-1] == "metadata"
    assert (found is None) is (left_out is None)
    assert payload["data"]["metadata"] == ({"long": "a" * length} if left_out is None else None)


@given(st.integers(0, 8192), st.integers(0, 8192), st.text(max_size=255), st.text(max_size=500))
def test_no_payload_is_longer_than_may_be_sent(
    url: int, source: int, ref: str, message: str
) -> None:
    order = replace(TASK.order, url="https://s.example/" + "u" * url, ref=ref, metadata={"m": ref})
    file = replace(FILE, source="https://s.example/" + "s" * source, ref=ref)
    event = replace(EVENT, task=replace(TASK, order=order), file=file)
    body = build_payload(event, SHOW)
    assert len(body.encode(errors="surrogatepass")) <= MOST_BYTES
    assert json.loads(body)["data"]["id"] == TASK.id


def test_an_event_about_nothing_is_a_fault() -> None:
    with pytest.raises(ValueError, match="about nothing"):
        build_payload(replace(EVENT, task=None, file=None), SHOW)

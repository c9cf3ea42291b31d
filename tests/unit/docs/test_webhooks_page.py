"""docs/webhooks.md against the events, resources, errors and signatures it describes."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from api.webhook_schemas import DeliveryListing, EndpointChange, EventListing, RotateRequest
from ingest import errors
from ingest.errors import DeliveryError, HeadraceError, InternalError, SecretUnreadable
from ingest.events import EventType
from ingest.signing import make_secret, sign
from ingest.webhook_resources import DeliveryAttemptResource, DeliveryResource, EndpointResource
from ingest.webhooks import DeliveryStatus
from tests.support.pages import find_blocks, find_table, read_page

_PAGE = read_page("docs/webhooks.md")


def _read_section(heading: str) -> str:
    """Return what stands under a heading, which has its marks, up to the next of its level."""
    marks = heading.partition(" ")[0]
    return re.split(rf"\n#{{2,{len(marks)}}} ", _PAGE.split(f"\n{heading}\n")[1])[0]


def test_every_event_is_listed() -> None:
    assert [row[0] for row in find_table(_PAGE, "event").rows] == [f"`{one}`" for one in EventType]


def test_every_error_of_a_delivery_is_listed() -> None:
    found: list[type[HeadraceError]] = [
        one
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, DeliveryError) and one is not DeliveryError
    ]
    listed: list[type[HeadraceError]] = [*sorted(found, key=lambda one: one.__name__)]
    listed += [SecretUnreadable, InternalError]
    assert [list(row) for row in find_table(_PAGE, "delivery error").rows] == [
        [f"`{one.code}`", " ".join((inspect.getdoc(one) or "").split())] for one in listed
    ]


@pytest.mark.parametrize(
    ("heading", "resource"),
    [
        ("## Endpoints", EndpointResource),
        ("## Looking and sending again", DeliveryResource),
    ],
    ids=["endpoint", "delivery"],
)
def test_every_field_of_a_resource_is_described(heading: str, resource: type[BaseModel]) -> None:
    rows = find_table(_read_section(heading), "field").rows
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(resource.model_fields)


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("## Endpoints", EndpointChange),
        ("## Secrets", RotateRequest),
        ("## Looking and sending again", DeliveryListing),
        ("## Looking and sending again", DeliveryAttemptResource),
        ("## Events", EventListing),
    ],
)
def test_every_field_and_parameter_is_named(heading: str, model: type[BaseModel]) -> None:
    section = _read_section(heading)
    assert all(f"`{name}`" in section for name in model.model_fields)


def test_every_state_of_a_delivery_is_named() -> None:
    section = _read_section("## Looking and sending again")
    assert all(f"`{status}`" in section for status in DeliveryStatus)


def test_what_is_sent_is_json() -> None:
    (shown,) = find_blocks(_PAGE, "json")
    assert list(json.loads(shown.text)) == ["type", "timestamp", "data"]


def test_the_signature_by_hand_is_the_one_that_is_sent(tmp_path: Path) -> None:
    (script,) = find_blocks(_read_section("### By hand"), "sh")
    secret, moment = make_secret(), datetime.now(UTC)
    body = '{"type":"webhook.test","data":{"ä":1}}'
    (tmp_path / "body.json").write_text(body)
    headers = sign([secret], "evt_1", moment, body)
    done = subprocess.run(
        ["/bin/sh", "-euc", script.text],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "SECRET": secret,
            "ID": "evt_1",
            "TIMESTAMP": headers["webhook-timestamp"],
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == headers["webhook-signature"]


def test_the_python_of_the_page_verifies_what_is_sent() -> None:
    (block,) = find_blocks(_read_section("### Python"), "python")
    secret, body = make_secret(), '{"type":"task.completed","data":{"output":{"url":"there"}}}'
    published: list[str] = []
    names: dict[str, object] = {
        "already_done": lambda event_id: event_id == "evt_2",
        "publish": published.append,
    }
    exec(block.text.replace("whsec_…", secret), names)  # noqa: S102 - the page's own
    receive = names["receive"]
    assert callable(receive)
    for event_id, wanted in (("evt_1", 204), ("evt_2", 204)):
        headers = sign([secret], event_id, datetime.now(UTC), body)
        assert receive(dict(headers), body.encode()) == wanted
    assert published == ["there"]
    assert receive(dict(headers), body.encode() + b" ") == 401

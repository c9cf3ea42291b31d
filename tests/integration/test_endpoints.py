"""Endpoints of webhooks on real PostgreSQL: written, read, changed, and signed for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from ingest.model import Project
from ingest.webhooks import DisabledFor, Endpoint, EndpointStatus
from storage.records import endpoints, sending
from storage.records.database import Database
from storage.records.listing import Window
from tests.integration.examples import Claim, MakeTask, complete_task

DAY = timedelta(days=1)


@pytest.fixture
def endpoint(records: Database, project: Project) -> Endpoint:
    with records.transaction() as connection:
        return endpoints.create(
            connection,
            project.id,
            url="https://example.com/hook",
            topics=("task.*", "file.created"),
            description="mine",
            metadata={"a": [1]},
            sealed_secret=b"first",
        )


def _change(records: Database, endpoint: Endpoint, **values: object) -> Endpoint:
    with records.transaction() as connection:
        changed = endpoints.change(connection, endpoint.project_id, endpoint.id, values)
    assert changed is not None
    return changed


def test_an_endpoint_is_read_as_it_was_written(records: Database, endpoint: Endpoint) -> None:
    assert (endpoint.url, endpoint.topics) == (
        "https://example.com/hook",
        ("task.*", "file.created"),
    )
    assert (endpoint.description, endpoint.metadata) == ("mine", {"a": [1]})
    assert (endpoint.status, endpoint.disabled_for) == (EndpointStatus.ENABLED, None)
    with records.transaction() as connection:
        assert endpoints.get(connection, endpoint.project_id, endpoint.id) == endpoint
        page = endpoints.list_page(connection, endpoint.project_id, Window(1, 20, None, None))
        assert page.items == [endpoint]


def test_to_another_project_it_is_not_there(records: Database, endpoint: Endpoint) -> None:
    with records.transaction() as connection:
        other = "prj_other"
        assert endpoints.get(connection, other, endpoint.id) is None
        assert endpoints.change(connection, other, endpoint.id, {"url": "https://x"}) is None
        assert endpoints.rotate(connection, other, endpoint.id, b"x", DAY) is None
        assert endpoints.read_secrets(connection, other, endpoint.id) is None
        assert not endpoints.remove(connection, other, endpoint.id)
        assert endpoints.list_page(connection, other, Window(1, 20, None, None)).items == []
        assert endpoints.get(connection, endpoint.project_id, endpoint.id) == endpoint


def test_it_is_disabled_and_enabled_and_its_past_forgotten(
    records: Database, endpoint: Endpoint
) -> None:
    with records.transaction() as connection:
        connection.execute(
            text("INSERT INTO troubles (lane, failures) SELECT id, 1 FROM webhook_endpoints")
        )
    off = _change(records, endpoint, status=EndpointStatus.DISABLED)
    assert (off.status, off.disabled_for) == (EndpointStatus.DISABLED, DisabledFor.ASKED)
    assert off.failing_since is not None
    on = _change(records, endpoint, status=EndpointStatus.ENABLED)
    assert (on.status, on.disabled_for, on.failing_since) == (EndpointStatus.ENABLED, None, None)


def test_disabling_again_does_not_hide_why(records: Database, endpoint: Endpoint) -> None:
    with records.transaction() as connection:
        connection.execute(
            text("UPDATE webhook_endpoints SET status = 'disabled', disabled_for = 'gone'")
        )
    assert _change(records, endpoint, status="disabled").disabled_for is DisabledFor.GONE


def test_another_address_starts_anew(records: Database, endpoint: Endpoint) -> None:
    with records.transaction() as connection:
        connection.execute(
            text("INSERT INTO troubles (lane, failures) SELECT id, 1 FROM webhook_endpoints")
        )
    assert _change(records, endpoint, description=None).failing_since is not None
    moved = _change(records, endpoint, url="https://example.com/new")
    assert (moved.url, moved.failing_since) == ("https://example.com/new", None)
    assert moved.updated > endpoint.updated


def test_while_a_secret_is_changed_both_sign_and_then_the_new_one(
    records: Database, endpoint: Endpoint
) -> None:
    def read() -> list[bytes]:
        with records.transaction() as connection:
            secrets = endpoints.read_secrets(connection, endpoint.project_id, endpoint.id)
        assert secrets is not None
        return list(secrets.good)

    assert read() == [b"first"]
    with records.transaction() as connection:
        rotated = endpoints.rotate(connection, endpoint.project_id, endpoint.id, b"second", DAY)
    assert rotated is not None
    assert rotated.old_secret_until is not None
    assert read() == [b"second", b"first"]
    with records.transaction() as connection:
        endpoints.rotate(connection, endpoint.project_id, endpoint.id, b"third", DAY)
    assert read() == [b"third", b"second"]
    with records.transaction() as connection:
        connection.execute(text("UPDATE webhook_endpoints SET old_secret_until = now()"))
    assert read() == [b"third"]


def test_it_is_gone_for_good(records: Database, endpoint: Endpoint) -> None:
    with records.transaction() as connection:
        assert endpoints.remove(connection, endpoint.project_id, endpoint.id)
        assert not endpoints.remove(connection, endpoint.project_id, endpoint.id)
        assert endpoints.get(connection, endpoint.project_id, endpoint.id) is None


def test_a_task_that_ends_while_an_endpoint_is_deleted_neither_waits_nor_fails(
    records: Database, endpoint: Endpoint, make_task: MakeTask, claim: Claim
) -> None:
    lease = claim(make_task())
    with records.transaction() as connection:
        assert endpoints.remove(connection, endpoint.project_id, endpoint.id)
        # Not committed yet: whoever ends a task sees the endpoint, and tells it.
        assert complete_task(records, lease)
    with records.transaction() as connection:
        count = text("SELECT count(*) FROM deliveries")
        left_over = sending.pick(connection, 10, 4)
        assert left_over
        assert sending.claim(connection, left_over[0], "sender-1", 60) is None
        sending.note_unwoken(connection, left_over)
        assert sending.forget_orphans(connection) > 0
        assert connection.execute(count).scalar_one() == 0

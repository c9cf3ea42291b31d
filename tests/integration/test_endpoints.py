"""Endpoints of webhooks on real PostgreSQL: written, read, changed, and signed for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, text, update

from ingest.model import Project
from ingest.webhooks import DisabledFor, Endpoint, EndpointStatus
from storage.records import deliveries, endpoints, sending, tables
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
        return [secrets.newest] if secrets.old is None else [secrets.newest, secrets.old]

    assert read() == [b"first"]
    with records.transaction() as connection:
        rotated = endpoints.rotate(connection, endpoint.project_id, endpoint.id, b"second", DAY)
    assert rotated is not None
    assert rotated.old_secret_until is not None
    assert read() == [b"second", b"first"]
    with records.transaction() as connection:
        connection.execute(text("UPDATE webhook_endpoints SET old_secret_until = now()"))
    assert read() == [b"second"]
    with records.transaction() as connection:
        endpoints.rotate(connection, endpoint.project_id, endpoint.id, b"third", DAY)
    assert read() == [b"third", b"second"]


def test_a_secret_signs_for_as_long_as_was_promised_or_all_end_at_once(
    records: Database, endpoint: Endpoint
) -> None:
    def rotate(secret: bytes, overlap: timedelta) -> bool:
        with records.transaction() as connection:
            project_id = endpoint.project_id
            rotated = endpoints.rotate(connection, project_id, endpoint.id, secret, overlap)
        return rotated is not None

    assert rotate(b"second", DAY)
    assert not rotate(b"third", DAY)
    assert rotate(b"fourth", timedelta(0))
    with records.transaction() as connection:
        secrets = endpoints.read_secrets(connection, endpoint.project_id, endpoint.id)
    assert secrets is not None
    assert (secrets.newest, secrets.old) == (b"fourth", None)


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
        left_over = connection.execute(text("SELECT id FROM deliveries")).scalars().all()
        assert left_over
        assert sending.claim(connection, left_over[0], "sender-1", 60) is None


@pytest.mark.parametrize("woken", [None, func.now()])
def test_what_an_endpoint_left_behind_takes_nobodys_place_and_is_forgotten(
    woken: object, records: Database, endpoint: Endpoint, make_task: MakeTask
) -> None:
    for _ in range(3):
        make_task()
    with records.transaction() as connection:
        deliveries.create_test(connection, endpoint)
        connection.execute(update(tables.deliveries).values(woken=woken))
        assert endpoints.remove(connection, endpoint.project_id, endpoint.id)
    with records.transaction() as connection:
        assert sending.pick(connection, 10, 4) == []
        assert sending.forget_orphans(connection, 3) == 3
        assert sending.forget_orphans(connection, 3) == 1
        assert sending.forget_orphans(connection, 3) == 0


def test_deliveries_of_endpoints_that_are_there_are_kept(
    records: Database, endpoint: Endpoint, make_task: MakeTask
) -> None:
    make_task()
    with records.transaction() as connection:
        assert sending.forget_orphans(connection, 10) == 0
        assert len(sending.pick(connection, 10, 4)) == 1


def test_what_waits_is_due_when_its_endpoint_is_enabled(
    records: Database, endpoint: Endpoint, make_task: MakeTask
) -> None:
    make_task()
    with records.transaction() as connection:
        connection.execute(text("UPDATE deliveries SET next_attempt_at = now() + interval '1 day'"))
    _change(records, endpoint, status=EndpointStatus.DISABLED)
    with records.transaction() as connection:
        assert sending.pick(connection, 10, 4) == []
    _change(records, endpoint, status=EndpointStatus.ENABLED)
    with records.transaction() as connection:
        assert len(sending.pick(connection, 10, 4)) == 1

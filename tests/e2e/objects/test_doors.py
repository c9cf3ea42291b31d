"""What nobody may read through a connection, and what nobody learns of one."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from sqlalchemy import func, select
from sqlalchemy import text as sql

from cli.local import LocalStack
from ingest.config import Settings
from storage.objects.s3 import S3ObjectStore
from storage.records.database import Database
from storage.records.tables import tasks
from tests.e2e.objects.examples import HEADERS, REFUSED, count_bytes, fail, ingest
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.faults import FaultProxy
from tests.support.origin import Origin
from tests.support.tasks import create_task, wait_for_end


@pytest.mark.parametrize(
    "url",
    [
        "s3://unknown/done/a.mp4",
        "s3://others/done/a.mp4",
        "s3://part/doing/a.mp4",
        "s3://archive//done/a.mp4",
        "s3://archive/done//a.mp4",
        "s3://archive/%5Cdone%5Ca.mp4",
    ],
    ids=[
        "no connection",
        "another project's",
        "outside the prefix",
        "a slash first",
        "two slashes",
        "backslashes",
    ],
)
def test_what_a_project_may_not_read_is_refused_alike_and_no_task_is_made(
    url: str, api: Api, records: Database, origin_free_url: str
) -> None:
    def count() -> int:
        with records.transaction() as connection:
            return connection.execute(select(func.count()).select_from(tasks)).scalar_one()

    task = create_task(api, origin_free_url)
    before = count()
    for answer in (
        api.post("/files", {"url": url}),
        api.post("/tasks", {"kind": "ingest", "url": url}),
        api.patch(f"/tasks/{task['id']}", {"url": url}),
    ):
        error = read_error(answer, 422, "field_invalid")
        assert (error["message"], error["param"]) == (REFUSED, "url")
    assert count() == before
    assert read_object(api.get(f"/tasks/{task['id']}"))["input"] == {
        "url": origin_free_url,
        "folder": None,
        "filename": None,
    }


@pytest.mark.parametrize("connection", ["own", "own-again"])
def test_a_file_of_ours_is_no_source_whatever_the_key_it_is_asked_for_by(
    connection: str,
    inner: LocalStack,
    api: Api,
    picture: bytes,
    long_video: bytes,
    landing: S3ObjectStore,
    name: str,
) -> None:
    ours = replace(HEADERS, metadata={"headrace-file-id": "file_1", "headrace-attempt": "1"})
    landing.put(f"inbox/{name}", picture, ours, overwrite=False)
    landing.put(f"inbox/long-{name}", long_video, ours, overwrite=False)
    landing.put(f"inbox/theirs-{name}", picture, HEADERS, overwrite=False)
    copied = count_bytes(inner, "headrace_copied_bytes_total")

    keys = [name, f"long-{name}"]
    if connection == "own-again":
        # Which is no store of ours by its address, so that its keys are taken as they come.
        keys += [f"/{name}", f"%5C{name}"]
    for key in keys:
        fail(api, f"s3://{connection}/inbox/{key}", "source_forbidden")
    ingest(api, f"s3://{connection}/inbox/theirs-{name}", f"{name}-{connection}")

    assert count_bytes(inner, "headrace_copied_bytes_total") == copied


@pytest.mark.parametrize("place", [{"folder": "inbox"}, {"folder": "inbox/a", "filename": "b"}])
def test_no_file_is_put_where_a_connection_reads(
    place: dict[str, str], api: Api, origin_free_url: str
) -> None:
    error = fail(api, origin_free_url, "field_invalid", **place)
    assert error["param"] == "folder"
    assert "a place for sources" in str(error["message"])


def test_a_key_of_a_connection_that_its_store_refuses_is_worth_another_try(
    api: Api, picture: bytes, archive: S3ObjectStore, name: str
) -> None:
    archive.put(name, picture, HEADERS, overwrite=False)
    error = fail(api, f"s3://locked-out/{name}", "source_unavailable")
    assert error["message"] == (
        "The store of 's3://locked-out' refuses the connection's key, clock or region "
        "(SignatureDoesNotMatch)."
    )


@pytest.fixture
def origin_free_url(source: Origin, picture: bytes) -> str:
    """A source of no connection."""
    return source.serve("/plain.jpg", picture)


def test_a_connection_that_was_taken_away_meanwhile_fails_its_task(
    api: Api, source: Origin, records: Database
) -> None:
    task = wait_for_end(api, create_task(api, source.serve("/gone", status=404)))
    with records.transaction() as connection:
        connection.execute(
            sql("UPDATE tasks SET url = 's3://taken-away/a.mp4' WHERE id = :id"), {"id": task["id"]}
        )
    read_object(api.post(f"/tasks/{task['id']}/retry", {}))

    error = cast("JsonDict", wait_for_end(api, task)["error"])
    assert (error["code"], error["retryable"]) == ("source_forbidden", False)


def test_a_users_url_gains_nothing_from_a_connection_to_its_address(
    api: Api, outer: Settings, proxy: FaultProxy, hidden: Origin, picture: bytes, source: Origin
) -> None:
    hidden.serve("/plain.jpg", picture)
    hidden.serve("/odd/a.jpg", picture)
    # The connection has been used, and its connections are kept.
    ingest(api, "s3://odd/a.jpg", "through-a-connection.jpg")
    targets = [
        f"{outer.s3_endpoint}/x/y.jpg",
        f"http://127.0.0.1:{proxy.port}/x/y.jpg",
        hidden.url("/plain.jpg"),
    ]
    for number, target in enumerate(targets):
        fail(api, target, "address_blocked")
        fail(api, source.redirect(f"/to/{number}", target), "address_blocked")


@pytest.mark.parametrize("target", ["s3://archive/a.mp4", "S3://part/done/a.mp4"])
def test_a_redirect_to_an_object_stays_refused(target: str, api: Api, source: Origin) -> None:
    error = fail(api, source.redirect("/to-object", target), "source_invalid")
    assert "takes http or https" in str(error["message"])


def test_a_redirect_of_a_connections_server_is_not_followed(
    api: Api, hidden: Origin, source: Origin, picture: bytes
) -> None:
    asked = source.serve("/from-endpoint.jpg", picture)
    for number, target in enumerate((asked, hidden.url("/plain.jpg"), "http://169.254.169.254/")):
        hidden.redirect(f"/odd/{number}.jpg", target)
        error = fail(api, f"s3://odd/{number}.jpg", "source_unavailable")
        assert "key, clock or region (302)" in str(error["message"])
    assert source.list_served("/from-endpoint.jpg") == []


def test_a_connections_server_that_forbids_is_told_by_its_name_alone(
    api: Api, hidden: Origin
) -> None:
    hidden.serve("/odd/forbidden.jpg", status=403)
    fail(api, "s3://odd/forbidden.jpg", "source_forbidden")
    hidden.serve_raw("/odd/broken.jpg", b"")
    error = fail(api, "s3://odd/broken.jpg", "source_unavailable")
    assert "'s3://odd'" in str(error["message"])
    assert "127.0.0.1" not in str(error["message"])


def test_no_signed_address_is_written_down_anywhere(
    inner: LocalStack,
    api: Api,
    records: Database,
    long_video: bytes,
    archive: S3ObjectStore,
    name: str,
) -> None:
    archive.put(name, long_video, HEADERS, overwrite=False)
    ingest(api, f"s3://archive/{name}", name)
    logs = [
        (inner.home.logs / f"{role}.log").read_text()
        for role in ("api", "worker", "sender", "beat")
    ]
    assert '"copy.done"' in logs[1]
    with records.transaction() as connection:
        rows = [
            str(row)
            for table in ("tasks", "files", "attempts", "uploads")
            for row in connection.execute(sql(f"SELECT * FROM {table}"))  # noqa: S608
        ]
    answers = [api.get("/tasks?limit=100").text, api.get("/files?limit=100").text]
    for written in (*logs, *rows, *answers):
        assert "X-Amz-" not in written
        assert "Signature=" not in written

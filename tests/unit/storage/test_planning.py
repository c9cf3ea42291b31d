"""Orders before they are written down: names, connections, receivers and secrets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from ingest.config import Settings
from ingest.environ import load_settings
from ingest.errors import FieldInvalid
from ingest.model import FileAccess, Project
from ingest.order_requests import QueuedRequest
from ingest.source_headers import load_headers
from ingest.urls import ObjectUrl, parse_order_url
from storage.planning import Planner
from storage.sealing import Sealer

KEY = SecretStr(Fernet.generate_key().decode())
OWN_ID = "prj_01m859r1yny08r1ap8hz69hcss"
PROJECT = Project(OWN_ID, "one", "place")
URL = "https://example.com/a.mp4"


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings(
        {
            "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
            "HEADRACE_S3_BUCKET": "media",
            "HEADRACE_S3_ACCESS_KEY_ID": "none",
            "HEADRACE_S3_SECRET_ACCESS_KEY": "none",
            "HEADRACE_S3_SOURCES": '{"inbox": {"bucket": "media", "prefix": "inbox/", '
            f'"projects": ["{OWN_ID}"]}}}}',
        }
    )


@pytest.fixture
def make_planner(settings: Settings) -> Callable[..., Planner]:
    return lambda *keys: Planner(settings, Sealer(keys))


def _ask(**more: object) -> QueuedRequest:
    return QueuedRequest.model_validate({"url": URL, **more})


def test_what_names_no_receiver_and_has_no_headers_needs_no_key(
    make_planner: Callable[..., Planner],
) -> None:
    order = make_planner().make_order(_ask(ref="x", priority=3))
    assert (order.url, order.ref, order.priority) == (URL, "x", 3)
    assert (order.sealed_headers, order.webhook_url) == (None, None)


def test_headers_are_sealed_and_a_receivers_url_is_kept_as_it_is_read(
    make_planner: Callable[..., Planner],
) -> None:
    planner = make_planner(KEY)
    asked = _ask(headers={"X-Secret": "s"}, webhook_url="https://EXAMPLE.com/hook")
    order = planner.make_order(asked)
    assert order.webhook_url == "https://example.com/hook"
    assert order.sealed_headers is not None
    assert load_headers(Sealer([KEY]).open(order.sealed_headers)) == {"x-secret": "s"}


@pytest.mark.parametrize(
    ("more", "keys", "param"),
    [
        ({"headers": {"X-A": "b"}}, [], "headers"),
        ({"webhook_url": "https://example.com/"}, [], "webhook_url"),
        ({"webhook_url": "http://example.com/"}, [KEY], "webhook_url"),
        ({"webhook_url": "https://127.0.0.1/"}, [KEY], "webhook_url"),
        ({"url": "s3://inbox/inbox/a", "headers": {"X-A": "b"}}, [KEY], "headers"),
    ],
)
def test_what_cannot_be_kept_or_told_is_refused(
    more: dict[str, object], keys: list[SecretStr], param: str, make_planner: Callable[..., Planner]
) -> None:
    with pytest.raises(FieldInvalid) as caught:
        make_planner(*keys).make_order(_ask(**more))
    assert caught.value.param == param


def test_headers_follow_a_task_to_the_same_origin_alone(
    make_planner: Callable[..., Planner],
) -> None:
    planner = make_planner(KEY)
    before = planner.make_order(_ask(headers={"X-A": "b"}))

    def change(url: str, headers: dict[str, str] | None, *, are_given: bool) -> bytes | None:
        return planner.change_headers(before, url, headers, are_given=are_given)

    assert change(f"{URL}?new", None, are_given=False) == before.sealed_headers
    assert change("https://other.com/a.mp4", None, are_given=False) is None
    assert change("s3://inbox/inbox/a", None, are_given=False) is None
    assert change(URL, None, are_given=True) is None
    assert change(URL, {"X-C": "d"}, are_given=True) is not None


@pytest.mark.parametrize(
    ("folder", "filename", "key"),
    [("a/b", "c.mp4", "place/a/b/c.mp4"), (None, "c.mp4", "place/c.mp4"), ("a", None, None)],
)
def test_a_name_is_reserved_where_there_is_one(
    folder: str | None, filename: str | None, key: str | None, make_planner: Callable[..., Planner]
) -> None:
    planner = make_planner()
    order = planner.make_order(_ask(folder=folder, filename=filename))
    assert planner.plan_name(PROJECT, order, lambda _: False) == key
    with pytest.raises(FieldInvalid, match="place of another project") as caught:
        planner.plan_name(PROJECT, order, lambda _: True)
    assert caught.value.param == ("filename" if folder is None else "folder")


def test_no_file_lands_where_a_connection_reads(make_planner: Callable[..., Planner]) -> None:
    planner, first = make_planner(), Project(OWN_ID, "first", "")
    order = planner.make_order(_ask(folder="inbox", filename="a"))
    with pytest.raises(FieldInvalid, match="a place for sources"):
        planner.plan_name(first, order, lambda _: False)


def test_a_connection_is_told_of_to_its_projects_alone(
    make_planner: Callable[..., Planner],
) -> None:
    planner, other = make_planner(), Project("prj_2", "two", "two")
    for url in (URL, "s3://inbox/inbox/a"):
        planner.check_connection(PROJECT, parse_order_url(url))
    for project, url in ((other, "s3://inbox/inbox/a"), (PROJECT, "s3://none/a")):
        with pytest.raises(FieldInvalid, match="names nothing that a connection") as caught:
            planner.check_connection(project, parse_order_url(url))
        assert caught.value.param == "url"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "HEADRACE_SECRET_KEYS"),
        ({"secret_keys": (KEY,), "delivery_url": "https://cdn.example"}, "HEADRACE_DELIVERY_URL"),
        ({"delivery_url": "https://cdn.example"}, "HEADRACE_SECRET_KEYS"),
    ],
)
def test_a_file_that_cannot_be_kept_to_signed_urls_is_not_promised_to_be(
    changed: dict[str, object], said: str, settings: Settings
) -> None:
    planner = Planner(settings.model_copy(update=changed), Sealer([]))
    with pytest.raises(FieldInvalid, match=said) as raised:
        planner.make_order(_ask(access="signed"))
    assert raised.value.param == "access"
    assert planner.make_order(_ask(access="public")).access is FileAccess.PUBLIC
    assert planner.make_order(_ask()).access is FileAccess.PUBLIC


def test_a_file_is_kept_to_signed_urls_where_all_of_them_are_ours(settings: Settings) -> None:
    planner = Planner(settings.model_copy(update={"secret_keys": (KEY,)}), Sealer([KEY]))
    assert planner.make_order(_ask(access="signed")).access is FileAccess.SIGNED


def test_no_file_is_planned_where_lies_what_was_sent(make_planner: Callable[..., Planner]) -> None:
    first = Project(OWN_ID, "first", "")
    with pytest.raises(FieldInvalid, match="a place for sources"):
        make_planner().plan_key(first, ".headrace/uploads", "a.mp4", lambda _: False)
    key = make_planner().plan_key(PROJECT, ".headrace/uploads", "a.mp4", lambda _: False)
    assert key == "place/.headrace/uploads/a.mp4"


def test_what_was_sent_is_no_connections_and_needs_none(
    make_planner: Callable[..., Planner],
) -> None:
    sent = ObjectUrl.of_upload("file_01m859r1yny08r1ap8hz69hcss")
    make_planner().check_connection(PROJECT, sent)

"""``/webhooks/endpoints``: kept by who may, judged before they are taken, tested and rotated."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import structlog
from flask.testing import FlaskClient
from sqlalchemy import update
from standardwebhooks import Webhook, WebhookVerificationError

from api.app import create_app
from api.services import Services
from cli.local import LocalStack
from ingest.access import Scope
from ingest.config import Settings
from storage.records.database import Database
from storage.records.tables import webhook_endpoints
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.inbox import Inbox, open_inbox, open_task_inbox, refuse, wait_for_status
from tests.support.origin import Origin
from tests.support.projects import make_project
from tests.support.tasks import create_task, wait_for_end

PATH = "/webhooks/endpoints"


@pytest.fixture
def in_production(settings: Settings) -> Iterator[FlaskClient]:
    """The API as it is configured in production: no http, and nothing to seal with."""
    chosen = settings.model_copy(update={"webhook_allow_http": False, "secret_keys": ()})
    app = create_app(chosen)
    services: Services = app.extensions["headrace"]
    yield app.test_client()
    structlog.contextvars.clear_contextvars()
    services.queue.close()
    services.signals.close()
    services.database.close()


def _read_endpoint(api: Api, inbox: Inbox) -> JsonDict:
    return read_object(api.get(f"{PATH}/{inbox.endpoint_id}"))


def test_an_endpoint_is_made_read_listed_changed_and_deleted(owner: Api, origin: Origin) -> None:
    body = {"url": origin.url("/hooks"), "topics": ["task.*", "task.*", "file.created"],
            "description": "ours", "metadata": {"team": "video"}}  # fmt: skip
    made = read_object(owner.post(PATH, body), 201)
    assert str(made["secret"]).startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert shown["topics"] == ["task.*", "file.created"]
    assert (shown["status"], shown["disabled_for"], shown["failing_since"]) == ("enabled",) + (
        None,
    ) * 2
    path = f"{PATH}/{made['id']}"
    assert read_object(owner.get(path)) == shown
    assert read_list(owner.get(PATH))[0] == [shown]

    changed = read_object(owner.patch(path, {"topics": ["*"], "metadata": None}))
    assert (changed["topics"], changed["metadata"], changed["description"]) == (["*"], None, "ours")
    disabled = read_object(owner.patch(path, {"status": "disabled"}))
    assert (disabled["status"], disabled["disabled_for"]) == ("disabled", "asked")
    assert read_object(owner.patch(path, {}))["status"] == "disabled"

    assert owner.delete(path).status_code == 204
    read_error(owner.get(path), 404, "not_found")
    read_error(owner.delete(path), 404, "not_found")
    assert read_list(owner.get(PATH))[0] == []


BAD: list[tuple[JsonDict, str, str]] = [
    ({}, "url", "is missing"),
    ({"url": "ftp://example.com/"}, "url", "http"),
    ({"url": "https://10.0.0.1/hook"}, "url", "not public"),
    ({"url": "https://169.254.169.254/"}, "url", "not public"),
    ({"url": "https://[::1]/"}, "url", "not public"),
    ({"url": "https://2130706433/"}, "url", "not public"),
    ({"url": "https://example.com:22/"}, "url", "port 22"),
    ({"url": "https://example.com/" + "a" * 9000}, "url", "longer than"),
    ({"url": "https://example.com/", "topics": []}, "topics", "empty"),
    ({"url": "https://example.com/", "topics": ["task.exploded"]}, "topics", "no event"),
    ({"url": "https://example.com/", "topics": ["webhook.test"]}, "topics", "no event"),
    ({"url": "https://example.com/", "topics": "*"}, "topics", "list"),
    ({"url": "https://example.com/", "secret": "whsec_x"}, "secret", "no field"),
    ({"url": "https://example.com/", "description": "a" * 501}, "description", "500"),
]


@pytest.mark.parametrize(("body", "param", "why"), BAD)
def test_a_bad_endpoint_is_refused_with_the_reason(
    body: JsonDict, param: str, why: str, owner: Api
) -> None:
    error = read_error(owner.post(PATH, body), 422, "field_invalid")
    assert error["param"] == param
    assert why in str(error["message"])
    assert read_list(owner.get(PATH))[0] == []


@pytest.mark.parametrize("field", ["url", "topics", "status"])
def test_a_change_to_nothing_is_refused(field: str, owner: Api, origin: Origin) -> None:
    inbox = open_inbox(owner, origin)
    error = read_error(
        owner.patch(f"{PATH}/{inbox.endpoint_id}", {field: None}), 422, "field_invalid"
    )
    assert error["param"] == field


def test_a_task_is_refused_whose_webhook_url_may_not_be_asked(owner: Api, picture_url: str) -> None:
    body = {"kind": "ingest", "url": picture_url, "webhook_url": "http://10.0.0.1/"}
    error = read_error(owner.post("/tasks", body), 422, "field_invalid")
    assert error["param"] == "webhook_url"
    assert read_list(owner.get("/tasks"))[0] == []


def test_in_production_receivers_speak_https_and_secrets_need_a_key_to_seal_them(
    in_production: FlaskClient, owner: Api
) -> None:
    headers = {"Authorization": f"Bearer {owner.key}"}

    def post(url: str) -> tuple[int, dict[str, Any]]:
        answer = in_production.post(PATH, json={"url": url}, headers=headers)
        return answer.status_code, answer.get_json()["error"]

    status, error = post("http://example.com/")
    assert (status, error["param"]) == (422, "url")
    assert "https" in error["message"]
    status, error = post("https://example.com/")
    assert status == 422
    assert "HEADRACE_SECRET_KEYS" in error["message"]
    answer = in_production.get("/webhooks/secret", headers=headers)
    assert answer.status_code == 409


@pytest.mark.parametrize("missed", ["failed", "missing"])
@pytest.mark.parametrize(
    "since", ["1835-03-09T02:47:44Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
def test_a_replay_takes_any_time_that_the_calendar_has(
    since: str, missed: str, owner: Api, origin: Origin
) -> None:
    inbox = open_inbox(owner, origin)
    path = f"{PATH}/{inbox.endpoint_id}/replay"
    answer = owner.post(path, {"since": since, "status": missed})
    assert (answer.status_code, answer.json()["data"]["deliveries"]) == (200, 0)


@pytest.mark.parametrize("scope", list(Scope))
def test_each_scope_opens_what_it_should(
    scope: Scope, owner: Api, origin: Origin, stack: LocalStack, database: Database
) -> None:
    _, secret = make_project(database, scopes=[scope])
    inbox = open_inbox(owner, origin)
    own = f"{PATH}/{inbox.endpoint_id}"
    with Api(stack.api_url, secret) as api:
        looks = [api.get(PATH), api.get(own), api.get("/webhooks/deliveries"), api.get("/events")]
        deeds = [
            api.post(f"{own}/test", {}),
            api.post(f"{own}/replay", {"since": "2030-01-01T00:00:00Z"}),
        ]
        keeping = [
            api.post(PATH, {"url": "nothing"}), api.patch(own, {}), api.delete(own),
            api.get(f"{own}/secret"), api.post(f"{own}/rotate", {}), api.get("/webhooks/secret"),
            api.post("/webhooks/secret/rotate", {}),
        ]  # fmt: skip
    for answers, opening in (
        (looks, {Scope.READ, Scope.ADMIN}),
        (deeds, {Scope.WRITE, Scope.ADMIN}),
        (keeping, {Scope.ADMIN}),
    ):
        refused = {answer.status_code == 403 for answer in answers}
        assert refused == {scope not in opening}


def test_a_project_has_no_more_endpoints_than_it_may(
    owner: Api, origin: Origin, database: Database
) -> None:
    for _ in range(50):
        open_inbox(owner, origin)
    error = read_error(owner.post(PATH, {"url": origin.url("/one-more")}), 409, "conflict")
    assert "50" in str(error["message"])


def test_a_test_says_at_once_what_became_of_it(owner: Api, origin: Origin) -> None:
    inbox = open_inbox(owner, origin, ["task.completed"])
    path = f"{PATH}/{inbox.endpoint_id}"
    delivery = read_object(owner.post(f"{path}/test", {}))
    assert (delivery["status"], delivery["event_type"]) == ("delivered", "webhook.test")
    (told,) = inbox.list_messages()
    assert (told.type, told.data) == ("webhook.test", _read_endpoint(owner, inbox))
    owner.patch(path, {"status": "disabled"})
    assert read_object(owner.post(f"{path}/test", {}))["status"] == "delivered"
    assert len(inbox.list_messages()) == 2


def test_a_test_that_fails_is_not_tried_again_and_counts_for_nothing(
    owner: Api, origin: Origin
) -> None:
    inbox = open_inbox(owner, origin, ["*"], refuse(500, b"out of order"))
    delivery = read_object(owner.post(f"{PATH}/{inbox.endpoint_id}/test", {}))
    assert delivery["status"] == "failed"
    (attempt,) = cast("list[JsonDict]", delivery["attempts"])
    assert (attempt["http_status"], attempt["answer"]) == (500, "out of order")
    assert _read_endpoint(owner, inbox)["failing_since"] is None


def test_while_a_secret_is_rotated_both_sign_and_then_the_new_one_alone(
    owner: Api, origin: Origin
) -> None:
    inbox = open_inbox(owner, origin)
    path = f"{PATH}/{inbox.endpoint_id}"
    old = Webhook(inbox.secret)
    rotated = read_object(owner.post(f"{path}/rotate", {"overlap_s": 60}))
    assert rotated["old_secret_until"] is not None
    new = Webhook(str(rotated["secret"]))
    assert read_object(owner.get(f"{path}/secret"))["secret"] == rotated["secret"]
    stranger = Webhook("whsec_" + "AAAA" * 8)

    read_object(owner.post(f"{path}/test", {}))
    both = inbox.list_requests()[-1]
    assert len(both.headers["webhook-signature"].split()) == 2
    for one in (old, new):
        one.verify(both.body, dict(both.headers))
    with pytest.raises(WebhookVerificationError):
        stranger.verify(both.body, dict(both.headers))
    with pytest.raises(WebhookVerificationError):
        new.verify(both.body.replace(b"test", b"tost"), dict(both.headers))
    stale = {**both.headers, "webhook-timestamp": str(int(both.headers["webhook-timestamp"]) - 600)}
    with pytest.raises(WebhookVerificationError):
        new.verify(both.body, stale)

    refused = owner.post(f"{path}/rotate", {"overlap_s": 60})
    assert (refused.status_code, "overlap_s" in refused.text) == (409, True)
    last = read_object(owner.post(f"{path}/rotate", {"overlap_s": 0}))
    read_object(owner.post(f"{path}/test", {}))
    alone = inbox.list_requests()[-1]
    Webhook(str(last["secret"])).verify(alone.body, dict(alone.headers))
    for gone in (old, new):
        with pytest.raises(WebhookVerificationError):
            gone.verify(alone.body, dict(alone.headers))


def test_the_projects_secret_is_rotated_like_an_endpoints(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    inbox = open_task_inbox(owner, origin)
    rotated = read_object(owner.post("/webhooks/secret/rotate", {}))
    assert read_object(owner.get("/webhooks/secret")) == rotated
    assert owner.post("/webhooks/secret/rotate", {}).status_code == 409
    wait_for_end(owner, create_task(owner, picture_url, webhook_url=inbox.url))
    (told,) = inbox.wait_for("task.completed")
    Webhook(str(rotated["secret"])).verify(told.request.body, dict(told.request.headers))


def test_a_private_receiver_that_got_into_a_row_is_not_asked(
    owner: Api, origin: Origin, database: Database, closed_port: int
) -> None:
    inbox = open_inbox(owner, origin)
    for host in ("127.0.0.2", "localhost.", "[::ffff:127.0.0.2]"):
        with database.transaction() as connection:
            connection.execute(
                update(webhook_endpoints)
                .where(webhook_endpoints.c.id == inbox.endpoint_id)
                .values(url=f"http://{host}:{origin.port + 1 if origin.port < 65535 else 1024}/")
            )
        delivery = read_object(owner.post(f"{PATH}/{inbox.endpoint_id}/test", {}))
        (attempt,) = cast("list[JsonDict]", delivery["attempts"])
        assert cast("JsonDict", attempt["error"])["code"] == "receiver_blocked"


FAILURES = [("http://127.0.0.1:{closed}/", "receiver_unavailable"),
            ("http://nowhere.invalid/", "receiver_dns")]  # fmt: skip


@pytest.mark.parametrize(("url", "code"), FAILURES)
def test_each_way_to_fail_has_its_code(url: str, code: str, owner: Api, closed_port: int) -> None:
    assert _fail(owner, url.format(closed=closed_port)) == code


def test_a_receiver_that_speaks_no_tls_is_told_so(owner: Api, receiver_port: int) -> None:
    def answer(server: socket.socket) -> None:
        # An HTTP server would wait for the end of a line, which not every handshake has.
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"220 plain\r\n")

    with (
        socket.create_server(("127.0.0.1", receiver_port)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        answered = pool.submit(answer, server)
        assert _fail(owner, f"https://127.0.0.1:{receiver_port}/") == "receiver_tls"
        answered.result(10)


def _fail(owner: Api, url: str) -> object:
    made = read_object(owner.post(PATH, {"url": url}), 201)
    delivery = read_object(owner.post(f"{PATH}/{made['id']}/test", {}))
    (attempt,) = cast("list[JsonDict]", delivery["attempts"])
    assert (attempt["http_status"], delivery["status"]) == (None, "failed")
    return cast("JsonDict", attempt["error"])["code"]


def test_what_is_no_http_is_an_invalid_answer(owner: Api, origin: Origin) -> None:
    made = read_object(
        owner.post(PATH, {"url": origin.serve_raw("/inbox/raw", b"220 smtp ready\r\n")}), 201
    )
    delivery = read_object(owner.post(f"{PATH}/{made['id']}/test", {}))
    (attempt,) = cast("list[JsonDict]", delivery["attempts"])
    assert cast("JsonDict", attempt["error"])["code"] == "receiver_invalid"


def test_deliveries_are_found_by_endpoint_event_and_status(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    good = open_inbox(owner, origin, ["task.completed"])
    bad = open_inbox(owner, origin, ["task.completed"], refuse(500))
    wait_for_end(owner, create_task(owner, picture_url))
    (delivered,) = wait_for_status(owner, good, "delivered")
    (failed,) = wait_for_status(owner, bad, "failed")
    event_id = delivered["event_id"]
    assert failed["event_id"] == event_id

    def find(query: str) -> set[object]:
        return {one["id"] for one in read_list(owner.get(f"/webhooks/deliveries?{query}"))[0]}

    both = {delivered["id"], failed["id"]}
    assert find("") == find(f"event_id={event_id}") == both
    assert find("status=failed") == find(f"endpoint_id={bad.endpoint_id}") == {failed["id"]}
    assert find(f"event_id={event_id}&status=delivered") == {delivered["id"]}
    assert find("status=pending") == find("endpoint_id=we_nothing") == set()
    path = f"/webhooks/deliveries/{failed['id']}"
    assert read_object(owner.get(path)) == failed
    # With its endpoint, what was sent there is forgotten; the event is not.
    assert owner.delete(f"{PATH}/{bad.endpoint_id}").status_code == 204
    read_error(owner.get(path), 404, "not_found")
    assert read_object(owner.get(f"/events/{event_id}"))["id"] == event_id

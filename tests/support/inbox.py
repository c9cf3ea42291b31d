"""A receiver of webhooks on an origin of the tests: what came there, verified as receivers do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from standardwebhooks import Webhook

from tests.support.api import Api, JsonDict, read_object
from tests.support.origin import Origin, Reply, Request
from tests.support.waiting import wait_until

TAKEN = Reply(status=204, methods=frozenset({"POST"}))


def refuse(status: int, body: bytes = b"", **headers: str) -> Reply:
    """Return an answer that is no 2xx; underscores of header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=body, headers=named, methods=frozenset({"POST"}))


@dataclass(frozen=True, slots=True)
class Message:
    """One request that came: an attempt at a delivery."""

    id: str
    type: str
    data: JsonDict
    payload: JsonDict
    request: Request


@dataclass(frozen=True, slots=True)
class Inbox:
    """A path of an origin that takes webhooks.

    ``endpoint_id`` and ``secret`` are of its endpoint, where it has one.
    """

    origin: Origin
    url: str
    secret: str
    endpoint_id: str = ""

    @property
    def path(self) -> str:
        """Where it is at its origin."""
        return "/" + self.url.partition("://")[2].partition("/")[2]

    def list_requests(self) -> list[Request]:
        """Return what came, verified or not."""
        return [one for one in self.origin.requests if one.path == self.path]

    def list_messages(self) -> list[Message]:
        """Return what came, in order; each is verified by the published library.

        Raises:
            WebhookVerificationError: one is not from who has the secret.
        """
        return [self._verify(one) for one in self.list_requests()]

    def wait_for(self, *types: str, timeout_s: float = 10) -> list[Message]:
        """Return all that came, once there is one of each type."""

        def look() -> list[Message]:
            found = self.list_messages()
            return found if {one.type for one in found} >= set(types) else []

        return wait_until(look, f"{', '.join(types)} at a receiver", timeout_s)

    def _verify(self, request: Request) -> Message:
        payload = cast("JsonDict", Webhook(self.secret).verify(request.body, dict(request.headers)))
        assert json.loads(request.body) == payload
        headers = {name.lower(): value for name, value in request.headers.items()}
        return Message(
            headers["webhook-id"],
            str(payload["type"]),
            cast("JsonDict", payload["data"]),
            payload,
            request,
        )


def open_inbox(
    api: Api, origin: Origin, topics: Sequence[str] = ("*",), *replies: Reply, **more: object
) -> Inbox:
    """Make an endpoint whose receiver answers so, in turn; 204 without any."""
    url = origin.route(f"/inbox/{uuid4().hex}", *(replies or (TAKEN,)))
    body = {"url": url, "topics": list(topics), **more}
    made = read_object(api.post("/webhooks/endpoints", body), 201)
    return Inbox(origin, url, str(made["secret"]), str(made["id"]))


def open_task_inbox(api: Api, origin: Origin, *replies: Reply) -> Inbox:
    """Return a receiver for the ``webhook_url`` of tasks."""
    secret = read_object(api.get("/webhooks/secret"))["secret"]
    url = origin.route(f"/inbox/{uuid4().hex}", *(replies or (TAKEN,)))
    return Inbox(origin, url, str(secret))


def list_deliveries(api: Api, inbox: Inbox, query: str = "") -> list[JsonDict]:
    """Return the deliveries to an endpoint as the API shows them, newest first."""
    answer = api.get(f"/webhooks/deliveries?endpoint_id={inbox.endpoint_id}&limit=100{query}")
    return cast("list[JsonDict]", answer.json()["data"])


def wait_for_status(api: Api, inbox: Inbox, status: str, timeout_s: float = 10) -> list[JsonDict]:
    """Return the deliveries to an endpoint once there are some and all of them are so."""

    def look() -> list[JsonDict]:
        found = list_deliveries(api, inbox)
        return found if all(one["status"] == status for one in found) else []

    return wait_until(look, f"deliveries to be {status}", timeout_s)

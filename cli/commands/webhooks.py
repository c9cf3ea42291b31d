"""`headrace webhooks listen`: events as they come, for who writes a receiver on this machine.

It asks the API, so nothing has to reach this machine from outside; and it signs with a secret of
its own, so no endpoint has to be made.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import click

from cli.answers import JsonDict
from cli.client import ApiClient, send_webhook
from cli.display import say
from cli.problems import Unreachable
from cli.target import require_target
from ingest.signing import make_secret, sign

_LOOK_EVERY_S = 1.0
_PAGE = 100
# An event may be committed after one that was made later, so those of before are looked at again.
_REMEMBERED = 10_000


@click.group()
def webhooks() -> None:
    """Webhooks: what receivers are told."""


@webhooks.command("listen")
@click.option("--forward", "forward_url", metavar="URL", help="Send each event there, signed.")
@click.option("--secret", metavar="WHSEC", help="Sign with this secret instead of a new one.")
@click.option(
    "--topic", "topics", multiple=True, default=["*"], show_default=True, help="Which events."
)
def listen(*, forward_url: str | None, secret: str | None, topics: tuple[str, ...]) -> None:
    """Print events as they come, a line of JSON each; Ctrl-C ends it."""
    from ingest.errors import FieldInvalid
    from ingest.events import check_topics

    try:
        asked = check_topics(topics)
    except FieldInvalid as error:
        raise click.BadParameter(error.message, param_hint="--topic") from None
    chosen = secret or make_secret()
    target = require_target()
    with ApiClient(target.url, target.key) as client:
        listener = _Listener(client, asked)
        listener.skip_old()
        say(f"Listening to {target.url} for {', '.join(asked)}.")
        if forward_url is not None:
            say(f"Forwarding to {forward_url}, signed with {chosen}")
        while True:
            for event in listener.look():
                body = _make_body(event)
                click.echo(body)
                if forward_url is not None:
                    _forward(forward_url, chosen, str(event["id"]), body)
            time.sleep(_LOOK_EVERY_S)


class _Listener:
    def __init__(self, client: ApiClient, topics: tuple[str, ...]) -> None:
        self._client = client
        self._topics = topics
        self._seen: dict[str, None] = {}
        self._lost = False

    def skip_old(self) -> None:
        """Take what is there already for seen."""
        self._note(self._client.list_events({"limit": _PAGE}).items)

    def look(self) -> list[JsonDict]:
        """Return what is new and asked for, oldest first."""
        try:
            fresh = self._read_fresh()
        except Unreachable as problem:
            if not self._lost:
                say(f"{problem} Trying again.")
            self._lost = True
            return []
        self._lost = False
        self._note(fresh)
        return [one for one in reversed(fresh) if _asks_for(self._topics, str(one["type"]))]

    def _read_fresh(self) -> list[JsonDict]:
        fresh: list[JsonDict] = []
        query: dict[str, str | int] = {"limit": _PAGE}
        while True:
            page = self._client.list_events(query).items
            unseen = [one for one in page if one["id"] not in self._seen]
            fresh += unseen
            # Where all of a page is new, there may be more behind it.
            if len(unseen) < _PAGE:
                return fresh
            query["after"] = str(page[-1]["id"])

    def _note(self, events: list[JsonDict]) -> None:
        self._seen |= {str(one["id"]): None for one in reversed(events)}
        for old in list(self._seen)[:-_REMEMBERED]:
            del self._seen[old]


def _asks_for(topics: tuple[str, ...], event: str) -> bool:
    from ingest.events import EventType, asks_for

    # One that this version does not know yet is shown: whoever listens wants to see.
    return event not in set(EventType) or asks_for(topics, EventType(event))


def _make_body(event: JsonDict) -> str:
    told = {"type": event["type"], "timestamp": event["created"], "data": event["data"]}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _forward(url: str, secret: str, event_id: str, body: str) -> None:
    headers = sign([secret], event_id, datetime.now(UTC), body)
    began = time.monotonic()
    try:
        answer = str(send_webhook(url, headers, body))
    except Unreachable as problem:
        answer = str(problem)
    say(f"{event_id} -> {answer} ({1000 * (time.monotonic() - began):.0f} ms)")

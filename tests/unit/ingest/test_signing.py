"""W6: what is signed is believed by the published library, and nothing else is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from ingest.signing import SECRET_PREFIX, make_secret, sign

BODY = json.dumps({"type": "task.completed", "data": {"name": "Ärger \U0001f39e"}})
ID = "evt_01k9x3v5w8r2m4n6p7q8s9t0v1"


def test_a_secret_has_256_bits_and_no_two_are_alike() -> None:
    first, second = make_secret(), make_secret()
    assert first != second
    assert len(base64.b64decode(first.removeprefix(SECRET_PREFIX), validate=True)) == 32


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
def test_the_published_library_verifies_what_was_signed(zone: timezone) -> None:
    secret = make_secret()
    headers = dict(sign([secret], ID, datetime.now(zone), BODY))
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    assert list(headers) == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert headers["webhook-id"] == ID


def test_while_a_secret_is_changed_either_verifies() -> None:
    old, new = make_secret(), make_secret()
    headers = dict(sign([new, old], ID, datetime.now(UTC), BODY))
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    assert len(headers["webhook-signature"].split()) == 2


def _change(name: str, value: str) -> Callable[[dict[str, str]], object]:
    return lambda headers: headers.update({name: value})


@pytest.mark.parametrize(
    ("spoil", "body"),
    [
        (_change("webhook-id", "evt_other"), BODY),
        (_change("webhook-timestamp", str(int(datetime.now(UTC).timestamp()) - 1)), BODY),
        (_change("webhook-signature", "v1," + base64.b64encode(b"x" * 32).decode()), BODY),
        (_change("webhook-signature", "v2,abc"), BODY),
        (dict.copy, BODY + " "),
        (dict.copy, BODY.replace("completed", "failed")),
    ],
    ids=["id", "time", "signature", "version", "body", "type"],
)
def test_what_was_changed_on_the_way_verifies_no_more(
    spoil: Callable[[dict[str, str]], object], body: str
) -> None:
    secret = make_secret()
    headers = dict(sign([secret], ID, datetime.now(UTC) - timedelta(seconds=5), BODY))
    Webhook(secret).verify(BODY, headers)
    spoil(headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
def test_what_was_signed_long_ago_or_will_be_verifies_no_more(age: timedelta) -> None:
    secret = make_secret()
    headers = dict(sign([secret], ID, datetime.now(UTC) - age, BODY))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers)


def test_another_secret_verifies_nothing() -> None:
    headers = dict(sign([make_secret()], ID, datetime.now(UTC), BODY))
    with pytest.raises(WebhookVerificationError):
        Webhook(make_secret()).verify(BODY, headers)

"""How a delivery is signed: Standard Webhooks 1.0, by its own library.

The signature is over id, time and body, so that none of them can be changed or sent again later.
While a secret is changed, the old and the new one both sign, and a receiver needs either.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret starts with, not a secret
# Between the 24 and the 64 bytes that the specification allows.
_SECRET_BYTES = 32


def make_secret() -> str:
    """Return a new secret, as receivers and the library take it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def sign(
    given: Sequence[str], message_id: str, attempted: datetime, body: str
) -> Mapping[str, str]:
    """Return the headers that say who sent a body, when, and that nobody changed it.

    Args:
        given: the secrets that are good now, the newest first.
        message_id: the same for every attempt, so that a receiver knows a message again.
        attempted: when it is sent, aware; receivers refuse what is five minutes old.
    """
    # The library reads the clock off a time without looking at its zone.
    moment = attempted.astimezone(UTC)
    signatures = [Webhook(secret).sign(message_id, moment, body) for secret in given]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }

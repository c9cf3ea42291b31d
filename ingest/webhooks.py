"""Endpoints of webhooks, what their URLs may be, and what is sent to them.

Invariant: no secret is part of any of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ingest.addresses import classify, read_numeric_host
from ingest.errors import Failure, FieldInvalid
from ingest.outlets import Network, Ports, covers
from ingest.urls import SourceUrl, parse_source_url

_LOCALHOST = re.compile(r"(?:^|\.)localhost$", re.IGNORECASE)


class EndpointStatus(StrEnum):
    """Whether anything is sent to an endpoint."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class DisabledFor(StrEnum):
    """Why nothing is sent: somebody said so, it answered 410, or nothing arrived for days."""

    ASKED = "asked"
    GONE = "gone"
    FAILING = "failing"


class DeliveryStatus(StrEnum):
    """How far a delivery is: it waits for an attempt, has one, has arrived, or is given up."""

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a project is told of its events.

    ``failing_since`` is when nothing arrived for the first time since anything did;
    ``old_secret_until`` is until when the secret before the last signs as well.
    """

    id: str
    project_id: str
    url: str
    topics: tuple[str, ...]
    description: str | None
    metadata: Mapping[str, object] | None
    status: EndpointStatus
    disabled_for: DisabledFor | None
    old_secret_until: datetime | None
    failing_since: datetime | None
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One try. ``answer`` is how the body of the answer began, 1 kB of it at most."""

    number: int
    started: datetime
    duration_ms: int | None
    http_status: int | None
    answer: str | None
    error: Failure | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one receiver: an endpoint, or the ``url`` that a task named.

    ``next_attempt_at`` counts while it is pending.
    """

    id: str
    project_id: str
    event_id: str
    event_type: str
    endpoint_id: str | None
    url: str | None
    status: DeliveryStatus
    attempt: int
    next_attempt_at: datetime
    created: datetime
    finished: datetime | None
    attempts: Sequence[DeliveryAttempt] = ()


@dataclass(frozen=True, slots=True)
class WebhookRules:
    """What the URLs of receivers may be: the settings that say so."""

    takes_http: bool
    ports: Ports
    allowed: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()


def parse_webhook_url(text: str, rules: WebhookRules, *, param: str = "url") -> SourceUrl:
    """Return the URL of a receiver.

    A name is judged where it is connected to, like every address; one that is an address itself, or
    this machine's own (RFC 6761, 6.3), is judged here too, since it will be no other tomorrow.

    Raises:
        FieldInvalid: it is no URL that is taken; the reason is told.
    """
    url = parse_source_url(text, param=param)
    if url.scheme != "https" and not rules.takes_http:
        raise FieldInvalid(f"'{param}' must be an https URL.", param=param)
    literal = f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"
    if literal in rules.allowed:
        return url
    if not any(url.port in one for one in rules.ports):
        raise FieldInvalid(
            f"'{param}' leads to port {url.port}, which is not let through.", param=param
        )
    address = read_numeric_host(url.host)
    if address is not None:
        verdict = classify(address)
        if not verdict.allowed and not covers(rules.networks, str(address)):
            raise FieldInvalid(
                f"'{param}' leads to an address that is not public ({verdict.reason}).", param=param
            )
    elif _LOCALHOST.search(url.host.removesuffix(".")):
        raise FieldInvalid(
            f"'{param}' leads to an address that is not public (loopback).", param=param
        )
    return url

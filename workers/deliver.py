"""One delivery, from its wake-up to what is written down of it: claim, send, record.

Invariants: the database decides whether there is anything to send; a receiver is asked through the
one door, at an address that was judged, and followed nowhere; whatever comes of it, the attempt is
written down, or its lease runs out and the sweep does it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

import structlog

from ingest.config import Settings
from ingest.delivering import Plan, parse_delays, plan_next
from ingest.errors import (
    AddressBlocked,
    DatabaseUnavailable,
    DeliveryError,
    FieldInvalid,
    IngestError,
    InternalError,
    ReceiverBlocked,
    ReceiverDns,
    ReceiverInvalid,
    ReceiverRefused,
    ReceiverTimeout,
    ReceiverTls,
    ReceiverUnavailable,
    RedisUnavailable,
    SecretUnreadable,
    SourceDns,
    SourceInvalid,
    SourceTimeout,
    SourceTls,
)
from ingest.events import EventType
from ingest.logs import get_logger
from ingest.model import File
from ingest.payloads import build_payload
from ingest.resources import FileResource, show_file
from ingest.retry import parse_retry_after
from ingest.signing import sign
from ingest.webhooks import parse_webhook_url
from storage.records import sending
from storage.records.database import Database
from storage.records.sending import Claimed, Outcome
from storage.sealing import Sealer
from storage.signals import Signals
from workers.egress import Answer, Egress
from workers.holding import Holding
from workers.metrics import SenderMetrics

_HEADERS = {"content-type": "application/json", "user-agent": "Headrace/0.1"}
# Of an answer's body, what is kept.
_KEPT_BYTES = 1024
_WRITE_EVERY_S = 0.5
# A test is sent while somebody waits for what comes of it.
_ONE_ATTEMPT = (0.0,)
# What the door says of a source, said of a receiver.
_RECEIVERS: Mapping[type[IngestError], type[DeliveryError]] = MappingProxyType(
    {
        AddressBlocked: ReceiverBlocked,
        SourceDns: ReceiverDns,
        SourceInvalid: ReceiverInvalid,
        SourceTimeout: ReceiverTimeout,
        SourceTls: ReceiverTls,
    }
)


@dataclass(frozen=True, slots=True)
class SenderTools:
    """Everything a delivery works with, built once a process."""

    settings: Settings
    database: Database
    signals: Signals
    egress: Egress
    sealer: Sealer
    holding: Holding
    metrics: SenderMetrics


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a receiver answered, or why it did not."""

    status: int | None = None
    answer: str | None = None
    retry_after_s: float | None = None
    error: DeliveryError | SecretUnreadable | InternalError | None = None


class Deliverer:
    """Sends deliveries. Safe to use from several threads.

    Args:
        now: the time, aware, as receivers read it.
        clock: seconds, never running backwards.
    """

    def __init__(
        self,
        tools: SenderTools,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools
        self._delays_s = parse_delays(tools.settings.webhook_delays_s)
        self._lease_s = tools.settings.webhook_lease_s
        self._now = now
        self._clock = clock

    def deliver(self, delivery_id: str) -> None:
        """Make one attempt at a delivery, if one is due.

        Raises:
            DatabaseUnavailable: it was not claimed; it is woken again.
        """
        tools, asked = self._tools, self._clock()
        with tools.database.transaction() as connection:
            claimed = sending.claim(connection, delivery_id, tools.holding.sender, self._lease_s)
        if claimed is None:
            return
        with (
            structlog.contextvars.bound_contextvars(
                delivery_id=claimed.id, event_id=claimed.event.id, attempt=claimed.attempt
            ),
            tools.holding.hold(claimed.id, claimed.attempt),
            tools.metrics.running.track_inprogress(),
        ):
            began = self._clock()
            seen = self._attempt(claimed)
            took_s = self._clock() - began
            self._finish(claimed, seen, took_s, asked + self._lease_s)

    def _attempt(self, claimed: Claimed) -> _Seen:
        tools, settings = self._tools, self._tools.settings
        try:
            url = parse_webhook_url(claimed.url, settings.webhook_rules)
            secrets = self._open_secrets(claimed)
            body = build_payload(claimed.event, self._show_file)
            signed = sign(secrets, claimed.event.id, self._now(), body)
            answer = tools.egress.post(
                url, {**_HEADERS, **signed}, body.encode(), limit_s=settings.webhook_timeout_s
            )
        except FieldInvalid as error:
            # The operator's rules are others than on the day when it was taken.
            return _Seen(error=ReceiverBlocked(error.message))
        except SecretUnreadable as error:
            return _Seen(error=error)
        except IngestError as error:
            return _Seen(error=_RECEIVERS.get(type(error), ReceiverUnavailable)(error.message))
        except Exception:  # noqa: BLE001 - written down, or it would look like a lost sender
            get_logger(__name__).exception("delivery.broke")
            return _Seen(error=InternalError("Headrace failed; its log has the reason."))
        try:
            return self._judge(answer)
        finally:
            answer.close()

    def _open_secrets(self, claimed: Claimed) -> Sequence[str]:
        sealed, sealer = claimed.secrets, self._tools.sealer
        opened = [sealer.open(sealed.newest).decode()]
        try:
            opened += [sealer.open(sealed.old).decode()] if sealed.old is not None else []
        except SecretUnreadable:
            # Whoever rotates because of that must not wait until the old one has ended.
            get_logger(__name__).warning("delivery.old_secret_unreadable")
        return opened

    def _judge(self, answer: Answer) -> _Seen:
        status = answer.status
        error = None
        if not 200 <= status < 300:
            moved = ", and redirects are not followed" if 300 <= status < 400 else ""
            error = ReceiverRefused(f"The receiver answered {status}{moved}.")
        wait_s = parse_retry_after(answer.headers.get("Retry-After", ""), self._now())
        return _Seen(status, _read_beginning(answer), wait_s, error)

    def _finish(self, claimed: Claimed, seen: _Seen, took_s: float, ends: float) -> None:
        log, tools = get_logger(__name__), self._tools
        is_test = claimed.event.type is EventType.WEBHOOK_TEST
        plan = plan_next(
            seen.status,
            claimed.tries,
            _ONE_ATTEMPT if is_test else self._delays_s,
            retry_after_s=seen.retry_after_s,
        )
        outcome = Outcome(
            duration_ms=round(1000 * took_s),
            http_status=seen.status,
            answer=seen.answer,
            error=None if seen.error is None else seen.error.as_failure(),
            was_asked=not isinstance(seen.error, (SecretUnreadable, InternalError)),
        )
        result = "delivered" if seen.error is None else seen.error.code
        tools.metrics.attempts.labels(result).inc()
        tools.metrics.seconds.observe(took_s)
        if not self._record(claimed, outcome, plan, ends):
            log.warning("delivery.lease_lost", result=result)
            return
        log.info(
            "delivery.sent",
            result=result,
            status=seen.status,
            duration_ms=outcome.duration_ms,
            retry_after_s=None if plan.retry_after_s is None else round(plan.retry_after_s, 1),
        )
        try:
            if is_test:
                tools.signals.announce_sent(claimed.id)
            # Another of the same receiver may have waited for this place.
            tools.signals.nudge_webhooks()
        except RedisUnavailable:
            log.debug("delivery.unannounced")

    def _record(self, claimed: Claimed, outcome: Outcome, plan: Plan, ends: float) -> bool:
        """Write an attempt down, again and again while the database is silent and the lease lasts.

        A commit that was not answered may have been done; then the lease is gone, and with it
        nothing but this process's knowledge of that.
        """
        pause = threading.Event()
        while True:
            try:
                with self._tools.database.transaction() as connection:
                    return sending.record(
                        connection, claimed, outcome, plan, longest_delay_s=max(self._delays_s)
                    )
            except DatabaseUnavailable:
                if self._clock() + _WRITE_EVERY_S > ends:
                    return False
                get_logger(__name__).warning("delivery.write_put_off")
                pause.wait(_WRITE_EVERY_S)

    def _show_file(self, file: File) -> FileResource:
        settings = self._tools.settings
        own = f"{settings.api_url or f'http://{settings.api_bind}'}/delivery"
        return show_file(file, own, settings.delivery_url)


def _read_beginning(answer: Answer) -> str:
    """Return how the body begins; its status is known, so whatever ends it is no failure."""
    buffer = memoryview(bytearray(_KEPT_BYTES))
    have = 0
    try:
        while have < _KEPT_BYTES and (count := answer.read_into(buffer[have:])):
            have += count
    except IngestError:
        get_logger(__name__).debug("delivery.answer_cut")
    text = bytes(buffer[:have]).decode(errors="replace")
    return "".join(one if one.isprintable() or one in "\n\t" else "?" for one in text)

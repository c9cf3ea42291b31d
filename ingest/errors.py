"""Every failure Headrace can name, as one tree.

A failure is told by its class and its ``code``, never by matching text. ``retryable`` says whether
the same attempt may succeed later without anybody changing anything; ``http_status`` is what the
API answers when the failure belongs to the request itself. A failed ingest answers 422 with the
task's error whatever its class (docs/api.md).

The tree (a test keeps this drawing and the classes equal)::

    HeadraceError
      ConfigError              config_invalid
      RequestError
        BodyInvalid            body_invalid
        BodyTooLarge           body_too_large
        ConflictError          conflict
        FieldInvalid           field_invalid
        Forbidden              forbidden
        IdempotencyInFlight    idempotency_in_flight
        IdempotencyMismatch    idempotency_mismatch
        MediaTypeUnsupported   media_type_unsupported
        MethodNotAllowed       method_not_allowed
        NotFound               not_found
        RateLimited            rate_limited
        Unauthorized           unauthorized
      IngestError
        AddressBlocked         address_blocked
        AttemptsExhausted      attempts_exhausted
        Cancelled              cancelled
        ChecksumMismatch       checksum_mismatch
        FileExists             file_exists
        InternalError          internal_error
        LeaseLost              lease_lost
        ProbeFailed            probe_failed
        QuotaExceeded          quota_exceeded
        SecretUnreadable       secret_unreadable
        SourceChanged          source_changed
        SourceDns              source_dns
        SourceEmpty            source_empty
        SourceForbidden        source_forbidden
        SourceInvalid          source_invalid
        SourceNotFound         source_not_found
        SourceNotMedia         source_not_media
        SourceTimeout          source_timeout
        SourceTls              source_tls
        SourceTooLarge         source_too_large
        SourceTooSlow          source_too_slow
        SourceTruncated        source_truncated
        SourceUnavailable      source_unavailable
        WorkerStopped          worker_stopped
      DeliveryError
        ReceiverBlocked        receiver_blocked
        ReceiverDns            receiver_dns
        ReceiverInvalid        receiver_invalid
        ReceiverRefused        receiver_refused
        ReceiverTimeout        receiver_timeout
        ReceiverTls            receiver_tls
        ReceiverUnavailable    receiver_unavailable
        SenderLost             sender_lost
        SenderStopped          sender_stopped
      ServiceError
        DatabaseUnavailable    database_unavailable
        RedisUnavailable       redis_unavailable
        StorageUnavailable     storage_unavailable
        UploadLost             upload_lost
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

_LONGEST_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is kept in a row and shown in JSON."""

    code: str
    message: str
    retryable: bool


class HeadraceError(Exception):
    """Base of the tree.

    Args:
        message: one sentence for the person who has to act on it. No secrets, no query strings.
        param: the request field at fault, if one is.
        retry_after_s: how long to wait before trying again, in seconds, where somebody said.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    http_status: ClassVar[int] = 500

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def as_failure(self) -> Failure:
        """Return what a row or an answer keeps of this error.

        A message may quote a source: what cannot be stored or shown is replaced, and it is cut.
        """
        shown = "".join(char if char.isprintable() else "?" for char in self.message)
        return Failure(self.code, shown[:_LONGEST_MESSAGE], self.retryable)


class ConfigError(HeadraceError):
    """A setting is missing, malformed, or contradicts another."""

    code = "config_invalid"


class RequestError(HeadraceError):
    """The request is at fault; sending it again unchanged gives the same answer."""

    http_status = 400


class BodyInvalid(RequestError):
    """The body is not JSON, not a JSON object, or no list of the form it is sent as."""

    code = "body_invalid"


class BodyTooLarge(RequestError):
    """The body is longer than the API reads."""

    code = "body_too_large"
    http_status = 413


class ConflictError(RequestError):
    """The request contradicts the state of the resource."""

    code = "conflict"
    http_status = 409


class FieldInvalid(RequestError):
    """A field is missing, unknown, of the wrong type, or has a value Headrace does not take."""

    code = "field_invalid"
    http_status = 422


class Forbidden(RequestError):
    """The key is valid and has not the scope that this takes."""

    code = "forbidden"
    http_status = 403


class IdempotencyInFlight(RequestError):
    """A request with this Idempotency-Key is being answered at this moment."""

    code = "idempotency_in_flight"
    http_status = 409


class IdempotencyMismatch(RequestError):
    """The Idempotency-Key was sent with another request before."""

    code = "idempotency_mismatch"
    http_status = 422


class MediaTypeUnsupported(RequestError):
    """The body's Content-Type is not application/json."""

    code = "media_type_unsupported"
    http_status = 415


class MethodNotAllowed(RequestError):
    """The path exists and does not take this method."""

    code = "method_not_allowed"
    http_status = 405


class NotFound(RequestError):
    """No such resource in this project. Another project's id answers exactly the same."""

    code = "not_found"
    http_status = 404


class RateLimited(RequestError):
    """The key has made as many requests as it may for now."""

    code = "rate_limited"
    http_status = 429


class Unauthorized(RequestError):
    """No key, a wrong key, a revoked key and one that has ended get this one answer."""

    code = "unauthorized"
    http_status = 401


class IngestError(HeadraceError):
    """An attempt to ingest failed; kept in the task as its error."""

    http_status = 422


class AddressBlocked(IngestError):
    """The source is at an address, or a port, that Headrace does not connect to."""

    code = "address_blocked"


class AttemptsExhausted(IngestError):
    """The worker was lost on every attempt the task had."""

    code = "attempts_exhausted"


class Cancelled(IngestError):
    """Somebody cancelled the task."""

    code = "cancelled"


class ChecksumMismatch(IngestError):
    """The bytes that arrived do not have the checksum the request named."""

    code = "checksum_mismatch"


class FileExists(IngestError):
    """The name is taken, by a file or by a task that will make one."""

    code = "file_exists"
    http_status = 409


class InternalError(IngestError):
    """A fault of Headrace's own. The log has the traceback under its id."""

    code = "internal_error"
    retryable = True


class LeaseLost(IngestError):
    """The worker fell silent, or another attempt owns the task now; it writes nothing more."""

    code = "lease_lost"
    retryable = True


class ProbeFailed(IngestError):
    """ffprobe could not read what was stored as the media it looked like."""

    code = "probe_failed"


class QuotaExceeded(IngestError):
    """The project stores as many bytes as it may."""

    code = "quota_exceeded"
    http_status = 403


class SecretUnreadable(IngestError):
    """The task's headers, or the secret that signs a delivery, were sealed with a key that
    HEADRACE_SECRET_KEYS holds no more."""

    code = "secret_unreadable"


class SourceChanged(IngestError):
    """The source is not the file any more that an earlier attempt had read a part of."""

    code = "source_changed"
    retryable = True


class SourceDns(IngestError):
    """The source's host name did not resolve."""

    code = "source_dns"
    retryable = True


class SourceEmpty(IngestError):
    """The source answered with no bytes at all."""

    code = "source_empty"


class SourceForbidden(IngestError):
    """The source answered 401, 402, 403, 407, 451, or 400 to a signed URL past its end; or no
    connection reads it (any more)."""

    code = "source_forbidden"


class SourceInvalid(IngestError):
    """The source's answer breaks HTTP, or is in a form that was not asked for."""

    code = "source_invalid"


class SourceNotFound(IngestError):
    """The source answered 404 or 410."""

    code = "source_not_found"


class SourceNotMedia(IngestError):
    """The content is not a video, an audio or an image file that Headrace takes."""

    code = "source_not_media"


class SourceTimeout(IngestError):
    """The source did not connect, answer or finish within its limit."""

    code = "source_timeout"
    retryable = True


class SourceTls(IngestError):
    """The source's certificate or TLS handshake was refused."""

    code = "source_tls"


class SourceTooLarge(IngestError):
    """The source is longer than the request or the settings allow."""

    code = "source_too_large"


class SourceTooSlow(IngestError):
    """The source stayed below the lowest speed for a whole window."""

    code = "source_too_slow"
    retryable = True


class SourceTruncated(IngestError):
    """The body ended before the length that was announced."""

    code = "source_truncated"
    retryable = True


class SourceUnavailable(IngestError):
    """The source refused the connection, reset it, or answered 408, 425, 429 or 5xx; or the store
    of a connection takes its key no more."""

    code = "source_unavailable"
    retryable = True


class WorkerStopped(IngestError):
    """The worker was told to stop; another one goes on, and no attempt is charged."""

    code = "worker_stopped"
    retryable = True


class DeliveryError(HeadraceError):
    """An attempt to deliver an event failed; kept in the attempt, and tried again by the schedule
    (:mod:`ingest.delivering`)."""

    retryable = True


class ReceiverBlocked(DeliveryError):
    """The receiver is at an address, or a port, that Headrace does not connect to."""

    code = "receiver_blocked"


class ReceiverDns(DeliveryError):
    """The receiver's host name did not resolve."""

    code = "receiver_dns"


class ReceiverInvalid(DeliveryError):
    """The receiver's answer is no HTTP."""

    code = "receiver_invalid"


class ReceiverRefused(DeliveryError):
    """The receiver answered, and not with 2xx; redirects are not followed."""

    code = "receiver_refused"


class ReceiverTimeout(DeliveryError):
    """The receiver did not connect or answer within its limit."""

    code = "receiver_timeout"


class ReceiverTls(DeliveryError):
    """The receiver's certificate or TLS handshake was refused."""

    code = "receiver_tls"


class ReceiverUnavailable(DeliveryError):
    """The receiver refused the connection, or broke it before it answered."""

    code = "receiver_unavailable"


class SenderLost(DeliveryError):
    """The sender fell silent; whether the receiver has it is not known."""

    code = "sender_lost"


class SenderStopped(DeliveryError):
    """The sender was told to stop; another one sends it, and no attempt is charged."""

    code = "sender_stopped"


class ServiceError(HeadraceError):
    """A server Headrace stands on does not answer."""

    retryable = True
    http_status = 503

    def __init__(
        self, message: str, *, param: str | None = None, retry_after_s: float | None = 2.0
    ) -> None:
        super().__init__(message, param=param, retry_after_s=retry_after_s)


class DatabaseUnavailable(ServiceError):
    """PostgreSQL does not answer."""

    code = "database_unavailable"


class RedisUnavailable(ServiceError):
    """Redis does not answer."""

    code = "redis_unavailable"


class StorageUnavailable(ServiceError):
    """The object store does not answer, or refuses the operation."""

    code = "storage_unavailable"


class UploadLost(ServiceError):
    """The object store no longer has an upload, or a part of it; the file starts again."""

    code = "upload_lost"

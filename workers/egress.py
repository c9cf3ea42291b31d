"""The one door: every request to the outside is made here, over connections of :mod:`.dialing`.

No proxy, no cookie, no netrc, nothing of the process's environment takes part; a request goes out
as it was written, and nothing is followed. Every wait on the network ends: the watchdog sees to it.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingest.errors import (
    IngestError,
    SourceInvalid,
    SourceTimeout,
    SourceTls,
    SourceTruncated,
    SourceUnavailable,
)
from ingest.urls import SourceUrl
from storage.http1.bodies import Body
from storage.http1.connection import Connection
from storage.http1.errors import EndedEarly, HttpError, Malformed, NoAnswer
from storage.http1.heads import Head
from storage.http1.pool import Pool
from workers.dialing import Dialer, Endpoint, Policy, explain_tls
from workers.watchdog import Call, Cancellation, Watchdog

__all__ = ["Answer", "Egress", "Endpoint", "Policy"]

# What comes on a kept connection may be the end of another answer as well.
_MAY_BE_IDLENESS = (
    NoAnswer,
    Malformed,
    ConnectionError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)


class Answer:
    """An HTTP answer whose body is read piece by piece and never decoded. Close it, always."""

    def __init__(
        self,
        url: SourceUrl,
        head: Head,
        body: Body,
        connection: Connection,
        call: Call,
        egress: Egress,
        ends: float | None = None,
    ) -> None:
        self.url = url
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._head = head
        self._body = body
        self._connection: Connection | None = connection
        self._call = call
        self._egress = egress
        self._ends = ends

    def list_header(self, name: str) -> list[str]:
        """Return every value of a header that was sent, apart, in order."""
        return self._head.headers.list_values(name)

    def read_into(self, view: memoryview) -> int:
        """Read what has arrived into memory, no more than fits; 0 at the end of the body.

        Raises:
            SourceTruncated: the connection ended before the body did.
            SourceTimeout: no byte of the body came for the read timeout.
            SourceInvalid: what ends the body is no HTTP.
            SourceUnavailable: the connection broke, or the call was cancelled.
        """
        _check_wanted(self._call)
        limit_s = self._egress.policy.read_timeout_s
        if self._ends is not None:
            limit_s = min(limit_s, self._ends - time.monotonic())
        self._call.allow(limit_s)
        try:
            count = self._body.read_into(view)
        except (HttpError, OSError) as error:
            raise self._explain(error) from error
        finally:
            self._call.pause()
        # A connection that was shut down looks like the end of a body without a length.
        _check_wanted(self._call)
        if not count and self._call.expired:
            raise SourceTimeout("The source stopped sending.")
        if self._body.ended:
            # Others may use the connection while this file is probed and stored.
            self.close()
        return count

    def close(self) -> None:
        """Give the connection up; one whose body was read to its end is kept for others."""
        connection, self._connection = self._connection, None
        if connection is not None:
            is_open = self._head.keeps_open and self._body.leaves_open
            self._egress.leave(self.url, connection, self._call, is_open=is_open)

    def _explain(self, error: HttpError | OSError) -> IngestError:
        if self._call.aborted:
            return _give_up()
        if self._call.expired or isinstance(error, TimeoutError):
            return SourceTimeout("The source stopped sending.")
        if isinstance(error, EndedEarly):
            return SourceTruncated("The source ended before its body did.")
        if isinstance(error, Malformed):
            return SourceInvalid(f"The source's body does not end in HTTP: {error}.")
        return SourceUnavailable("The connection to the source broke.")


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: SourceUrl
    headers: Mapping[str, str]
    body: memoryview | None = None
    # By the monotonic clock; None: each wait has its own limit.
    ends: float | None = None


class Egress:
    """Sends requests to the outside under a :class:`Policy`.

    Args:
        policy: addresses and time limits.
        pool_size: idle connections kept for each host.
        most_hosts: for how many they are kept: those that were asked last. One that others have
            pushed out keeps none, and one in use then is closed when it has served.
        judge: looks at each answer before it is given out, and may refuse it with an error.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        pool_size: int = 8,
        most_hosts: int = 8,
        judge: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        self.policy = policy
        self._judge = judge
        self._watchdog = Watchdog()
        self._dialer = Dialer(policy)
        self._idle = Pool(pool_size, most_hosts)

    def get(
        self, url: SourceUrl, headers: Mapping[str, str], cancellation: Cancellation | None = None
    ) -> Answer:
        """Send one GET, follow nothing, and return once the answer's head is there.

        Args:
            cancellation: ends the wait for the head and for each piece of the body; connecting
                ends by its own limit.

        Raises:
            AddressBlocked: the host is, or resolves to, an address that is not public.
            SourceDns: the host does not resolve, or not in time.
            SourceTls: the certificate or the handshake was refused.
            SourceTimeout: no connection or no whole head of an answer in time.
            SourceInvalid: the answer is no HTTP.
            SourceUnavailable: the connection was refused or broke, or the call was cancelled.
            IngestError: what the judge says.
        """
        call = self._watchdog.open()
        try:
            if cancellation is not None:
                cancellation.cover(call)
            _check_wanted(call)
            call.allow(self.policy.connect_timeout_s + self.policy.read_timeout_s)
            answer = self._send(_Request("GET", url, headers), call)
        except BaseException:
            self._watchdog.forget(call)
            raise
        try:
            self._judge(answer)
        except BaseException:
            answer.close()
            raise
        return answer

    def post(
        self, url: SourceUrl, headers: Mapping[str, str], body: bytes, *, limit_s: float
    ) -> Answer:
        """Send one POST, follow nothing, and return once the answer's head is there.

        One that a kept connection lost is sent again, so it may arrive twice.

        Args:
            headers: without those that frame the body.
            limit_s: for all of it, the answer's body included.

        Raises:
            IngestError: as for :meth:`get`, but for the judge, which looks at sources.
        """
        call = self._watchdog.open()
        ends = time.monotonic() + limit_s
        framed = {**headers, "Content-Length": str(len(body))}
        try:
            call.allow(limit_s)
            return self._send(_Request("POST", url, framed, memoryview(body), ends), call)
        except BaseException:
            self._watchdog.forget(call)
            raise

    def leave(self, url: SourceUrl, connection: Connection, call: Call, *, is_open: bool) -> None:
        """Keep a connection for others, or close it; :meth:`Answer.close` does it."""
        # From here on nobody may cut it off in this call's name.
        self._watchdog.forget(call)
        if is_open and not (call.aborted or call.expired):
            self._idle.give(_name_server(url), connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close every pooled connection."""
        self._idle.close()
        self._watchdog.stop()

    def _send(self, request: _Request, call: Call) -> Answer:
        url = request.url
        try:
            kept = self._idle.take(_name_server(url))
            if kept is not None:
                try:
                    return self._ask(request, kept, call)
                except _MAY_BE_IDLENESS:
                    # Servers close what lies idle, be it at the moment when it is used again.
                    if call.aborted or call.expired:
                        raise
            return self._ask(request, self._dialer.dial(url, call), call)
        except (HttpError, OSError) as error:
            raise self._explain(url, error, call) from error
        finally:
            call.pause()

    def _ask(self, request: _Request, connection: Connection, call: Call) -> Answer:
        url = request.url
        fields = [("Host", url.authority), *request.headers.items()]
        try:
            call.attach(connection.socket)
            head, body = connection.ask(request.method, url.target, fields, request.body)
        except BaseException:
            call.detach()
            connection.close()
            raise
        return Answer(url, head, body, connection, call, self, request.ends)

    def _explain(self, url: SourceUrl, error: HttpError | OSError, call: Call) -> IngestError:
        host = self.policy.name(url.host)
        if call.aborted:
            return _give_up()
        if call.expired or isinstance(error, TimeoutError):
            return SourceTimeout(f"'{host}' did not answer in time.")
        if isinstance(error, ssl.SSLError):
            why = explain_tls(error, is_host_told=self.policy.only is None)
            return SourceTls(f"TLS with '{host}' failed: {why}.")
        if isinstance(error, Malformed):
            return SourceInvalid(f"'{host}' did not answer in HTTP: {error}.")
        return SourceUnavailable(f"The connection to '{host}' broke.")


def _name_server(url: SourceUrl) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port


def _check_wanted(call: Call) -> None:
    if call.aborted:
        raise _give_up()


def _give_up() -> SourceUnavailable:
    return SourceUnavailable("The connection to the source was given up.")

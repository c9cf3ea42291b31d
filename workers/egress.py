"""The one door: every connection to the outside is made here.

A host name is resolved once; every address it has is judged (:mod:`ingest.addresses`); the
connection goes to an address that was judged, never to the name again, and the peer is checked once
it stands. So neither DNS rebinding nor a redirect nor an odd spelling gets past. No proxy, no
cookie, no netrc, nothing of the process's environment takes part: requests are handed straight to
the adapter. Every wait on the network ends: the watchdog sees to it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    HeaderParsingError,
    HTTPError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util.response import assert_header_parsing

from ingest.addresses import classify, may_be_server
from ingest.errors import (
    AddressBlocked,
    IngestError,
    SourceDns,
    SourceInvalid,
    SourceTimeout,
    SourceTls,
    SourceTruncated,
    SourceUnavailable,
)
from ingest.logs import get_logger
from ingest.urls import SourceUrl
from workers.framing import StrictResponse
from workers.resolving import Resolver
from workers.watchdog import Call, Cancellation, Watchdog

_LAST_BYTES = 16 * 1024
_REFUSED = "the handshake was refused"
_UNTRUSTED = "the certificate is not trusted"
_UNTIMELY = "the certificate is not valid at this time"
_MISNAMED = "the certificate is for another name"
# OpenSSL's x509_vfy.h: not yet valid, expired, another name, another address.
_VERIFY_CODES = {9: _UNTIMELY, 10: _UNTIMELY, 62: _MISNAMED, 64: _MISNAMED}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server of the operator's: its host and port, and what users may know it as."""

    host: str
    port: int
    name: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What the door lets through, and how long it waits.

    ``allowed`` holds ``ip:port`` exceptions, exact; ``ca_file`` replaces certifi's bundle. With
    ``only`` nothing but that server is connected to, wherever its name leads; but where no server
    is (metadata, link-local, multicast, unspecified), only if its host is that very address.
    """

    connect_timeout_s: float
    read_timeout_s: float
    allowed: frozenset[str] = frozenset()
    ca_file: Path | None = None
    only: Endpoint | None = None

    def name(self, host: str) -> str:
        """Return what a host is called in errors, which users read."""
        return host if self.only is None else self.only.name


class Answer:
    """An HTTP answer whose body is read piece by piece and never decoded. Close it, always."""

    def __init__(
        self, url: SourceUrl, response: requests.Response, call: Call, egress: Egress
    ) -> None:
        self.url = url
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        # Kept whole: dropping the Response while its raw stream is read ends the stream silently.
        self._response = response
        self._call = call
        self._egress = egress

    def list_header(self, name: str) -> list[str]:
        """Return every value of a header that was sent, apart, in order."""
        return list(self._response.raw.headers.getlist(name))

    def read_into(self, view: memoryview) -> int:
        """Read what has arrived into memory, no more than fits; 0 at the end of the body.

        Raises:
            SourceTruncated: the connection ended before the body did.
            SourceTimeout: no byte of the body came for the read timeout.
            SourceUnavailable: the connection broke, or the call was cancelled.
        """
        _check_wanted(self._call)
        self._call.allow(self._egress.policy.read_timeout_s)
        try:
            count = _read_body(self._response.raw, view)
        except (HTTPError, OSError) as error:
            raise self._explain(error) from error
        finally:
            self._call.pause()
        # A connection that was shut down looks like the end of a body without a length.
        _check_wanted(self._call)
        if not count and self._call.expired:
            raise SourceTimeout("The source stopped sending.")
        return count

    def close(self) -> None:
        """Give the connection up; one that was read to its end goes back to the pool."""
        self._egress.forget(self._call)
        self._response.close()

    def _explain(self, error: HTTPError | OSError) -> IngestError:
        if self._call.aborted:
            return _give_up()
        if self._call.expired or isinstance(error, (ReadTimeoutError, TimeoutError)):
            return SourceTimeout("The source stopped sending.")
        # Python's parser tells no malformed chunk from one that is not there.
        if any(isinstance(one, IncompleteRead) for one in (error, error.__cause__)):
            return SourceTruncated("The source ended before its body did.")
        return SourceUnavailable("The connection to the source broke.")


class Egress:
    """Sends GET requests to the outside under a :class:`Policy`.

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
        self._current = _Current()
        self._adapter = _GuardedAdapter(policy, self._current, pool_size, most_hosts)

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
            response = self._send(url, headers, call)
            _check_head(response)
        except BaseException:
            self.forget(call)
            raise
        answer = Answer(url, response, call, self)
        try:
            self._judge(answer)
        except BaseException:
            answer.close()
            raise
        return answer

    def forget(self, call: Call) -> None:
        """Look after a call no longer; :meth:`Answer.close` does it."""
        self._watchdog.forget(call)

    def close(self) -> None:
        """Close every pooled connection."""
        self._adapter.close()
        self._watchdog.stop()

    def _send(self, url: SourceUrl, headers: Mapping[str, str], call: Call) -> requests.Response:
        request = requests.PreparedRequest()
        request.method = "GET"
        request.url = str(url)
        request.headers = _Headers({"Host": url.authority, **headers}, url.target)
        request.hooks = {}
        timeouts = (self.policy.connect_timeout_s, self.policy.read_timeout_s)
        verify = True if self.policy.ca_file is None else str(self.policy.ca_file)
        self._current.call = call
        call.allow(sum(timeouts))
        try:
            return self._adapter.send(request, stream=True, timeout=timeouts, verify=verify)
        except (requests.exceptions.RequestException, HTTPError) as error:
            if call.aborted:
                raise _give_up() from error
            raise _explain_failure(self.policy, url.host, error, late=call.expired) from error
        finally:
            call.pause()
            self._current.call = None


# `Any` is urllib3's response as requests hands it over.
def _read_body(raw: Any, view: memoryview) -> int:
    """Read once from the wire, straight into memory where the body's length is its frame."""
    head = raw._original_response  # noqa: SLF001 - http.client's own; urllib3 copies what it reads
    left: int | None = raw.length_remaining
    # urllib3 must see the end of a body itself, to take the connection back.
    if left is not None and left > _LAST_BYTES and not head.chunked and head.length == left:
        count: int = head.fp.readinto1(view[: left - _LAST_BYTES])
        head.length -= count
        raw.length_remaining -= count
        return count
    piece: bytes = raw.read1(len(view), decode_content=False) or b""
    view[: len(piece)] = piece
    return len(piece)


def _check_wanted(call: Call) -> None:
    if call.aborted:
        raise _give_up()


def _give_up() -> SourceUnavailable:
    return SourceUnavailable("The connection to the source was given up.")


def _explain_failure(policy: Policy, host: str, error: Exception, *, late: bool) -> IngestError:
    host = policy.name(host)
    if late or isinstance(error, requests.exceptions.Timeout):
        return SourceTimeout(f"'{host}' did not answer in time.")
    if isinstance(error, requests.exceptions.SSLError):
        why = _explain_tls(error, is_host_told=policy.only is None).removesuffix(".")
        return SourceTls(f"TLS with '{host}' failed: {why}.")
    if isinstance(error, requests.exceptions.InvalidHeader):
        return SourceInvalid("The source sent contradicting lengths.")
    if isinstance(error, requests.exceptions.RequestException) and not _breaks_http(error):
        return SourceUnavailable(f"The connection to '{host}' broke.")
    return SourceInvalid(f"'{host}' did not answer in HTTP.")


def _breaks_http(error: BaseException) -> bool:
    """Return whether Python's parser gave up on what the source sent."""
    if isinstance(error, HTTPException):
        # An end before the first byte is a connection that broke.
        return not isinstance(error, ConnectionError)
    return any(_breaks_http(one) for one in error.args if isinstance(one, BaseException))


def _check_head(response: requests.Response) -> None:
    # After a line that is no header, Python's parser drops all others without a word.
    head = getattr(response.raw, "_original_response", None)
    try:
        if head is not None:
            assert_header_parsing(head.msg)
    except HeaderParsingError as error:
        response.close()
        raise SourceInvalid("The source sent a malformed header.") from error


class _Current(threading.local):
    """The call that this thread is making, for the connection it ends up on."""

    call: Call | None = None


class _Headers(CaseInsensitiveDict[str]):
    """Headers that carry the request target past requests and urllib3.

    Both would tidy it up (hex digits in upper case, an empty query dropped, brackets encoded), and
    a signature covers the URL as it was written.
    """

    def __init__(self, values: Mapping[str, str], target: str) -> None:
        super().__init__(values)
        self.target = target

    def copy(self) -> _Headers:
        """Return a copy; urllib3 sends one."""
        return _Headers(self, self.target)


class _GuardedAdapter(HTTPAdapter):
    def __init__(self, policy: Policy, current: _Current, pool_size: int, most_hosts: int) -> None:
        resolver = Resolver()

        class Guarded(HTTPConnection):
            response_class = StrictResponse
            call: Call | None = None

            def _new_conn(self) -> socket.socket:
                connection = _connect(self.host, self.port, policy, resolver)
                if current.call is not None:
                    current.call.attach(connection)
                return connection

            # The types are urllib3's own business; all but two values are handed on as they are.
            def request(self, method: str, url: str, *given: Any, **options: Any) -> None:
                self.call = current.call
                if self.call is not None and self.sock is not None:
                    self.call.attach(self.sock)
                headers = options.get("headers")
                target = headers.target if isinstance(headers, _Headers) else url
                super().request(method, target, *given, **options)

        class GuardedTls(Guarded, HTTPSConnection):
            pass

        class GuardedPool(HTTPConnectionPool):
            ConnectionCls = Guarded

            # The type is private to urllib3.
            def _put_conn(self, conn: Any) -> None:
                # From here on it is the next caller's, whom nobody may cut off in our name.
                if isinstance(conn, Guarded) and conn.call is not None:
                    conn.call.close()
                    conn.call = None
                super()._put_conn(conn)

        class GuardedTlsPool(GuardedPool, HTTPSConnectionPool):
            ConnectionCls = GuardedTls

        super().__init__(pool_connections=most_hosts, pool_maxsize=pool_size, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = {"http": GuardedPool, "https": GuardedTlsPool}


def _connect(host: str, port: int, policy: Policy, resolver: Resolver) -> socket.socket:
    # One limit for finding the addresses of a name and for all of them, however many it has.
    deadline = time.monotonic() + policy.connect_timeout_s
    name = policy.name(host)
    if policy.only is not None and (host, port) != (policy.only.host, policy.only.port):
        raise AddressBlocked(f"'{name}' led to another server.")
    try:
        addresses = resolver.resolve(host, port, policy.connect_timeout_s)
    except SourceDns as error:
        if policy.only is None:
            raise
        raise SourceDns(f"The host name of '{name}' does not resolve.") from error
    for address in addresses:
        _judge(host, address, port, policy)
    refusal: OSError | None = None
    for address in addresses:
        left_s = max(0.05, deadline - time.monotonic())
        try:
            connection = socket.create_connection((address, port), left_s)
        except OSError as error:
            refusal = error
            continue
        peer = connection.getpeername()[0]
        if peer != address:
            connection.close()
            raise AddressBlocked(f"The connection to '{name}' reached an address not asked for.")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    if isinstance(refusal, TimeoutError):
        raise SourceTimeout(f"'{name}' did not take the connection in time.") from refusal
    raise SourceUnavailable(f"'{name}' refused the connection.") from refusal


def _judge(host: str, address: str, port: int, policy: Policy) -> None:
    literal = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    verdict = classify(address)
    if policy.only is None:
        excepted = literal in policy.allowed
    else:
        excepted = may_be_server(address) or policy.only.host == str(ip_address(address))
    get_logger(__name__).info(
        "egress.judged",
        host=host,
        address=address,
        port=port,
        allowed=verdict.allowed or excepted,
        reason="excepted" if excepted else verdict.reason,
    )
    if not verdict.allowed and not excepted:
        name = policy.name(host)
        raise AddressBlocked(
            f"'{name}' is at an address Headrace does not connect to ({verdict.reason})."
        )


def _explain_tls(error: requests.exceptions.SSLError, *, is_host_told: bool) -> str:
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, SSLError) and reason.args:
            inner = reason.args[0]
            if not is_host_told:
                # What OpenSSL says quotes the name that was asked for.
                code = getattr(inner, "verify_code", None)
                return _REFUSED if code is None else _VERIFY_CODES.get(code, _UNTRUSTED)
            return str(getattr(inner, "verify_message", None) or getattr(inner, "reason", inner))
        arguments = reason.args
        reason = getattr(reason, "reason", None) or (
            arguments[0] if arguments and isinstance(arguments[0], BaseException) else None
        )
    return _REFUSED

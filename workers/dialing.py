"""Connections to the outside, each to an address that was judged.

A host name is resolved once; every address it has is judged (:mod:`ingest.addresses`); the
connection goes to an address that was judged, never to the name again, and the peer is checked once
it stands. So neither DNS rebinding nor a redirect nor an odd spelling gets past.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import certifi

from ingest.addresses import Verdict, classify, may_be_server
from ingest.errors import AddressBlocked, ConfigError, SourceDns, SourceTimeout, SourceUnavailable
from ingest.logs import get_logger
from ingest.outlets import DEFAULT_PORTS, Network, Ports, covers, parse_ports
from ingest.urls import SourceUrl
from storage.http1.connection import Connection
from storage.http1.tls import Tls
from workers.resolving import Resolver
from workers.watchdog import Call

_PORTS = parse_ports(DEFAULT_PORTS)
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

    @property
    def server(self) -> tuple[str, int]:
        """Host and port, without the dot that may end a name."""
        return self.host.removesuffix("."), self.port


@dataclass(frozen=True, slots=True)
class Policy:
    """What the door lets through, and how long it waits.

    ``allowed`` holds ``ip:port`` exceptions, exact; ``networks`` are let through as
    :mod:`ingest.outlets` says; ``ca_file`` replaces certifi's bundle. With ``only`` nothing but
    that server is connected to, wherever its name leads; but where no server is (metadata,
    link-local, multicast, unspecified), only if its host is that very address.
    """

    connect_timeout_s: float
    read_timeout_s: float
    allowed: frozenset[str] = frozenset()
    ca_file: Path | None = None
    only: Endpoint | None = None
    networks: tuple[Network, ...] = ()
    ports: Ports = _PORTS

    def name(self, host: str) -> str:
        """Return what a host is called in errors, which users read."""
        return host if self.only is None else self.only.name


class Dialer:
    """Connects under a :class:`Policy`. Safe to use from several threads.

    Raises:
        ConfigError: the policy's certificates cannot be read.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._resolver = Resolver()
        self._tls = Tls(certifi.where() if policy.ca_file is None else str(policy.ca_file))
        if policy.ca_file is not None:
            try:
                self._tls.load()
            except OSError as error:
                raise ConfigError(
                    f"'{policy.ca_file}' is no file of certificates to trust: {error}"
                ) from error

    def dial(self, url: SourceUrl, call: Call) -> Connection:
        """Connect to the server of a URL.

        Args:
            call: watches the connection from its first moment, and may end it.

        Raises:
            AddressBlocked: the host is, or resolves to, an address that is not let through.
            SourceDns: the host does not resolve, or not in time.
            SourceTimeout: it did not take the connection in time.
            SourceUnavailable: it refused the connection.
            OSError: TLS failed, or the connection broke meanwhile.
        """
        # The dot that ends a name says that it is whole; not every resolver takes it so.
        connected = self._connect(url.host.removesuffix("."), url.port)
        try:
            call.attach(connected)
            if url.scheme == "https":
                connected = wrapped = self._tls.wrap(connected, url.host)
                call.attach(connected)
                wrapped.do_handshake()
            connected.settimeout(self._policy.read_timeout_s)
        except BaseException:
            call.detach()
            connected.close()
            raise
        return Connection(connected)

    def _connect(self, host: str, port: int) -> socket.socket:
        policy = self._policy
        # One limit for finding the addresses of a name and for all of them, however many it has.
        deadline = time.monotonic() + policy.connect_timeout_s
        name = policy.name(host)
        if policy.only is not None and (host, port) != policy.only.server:
            raise AddressBlocked(f"'{name}' led to another server.")
        try:
            addresses = self._resolver.resolve(host, port, policy.connect_timeout_s)
        except SourceDns as error:
            if policy.only is None:
                raise
            raise SourceDns(f"The host name of '{name}' does not resolve.") from error
        for address in addresses:
            _judge(host, address, port, policy)
        refusal: OSError | None = None
        for address in addresses:
            left_s = deadline - time.monotonic()
            if refusal is not None and left_s <= 0:
                break
            try:
                return self._connect_to(address, port, name, max(0.05, left_s))
            except OSError as error:
                refusal = error
        if isinstance(refusal, TimeoutError):
            raise SourceTimeout(f"'{name}' did not take the connection in time.") from refusal
        raise SourceUnavailable(f"'{name}' refused the connection.") from refusal

    def _connect_to(self, address: str, port: int, name: str, limit_s: float) -> socket.socket:
        connection = socket.create_connection((address, port), limit_s)
        try:
            peer = connection.getpeername()[0]
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self._policy.connect_timeout_s)
        except BaseException:
            connection.close()
            raise
        if peer != address:
            connection.close()
            raise AddressBlocked(f"The connection to '{name}' reached an address not asked for.")
        return connection


def explain_tls(error: ssl.SSLError, *, is_host_told: bool) -> str:
    """Return why TLS failed.

    Args:
        is_host_told: whether the host may be named; what OpenSSL says quotes it.
    """
    if not is_host_told:
        code = getattr(error, "verify_code", None)
        return _REFUSED if code is None else _VERIFY_CODES.get(code, _UNTRUSTED)
    found = getattr(error, "verify_message", None) or error.reason or _REFUSED
    return str(found).removesuffix(".")


def _judge(host: str, address: str, port: int, policy: Policy) -> None:
    literal = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    verdict = classify(address)
    if policy.only is not None:
        excepted = may_be_server(address) or policy.only.host == str(ip_address(address))
    elif literal in policy.allowed:
        excepted = True
    else:
        excepted = not verdict.allowed and covers(policy.networks, address)
        if not any(port in one for one in policy.ports):
            excepted, verdict = False, Verdict(allowed=False, reason="port")
    get_logger(__name__).info(
        "egress.judged",
        host=host,
        address=address,
        port=port,
        allowed=verdict.allowed or excepted,
        reason="excepted" if excepted else verdict.reason,
    )
    if verdict.allowed or excepted:
        return
    name = policy.name(host)
    if verdict.reason == "port":
        raise AddressBlocked(f"'{name}' is asked for at port {port}, and that is not let through.")
    raise AddressBlocked(
        f"'{name}' is at an address Headrace does not connect to ({verdict.reason})."
    )

"""TLS identities for an origin: one that is right, and the ways in which real ones are wrong."""

from __future__ import annotations

import datetime as dt
import ssl
from enum import StrEnum
from pathlib import Path

import trustme

_NAMES = ("127.0.0.1", "localhost")


class TlsCase(StrEnum):
    """What a client finds when it shakes hands."""

    TRUSTED = "trusted"
    EXPIRED = "expired"
    WRONG_HOST = "wrong_host"
    UNKNOWN_CA = "unknown_ca"
    SELF_SIGNED = "self_signed"


class Certificates:
    """A certificate authority of the tests' own; clients trust it through :attr:`ca_file`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def make_context(self, case: TlsCase) -> ssl.SSLContext:
        """Return a server's context that presents the certificate of ``case``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if case is TlsCase.SELF_SIGNED:
            # An authority's own certificate is the plainest one that signs itself.
            loner = trustme.CA()
            chain = self._folder / "self_signed.pem"
            chain.write_bytes(loner.private_key_pem.bytes() + loner.cert_pem.bytes())
            context.load_cert_chain(chain)
            return context
        self._issue(case).configure_cert(context)
        return context

    def _issue(self, case: TlsCase) -> trustme.LeafCert:
        now = dt.datetime.now(dt.UTC)
        if case is TlsCase.EXPIRED:
            return self._ca.issue_cert(
                *_NAMES,
                not_before=now - dt.timedelta(days=30),
                not_after=now - dt.timedelta(days=1),
            )
        if case is TlsCase.WRONG_HOST:
            return self._ca.issue_cert("media.example")
        authority = trustme.CA() if case is TlsCase.UNKNOWN_CA else self._ca
        return authority.issue_cert(*_NAMES)

"""TLS on a connection, by certificates that were said, whatever the environment says."""

from __future__ import annotations

import socket
import ssl
from functools import cached_property


class Tls:
    """Puts TLS on connections.

    Args:
        ca_file: the certificates that servers are checked by; None for the system's.
    """

    def __init__(self, ca_file: str | None) -> None:
        self._ca_file = ca_file

    @cached_property
    def _context(self) -> ssl.SSLContext:
        # ssl.create_default_context would write its keys where SSLKEYLOGFILE says.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # RFC 9110, 4.3.4: what a certificate is for, its subject's name does not say.
        context.hostname_checks_common_name = False
        context.set_alpn_protocols(["http/1.1"])
        if self._ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(self._ca_file)
        return context

    def load(self) -> None:
        """Read the certificates now, and not at the first connection.

        Raises:
            OSError: they cannot be read.
        """
        _ = self._context

    def wrap(self, connected: socket.socket, host: str) -> ssl.SSLSocket:
        """Return what takes the connection's place, its handshake not begun yet.

        Args:
            host: name or address without brackets, which the certificate has to be for.

        Raises:
            OSError: the certificates cannot be read, or the connection is gone.
        """
        # The dot that ends a name is no part of it in a certificate (RFC 6066, 3). An end without
        # TLS's own word for it may be anybody's, and must not look like one.
        return self._context.wrap_socket(
            connected,
            server_hostname=host.rstrip("."),
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )

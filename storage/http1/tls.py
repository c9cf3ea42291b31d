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
        context = ssl.create_default_context(cafile=self._ca_file)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def wrap(self, connected: socket.socket, host: str) -> ssl.SSLSocket:
        """Return what takes the connection's place, its handshake not begun yet.

        Args:
            host: name or address without brackets, which the certificate has to be for.

        Raises:
            OSError: the certificates cannot be read, or the connection is gone.
        """
        # The dot that ends a name is no part of it in a certificate (RFC 6066, 3).
        return self._context.wrap_socket(
            connected, server_hostname=host.rstrip("."), do_handshake_on_connect=False
        )

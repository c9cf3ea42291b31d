"""Connections that bodies go out over, each wait of them limited by what it waits for.

urllib3 counts its limit to connect for all that is sent as well: a store that takes its time over
a body would be given up as if it were not there. Here connecting (with TLS) has a limit of its own,
and whatever is sent or read afterwards has the other. Invariant: no wait on a socket is without one
of the two. Python counts them for each call, so a body must go out in slices.
"""

from __future__ import annotations

import urllib3
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection


def open_pool(
    url: str,
    *,
    ca_file: str | None,
    pool_size: int,
    connect_timeout_s: float,
    read_timeout_s: float,
) -> HTTPConnectionPool:
    """Return a pool of connections to the host of a URL; connects to nobody yet.

    Args:
        ca_file: the certificates that an https host is checked by.
        pool_size: connections that are kept.
        connect_timeout_s: for each address of the host, and for each step of TLS.
        read_timeout_s: for each send and each read.
    """

    class Patient(HTTPConnection):
        def connect(self) -> None:
            sending_s, self.timeout = self.timeout, connect_timeout_s
            try:
                super().connect()
            finally:
                self.timeout = sending_s
            if self.sock is not None:
                self.sock.settimeout(sending_s)

    class PatientTls(Patient, HTTPSConnection):
        pass

    tls = url.startswith("https:")
    pool = urllib3.connection_from_url(
        url,
        maxsize=pool_size,
        # What urllib3 takes for the limit to connect is what it sends under.
        timeout=read_timeout_s,
        **({"ca_certs": ca_file} if tls else {}),
    )
    pool.ConnectionCls = PatientTls if tls else Patient
    return pool

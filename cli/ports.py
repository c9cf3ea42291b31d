"""Ports on the loopback that nobody else has: the usual one, or the next free.

Invariants: two stacks of one machine that start at the same moment never choose the same port (a
byte of a shared file is locked for each, and the lock dies with its process), and a port is only
called free when nothing accepts there and it can be bound. The locks are a process's own: stacks
that one process starts one after the other are told apart by what listens already.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from cli.problems import SetupProblem

LOOPBACK = "127.0.0.1"
_LAST_PORT = 65535
# SeaweedFS derives gRPC ports from HTTP ports; other processes of it expect this distance.
GRPC_OFFSET = 10_000


class PortLedger:
    """The ports this process has taken; they stay its own until :meth:`close`."""

    def __init__(self) -> None:
        path = Path(tempfile.gettempdir()) / f"headrace-ports-{os.geteuid()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o600)
        except OSError as error:
            raise SetupProblem(f"{path} cannot be opened ({error.strerror}). Remove it.") from None
        self._taken: set[int] = set()

    def take(
        self,
        wanted: Sequence[int],
        *,
        with_grpc: bool = False,
        is_usable: Callable[[int], bool] = lambda _: True,
    ) -> int:
        """Reserve a port.

        Args:
            wanted: ports to try, preferred first; after the last, the ones that follow it.
            with_grpc: the port 10,000 above must be free as well.
            is_usable: refuses ports that are of no use although they are free.

        Raises:
            SetupProblem: no port is free.
        """
        last = _LAST_PORT - (GRPC_OFFSET if with_grpc else 0)
        for port in chain(wanted, range(wanted[-1] + 1, last)):
            if port > last or not is_usable(port) or not self._reserve(port):
                continue
            if with_grpc and not self._reserve(port + GRPC_OFFSET):
                continue
            return port
        raise SetupProblem(f"No port from {wanted[-1]} up is free on {LOOPBACK}.")

    def take_exactly(self, port: int, what: str) -> int:
        """Reserve the one port that a setting names. Raises SetupProblem if it is taken."""
        if not self._reserve(port):
            raise SetupProblem(
                f"Port {port}, where {what} should listen, is taken. "
                "Stop what listens there, or name another port."
            )
        return port

    def close(self) -> None:
        """Give every port back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _reserve(self, port: int) -> bool:
        if port in self._taken:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        if not is_free(port):
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, port)
            return False
        self._taken.add(port)
        return True


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port of the loopback now."""
    # Where SO_REUSEADDR lets a loopback bind succeed beside a wildcard listener (macOS), only a
    # connection tells.
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True

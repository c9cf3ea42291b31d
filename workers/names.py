"""What a process calls itself: in leases, in logs, and when it says that it lives."""

from __future__ import annotations

import os
import secrets
import socket


def name_process() -> str:
    """Return host, pid and something random, so that no process passes for one before it."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

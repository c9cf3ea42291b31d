"""Valkey (or Redis) as a child of the local stack.

Invariants: it listens on 127.0.0.1 alone and wants a password; it keeps an append-only file and
evicts nothing.
"""

from __future__ import annotations

from pathlib import Path

from cli.binaries import Binary
from cli.child import ChildPlan
from cli.home import Home, Secrets
from cli.ports import LOOPBACK
from ingest.environ import make_child_environ


def make_url(password: str, port: int) -> str:
    """Return the URL of the stack's own Valkey."""
    return f"redis://:{password}@{LOOPBACK}:{port}/0"


def plan(home: Home, binary: Binary, port: int, secrets: Secrets) -> ChildPlan:
    """Return how Valkey (or Redis) runs. The password stands in a private file, not in `ps`."""
    directory = home.path / "valkey"
    directory.mkdir(exist_ok=True)
    config = home.write_private(
        "valkey.conf",
        "\n".join(
            [
                f"bind {LOOPBACK}",
                f"port {port}",
                f'dir "{_escape(directory)}"',
                f"requirepass {secrets.valkey_password}",
                "daemonize no",
                "appendonly yes",
                "maxmemory-policy noeviction",
                "",
            ]
        ),
    )
    url = make_url(secrets.valkey_password, port)
    return ChildPlan(
        name="valkey",
        arguments=[binary.path, config],
        environ=make_child_environ({}),
        log=home.logs / "valkey.log",
        is_ready=lambda _: _answers_ping(url),
    )


def _answers_ping(url: str) -> bool:
    from ingest.errors import RedisUnavailable
    from storage.signals import Signals

    signals = Signals(url)
    try:
        signals.check()
    except RedisUnavailable:
        return False
    finally:
        signals.close()
    return True


def _escape(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')

"""Processes that an earlier supervisor left running, because it was killed.

Invariant: a process is signalled only if its pid and its time of creation are the ones written in
`stack.json`, so nobody else's process is ever touched.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable

from cli.child import kill_group
from cli.home import StackState
from cli.processes import ProcessMark, is_alive, send_signal

# PostgreSQL needs milliseconds; SeaweedFS would take ten seconds over nothing (cli.seaweedfs).
_GRACE_S = 5.0
_POLL_S = 0.05
# PostgreSQL's fast shutdown is SIGINT. Whatever is not named here is a role, whose unfinished work
# is safe in the database, and gets no grace.
_SERVER_SIGNALS = {
    "postgres": signal.SIGINT,
    "valkey": signal.SIGTERM,
    "seaweedfs": signal.SIGTERM,
}


def stop_leftovers(state: StackState, say: Callable[[str], None]) -> None:
    """Stop what still runs of an earlier stack; returns when all of it has ended."""
    left = {name: mark for name, mark in state.processes.items() if is_alive(mark)}
    if not left:
        return
    say(f"Stopping what an earlier run left behind: {', '.join(left)}.")
    servers = {name: mark for name, mark in left.items() if name in _SERVER_SIGNALS}
    roles = [mark for name, mark in left.items() if name not in servers]
    _kill(roles)
    for name, mark in servers.items():
        send_signal(mark, _SERVER_SIGNALS[name])
    deadline = time.monotonic() + _GRACE_S
    while any(is_alive(mark) for mark in servers.values()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    _kill(servers.values())


def _kill(marks: Iterable[ProcessMark]) -> None:
    alive = [mark for mark in marks if is_alive(mark)]
    for mark in alive:
        # Each led a session of its own, so the group is its and carries its pid.
        kill_group(mark.pid)
    while any(is_alive(mark) for mark in alive):
        time.sleep(_POLL_S)

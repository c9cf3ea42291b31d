"""Which API a client command speaks to: the one the environment names, else the running stack's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cli.home import Home, StackState, find_home
from cli.problems import SetupProblem, Unreachable
from ingest.environ import read_client_variable, read_operator_environ

_STARTING_LIMIT_S = 60.0
_GLANCE_S = 0.1


@dataclass(frozen=True, slots=True)
class Target:
    """An API and a key it takes; ``sample_url`` if it is a local stack, which serves a sample."""

    url: str
    key: str
    sample_url: str | None


def find_target() -> Target | None:
    """Return what `HEADRACE_URL` and `HEADRACE_KEY` name, else the stack of this home, if any runs.

    A stack that is still starting is waited for.

    Raises:
        SetupProblem: the address is set and no key is.
    """
    home = find_home()
    url = read_client_variable("HEADRACE_URL")
    key = read_client_variable("HEADRACE_KEY")
    state = _find_ready(home)
    if state is not None and state.api_url is not None and url in {None, state.api_url}:
        kept = key or home.read_key()
        if kept is not None:
            return Target(state.api_url, kept, state.sample_url)
    if url is None:
        return None
    if key is None:
        raise SetupProblem("HEADRACE_URL is set and HEADRACE_KEY is not. Set both.")
    return Target(url, key, None)


def require_target() -> Target:
    """Return the target. Raises Unreachable if there is none."""
    target = find_target()
    if target is None:
        raise Unreachable(
            "No stack runs here and HEADRACE_URL is not set. Start one with `headrace up`, "
            "or set HEADRACE_URL and HEADRACE_KEY."
        )
    return target


def find_database_url() -> str:
    """Return the URL of the database: the settings', else the running stack's.

    Raises:
        SetupProblem: there is neither.
    """
    name = "HEADRACE_DATABASE_URL"
    given = read_operator_environ().get(name)
    if given is not None:
        return given
    state = find_home().find_running()
    if state is None or name not in state.environ:
        raise SetupProblem(
            f"{name} is not set and no stack runs here. Set it, or start one with `headrace up`."
        )
    return state.environ[name]


def _find_ready(home: Home) -> StackState | None:
    deadline = time.monotonic() + _STARTING_LIMIT_S
    while (state := home.find_running()) is not None and time.monotonic() < deadline:
        if state.ready:
            return state
        time.sleep(_GLANCE_S)
    return None

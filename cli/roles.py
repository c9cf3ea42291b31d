"""Headrace's own processes in a local stack: API, workers, sender, beat.

They are configured by their environment alone, as in a container, and never imported here.
Invariant: only the API gets a directory of shared counters, emptied before each start, because
prometheus-client changes its ways for every process that sees the variable.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

from cli.child import ChildPlan
from cli.home import Home
from ingest.environ import METRICS_DIR_VARIABLE, make_child_environ

# A worker may need its own grace to the last second; this much more is for its exit.
_EXIT_S = 5.0


def plan_api(home: Home, environ: Mapping[str, str], url: str, grace_s: float) -> ChildPlan:
    """Return how the API runs.

    Args:
        home: where its log and counters go.
        environ: the settings.
        url: where it will answer.
        grace_s: how long its requests may take to finish after SIGTERM.
    """
    from cli.client import fetch_status

    counters = home.path / "metrics"

    def empty_counters() -> None:
        shutil.rmtree(counters, ignore_errors=True)
        counters.mkdir()

    return ChildPlan(
        name="api",
        arguments=_module("api"),
        environ={**_role_environ(environ), METRICS_DIR_VARIABLE: str(counters)},
        log=home.logs / "api.log",
        is_ready=lambda _: fetch_status(f"{url}/healthz") == 200,
        grace_s=grace_s + _EXIT_S,
        before_start=empty_counters,
    )


def plan_worker(
    home: Home, name: str, environ: Mapping[str, str], redis_url: str, grace_s: float
) -> ChildPlan:
    """Return how a worker runs.

    Args:
        home: where its log goes.
        name: as the stack calls it.
        environ: the settings.
        redis_url: where it tells that it lives.
        grace_s: how long its ingests may take to finish after SIGTERM.
    """
    return ChildPlan(
        name=name,
        arguments=_module("workers", "worker"),
        environ=_role_environ(environ),
        log=home.logs / f"{name}.log",
        is_ready=lambda pid: _has_reported(redis_url, "worker", pid),
        grace_s=grace_s + _EXIT_S,
    )


def plan_sender(
    home: Home, environ: Mapping[str, str], redis_url: str, grace_s: float
) -> ChildPlan:
    """Return how the sender runs; the arguments are those of :func:`plan_worker`."""
    return ChildPlan(
        name="sender",
        arguments=_module("workers", "sender"),
        environ=_role_environ(environ),
        log=home.logs / "sender.log",
        is_ready=lambda pid: _has_reported(redis_url, "sender", pid),
        grace_s=grace_s + _EXIT_S,
    )


def plan_beat(home: Home, environ: Mapping[str, str]) -> ChildPlan:
    """Return how the beat runs. Nothing asks it anything, so running is ready."""
    return ChildPlan(
        name="beat",
        arguments=_module("workers", "beat"),
        environ=_role_environ(environ),
        log=home.logs / "beat.log",
        is_ready=lambda _: True,
    )


def _module(*words: str) -> list[str]:
    # -P: a directory of the user's own that is called `api` must not be imported instead.
    return [sys.executable, "-P", "-m", *words]


def _role_environ(environ: Mapping[str, str]) -> dict[str, str]:
    inherited = make_child_environ(environ)
    inherited.pop(METRICS_DIR_VARIABLE, None)
    return inherited


def _has_reported(redis_url: str, role: str, pid: int) -> bool:
    from ingest.errors import RedisUnavailable
    from storage.signals import Role, Signals

    signals = Signals(redis_url)
    try:
        # A worker's name is host-pid-random: one that was killed does not pass for the next.
        return any(
            name.split("-")[-2:-1] == [str(pid)] for name in signals.list_workers(Role(role))
        )
    except RedisUnavailable:
        return False
    finally:
        signals.close()

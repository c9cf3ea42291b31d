"""`headrace up`, `down`, `status`, `env`: the local stack."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click

from cli.child import read_tail
from cli.display import json_option, say, show_json, show_table
from cli.home import Home, StackState, find_home
from cli.leftovers import stop_leftovers
from cli.problems import SetupProblem, Unreachable
from cli.processes import is_alive, send_signal
from cli.target import require_target

_GLANCE_S = 0.05
_UP_LIMIT_S = 180.0
# Longer than the graces of roles and servers together.
_DOWN_LIMIT_S = 90.0


@click.command()
@click.option("--detach", is_flag=True, help="Return once it is up; `headrace down` stops it.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes."
)
def up(*, detach: bool, workers: int) -> None:
    """Start the whole service on this machine and stay until Ctrl-C."""
    home = find_home()
    if detach:
        _start_detached(home, workers)
        return
    from cli.interrupts import catch_interrupts
    from cli.local import LocalStack

    stack = LocalStack(home.path, workers=workers, say=say)
    with catch_interrupts(stack), stack:
        _show_welcome(home, stack.api_url, stack.api_key, stack.sample_url)
        say("Ctrl-C stops it.")
        stack.wait()
        say("Stopping: the roles first, then the servers. Ctrl-C again to hurry.")


@click.command()
def down() -> None:
    """Stop the stack that runs here; once more, and it gets no time to finish."""
    home = find_home()
    state = home.find_running()
    if state is None or state.supervisor is None:
        _stop_orphans(home)
        return
    send_signal(state.supervisor, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_LIMIT_S
    while is_alive(state.supervisor):
        if time.monotonic() > deadline:
            raise SetupProblem(
                f"Process {state.supervisor.pid} did not stop within {_DOWN_LIMIT_S:g} s. "
                f"Its logs are in {home.logs}."
            )
        time.sleep(_GLANCE_S)
    say("Stopped.")


@click.command()
@json_option
def status(*, as_json: bool) -> None:
    """Tell what runs here; exit code 4 if nothing does or it is not ready."""
    from cli.client import fetch_json

    home = find_home()
    state = home.find_running()
    checks = fetch_json(f"{state.api_url}/readyz") if state is not None and state.api_url else None
    if as_json:
        show_json(_describe(home, state, checks))
    elif state is not None:
        _show_status(home, state, checks)
    if state is None:
        raise Unreachable(f"Nothing runs in {home.path}. Start it with `headrace up`.")
    if not state.ready or checks is None or checks.get("status") != "ok":
        raise Unreachable(f"The stack is not ready. Its logs are in {home.logs}.")


@click.command()
def env() -> None:
    """Print HEADRACE_URL and HEADRACE_KEY of the running stack, for eval."""
    target = require_target()
    click.echo(f"HEADRACE_URL={shlex.quote(target.url)}")
    click.echo(f"HEADRACE_KEY={shlex.quote(target.key)}")
    click.echo("export HEADRACE_URL HEADRACE_KEY")


def _start_detached(home: Home, workers: int) -> None:
    home.prepare()
    log = home.logs / "supervisor.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", "up", "--workers", str(workers)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + _UP_LIMIT_S
    while True:
        state = home.read_state()
        if state.ready and state.supervisor is not None and state.supervisor.pid == process.pid:
            break
        if process.poll() is not None:
            raise SetupProblem(read_tail(log).removeprefix("headrace: "))
        if time.monotonic() > deadline:
            process.terminate()
            raise SetupProblem(f"It was not up within {_UP_LIMIT_S:g} s. See {log}.")
        time.sleep(_GLANCE_S)
    _show_welcome(home, str(state.api_url), home.read_key() or "", str(state.sample_url))
    say("`headrace status` tells how it is, `headrace down` stops it.")


def _show_welcome(home: Home, api_url: str, key: str, sample_url: str) -> None:
    click.echo("Headrace is up.")
    click.echo(f"  API   {api_url} (described by {api_url}/docs)")
    click.echo(f"  Key   {key}")
    click.echo(f"  Logs  {home.logs}")
    click.echo("Ingest a sample with the command line or over HTTP:")
    click.echo(f"  {_find_own_name()} ingest")
    body = f'{{"url": "{sample_url}"}}'
    click.echo(
        f"  curl {api_url}/files -H 'Authorization: Bearer {key}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )


def _find_own_name() -> str:
    """Return what runs this command line again: its name, or its path if PATH has another."""
    own = Path(sys.executable).parent / "headrace"
    found = shutil.which("headrace")
    if (found is not None and own.samefile(found)) or not own.exists():
        return "headrace"
    return shlex.quote(os.path.relpath(own))


def _stop_orphans(home: Home) -> None:
    state = home.read_state()
    if not any(is_alive(mark) for mark in state.processes.values()):
        say(f"Nothing runs in {home.path}.")
        return
    with home.hold():
        stop_leftovers(state, say)
    say("Stopped.")


def _describe(
    home: Home, state: StackState | None, checks: dict[str, object] | None
) -> dict[str, object]:
    shown = StackState() if state is None else state
    return {
        "running": state is not None,
        "ready": shown.ready and checks is not None and checks.get("status") == "ok",
        "home": str(home.path),
        "api_url": shown.api_url,
        "sample_url": shown.sample_url,
        "supervisor": None if shown.supervisor is None else shown.supervisor.pid,
        "processes": {name: mark.pid for name, mark in shown.processes.items()},
        "ports": shown.ports,
        "checks": checks,
    }


def _show_status(home: Home, state: StackState, checks: dict[str, object] | None) -> None:
    show_table(
        {"NAME": "name", "PID": "pid", "LOG": "log"},
        [
            {"name": name, "pid": mark.pid, "log": os.path.relpath(home.logs / f"{name}.log")}
            for name, mark in state.processes.items()
        ],
    )
    click.echo(f"API {state.api_url}: {'no answer' if checks is None else checks.get('status')}")
    parts = checks.get("checks") if checks is not None else None
    if isinstance(parts, dict):
        for part, answer in parts.items():
            click.echo(f"  {part}: {answer}")

"""`headrace api`, `worker`, `sender`, `beat`: one process of a role, as a container runs it.

Invariant: the process becomes the role, so signals and exit codes are its own.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click


@click.command()
def api() -> None:
    """Run the API, configured by HEADRACE_ variables."""
    _become("api")


@click.command()
def worker() -> None:
    """Run a worker, configured by HEADRACE_ variables."""
    _become("workers", "worker")


@click.command()
def sender() -> None:
    """Run a sender of webhooks, configured by HEADRACE_ variables."""
    _become("workers", "sender")


@click.command()
def beat() -> None:
    """Run the beat, configured by HEADRACE_ variables."""
    _become("workers", "beat")


def _become(*words: str) -> NoReturn:
    # -P: a directory called `api` where this was started must not be imported instead.
    os.execv(sys.executable, [sys.executable, "-P", "-m", *words])  # noqa: S606

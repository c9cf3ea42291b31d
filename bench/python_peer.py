"""A peer that is written in Python, Headrace's transfer path among them, driven from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from bench.processes import LineProcess
from bench.rounds import Run
from bench.store import Store
from tests.support.meter import read_cpu_s


class PythonPeer:
    """``bench.transfer_peer`` for the length of a ``with`` block.

    Args:
        name: ``headrace`` or ``plain``.
        source: the ip:port it may fetch from.
        store: where it stores.
        log: where it logs.
        slots: transfers at once; None for as many as a worker's settings have.
    """

    def __init__(
        self, name: str, source: str, store: Store, log: Path, slots: int | None = None
    ) -> None:
        self._name = name
        environ = store.make_peer_environ(source)
        if slots is not None:
            environ["HEADRACE_WORKER_SLOTS"] = str(slots)
        self._process = LineProcess("bench.transfer_peer", [name], environ=environ, log=log)

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__()

    def transfer(self, urls: Sequence[str], expected: Mapping[str, str]) -> Run:
        """Let it store what URLs have.

        Args:
            expected: the sha256 in hex by key, in the order of the URLs.

        Raises:
            RuntimeError: it took another sha256.
        """
        cpu_s = read_cpu_s(self._process.pid)
        answer = self._process.ask({"urls": list(urls), "keys": list(expected)})
        run = Run(float(answer["elapsed_s"]), read_cpu_s(self._process.pid) - cpu_s)
        if answer["sha256"] != list(expected.values()):
            raise RuntimeError(f"{self._name} took another sha256 than the source's")
        return run

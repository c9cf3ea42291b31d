"""The processes a benchmark is made of: each has a life of one ``with`` block and speaks in lines.

One line of JSON is said once a process is ready; after that, one is given back for each that it is
sent. All end with their standard input, so a run that dies takes them along.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, cast

from bench.wire import HOST

ROOT = Path(__file__).parents[1]
_END_S = 15
JsonDict = dict[str, Any]


class LineProcess:
    """``python -m <module>`` for the length of a block.

    Args:
        module: what runs.
        arguments: as on its command line.
        environ: its whole environment; None hands on this process's own.
        log: where what it says on stderr goes; None lets it through.

    Attributes:
        ready: what it said when it was ready.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        environ: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._environ = environ
        self._log = log
        self.ready: JsonDict = {}

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=None if self._environ is None else dict(self._environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self._log is None else held.enter_context(self._log.open("ab")),
                text=True,
            )
        self.ready = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it listens on the loopback."""
        return int(self.ready["port"])

    @property
    def url(self) -> str:
        """The address of what it serves, without a path."""
        return f"http://{HOST}:{self.port}"

    def ask(self, order: Mapping[str, object]) -> JsonDict:
        """Send an order; return the answer to it.

        Raises:
            RuntimeError: the process ended over it.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> JsonDict:
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command[1:])} ended; see what it said on stderr")
        return cast("JsonDict", json.loads(line))

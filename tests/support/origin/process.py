"""An origin in a process of its own, so that what it takes is not counted as the tests' memory.

It ends with its standard input: a test run that dies takes its origins along.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).parents[3]


class OriginProcess:
    """``python -m tests.support.origin`` for the length of a ``with`` block.

    Args:
        arguments: as on the command line, such as ``["--file", "/big.mp4=/tmp/small.mp4",
            "--pad", "/big.mp4=2147483648"]``.
        port: a fixed port, or 0 for any free one.
    """

    def __init__(self, arguments: Sequence[str], *, port: int = 0) -> None:
        self._command = [sys.executable, "-m", "tests.support.origin", "--port", str(port)]
        self._command += arguments
        self.port = port

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            self.close()
            raise RuntimeError("the origin did not start; its complaint is on stderr")
        self.port = int(line)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def url(self, path: str = "/") -> str:
        """Return the absolute URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self) -> None:
        """End the process and wait for it."""
        self._process.communicate(timeout=10)

"""`headrace` as people and scripts run it: real processes in a directory of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from cli.answers import JsonDict
from cli.home import Home
from cli.problems import ExitCode
from ingest.environ import make_child_environ

LIMIT_S = 60.0
HEADRACE = str(Path(sys.executable).parent / "headrace")


class Terminal:
    """Runs commands in a directory of its own, where `.headrace` then is.

    Args:
        directory: where they run.
        environ: HEADRACE_ variables that are set.
    """

    def __init__(self, directory: Path, **environ: str) -> None:
        self.directory = directory
        self.home = Home(directory / ".headrace")
        # A stack with two API processes less starts faster; the rest is as it is shipped.
        given = {"HEADRACE_API_PROCESSES": "1", "COLUMNS": "200", **environ}
        self.environ = make_child_environ(given)
        self.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{self.environ['PATH']}"

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `headrace` to its end."""
        return subprocess.run(
            [HEADRACE, *arguments],
            cwd=self.directory,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def run_json(self, *arguments: str) -> JsonDict:
        """Run `headrace … --json`, which has to succeed; returns what it printed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == ExitCode.OK, done.stderr
        read = json.loads(done.stdout)
        assert isinstance(read, dict)
        return read

    def run_shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a line as it would be pasted."""
        return subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def list_processes(self) -> dict[str, psutil.Process]:
        """Return what runs now, by name."""
        marks = self.home.read_state().processes
        return {name: psutil.Process(mark.pid) for name, mark in marks.items()}

"""What can go wrong on the command line, and the exit code a script sees for it.

Invariant: every failure of a command ends as one :class:`CommandProblem`, with a message that says
what to do next; nothing else decides an exit code (click's own usage errors are 2).
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a script can rely on; `headrace --help` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    SETUP = 5
    INTERRUPTED = 130


class CommandProblem(Exception):
    """Base of this room's failures. The message is for the person at the terminal."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class IngestFailed(CommandProblem):
    """The task ended as failed or cancelled, or its bytes do not have the checksum it claims."""


class Refused(CommandProblem):
    """The API answered 4xx.

    Args:
        message: what the API said.
        status: the HTTP status.
        code: the API's error code, such as ``field_invalid``.
        param: the request field at fault, if the API named one.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *, status: int, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


class Unreachable(CommandProblem):
    """No API answers, or it answers 5xx, or what answers is not Headrace."""

    exit_code = ExitCode.UNREACHABLE


class SetupProblem(CommandProblem):
    """Something this machine has to provide is missing: a binary, a port, a setting, a package."""

    exit_code = ExitCode.SETUP


class Interrupted(CommandProblem):
    """Somebody pressed Ctrl-C, or sent SIGTERM, before the work was done."""

    exit_code = ExitCode.INTERRUPTED

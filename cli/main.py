"""The `headrace` command.

Invariant: every failure leaves as one line that says what to do, with an exit code of
:class:`cli.problems.ExitCode`, and no traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from cli.problems import CommandProblem, Interrupted

# Imported when they are called for: a command does not pay for the libraries of the others.
_MODULES: Mapping[str, str] = {
    "up": "stack",
    "down": "stack",
    "status": "stack",
    "env": "stack",
    "ingest": "ingest",
    "tasks": "resources",
    "files": "resources",
    "webhooks": "webhooks",
    "keys": "keys",
    "projects": "projects",
    "migrate": "keys",
    "api": "roles",
    "worker": "roles",
    "sender": "roles",
    "beat": "roles",
}
_EPILOG = """\b
Exit codes:
  0    it is done
  1    the ingest failed
  2    the command line is wrong
  3    the API refused (4xx)
  4    the service is not there, or not ready
  5    something this machine must provide is missing: a binary, a port, a setting
  130  interrupted
"""


class _Headrace(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"cli.commands.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except CommandProblem as problem:
            click.echo(f"headrace: {problem}", err=True)
            ctx.exit(problem.exit_code)
        except KeyboardInterrupt:
            ctx.exit(Interrupted.exit_code)


@click.group(
    cls=_Headrace, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="headrace")
def main() -> None:
    """Pull media from any URL into your own object storage.

    Client commands speak to HEADRACE_URL with HEADRACE_KEY, else to the stack that runs in
    .headrace (or HEADRACE_HOME).
    """

"""`headrace projects`: tenants, and what each may take. Works on the database itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from cli.database import choose_project, open_database
from cli.display import json_option, say, show_json, show_table
from cli.problems import CommandProblem, ExitCode
from ingest.errors import ConflictError, FieldInvalid
from ingest.ids import Prefix, is_id
from ingest.model import Limits
from ingest.naming import check_filename

if TYPE_CHECKING:
    from ingest.model import Project, Usage

_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_LONGEST_NAME = 63
# PostgreSQL's integer and bigint.
_MOST_RUNNING, _MOST_BYTES = 2**31 - 1, 2**63 - 1


class _Amount(click.ParamType[int | None]):
    """A number from 0 on, with a unit where it is of bytes; `none` for no limit."""

    def __init__(self, name: str, most: int, *, has_unit: bool) -> None:
        self.name = name
        self._most = most
        self._has_unit = has_unit

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        text = str(value).strip()
        if text.lower() == "none":
            return None
        found = re.fullmatch(r"([0-9]{1,19}) ?([KMGTkmgt][Ii][Bb])?", text)
        if found is None or (found[2] and not self._has_unit):
            example = "such as 500GiB" if self._has_unit else "such as 8"
            self.fail(f"'{text}' is no number {example}, and not 'none'.", param, ctx)
        amount = int(found[1]) * _UNITS[(found[2] or "").upper()]
        if amount > self._most:
            self.fail(f"'{text}' is more than {self._most}.", param, ctx)
        return amount


_RUNNING = _Amount("number", _MOST_RUNNING, has_unit=False)
_SIZE = _Amount("size", _MOST_BYTES, has_unit=True)


class ProjectRefused(CommandProblem):
    """Such a project cannot be made."""

    exit_code = ExitCode.REFUSED


@click.group()
def projects() -> None:
    """Projects and their limits. Works on the database, with HEADRACE_DATABASE_URL."""


@projects.command("create")
@click.argument("name")
@click.option("--prefix", help="What its keys in the bucket begin with; its name without.")
@click.option("--max-running", type=_RUNNING, help="How many of its tasks run at once.")
@click.option("--max-stored", type=_SIZE, help="How much its files may take: 500GiB.")
@json_option
def create_project(
    *,
    name: str,
    prefix: str | None,
    max_running: int | None,
    max_stored: int | None,
    as_json: bool,
) -> None:
    """Make a project. Then make it a key: headrace keys create NAME --project …"""
    from storage.records import projects as records

    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise click.BadParameter(f"It takes 1 to {_LONGEST_NAME} printable characters.")
    if is_id(Prefix.PROJECT, name):
        raise click.BadParameter(f"'{name}' is what an id looks like.")
    wanted = name if prefix is None else prefix
    # So that no prefix lies within another.
    if not wanted or "/" in wanted:
        raise click.BadParameter("A prefix is one part of a path.", param_hint="--prefix")
    try:
        checked = check_filename(wanted)
    except FieldInvalid as error:
        raise click.BadParameter(
            error.message.replace("'filename'", "The prefix", 1), param_hint="--prefix"
        ) from None
    limits = Limits(max_running, max_stored)
    try:
        with open_database() as connection:
            project = records.create_project(connection, name, checked, limits)
            told = _describe(project, *records.read_limits(connection, project.id))
    except ConflictError as error:
        raise ProjectRefused(error.message) from None
    if as_json:
        show_json(told)
    else:
        say(f"{project.id} ({name}). Its files lie under '{checked}/'.")


@projects.command("list")
@json_option
def list_projects(*, as_json: bool) -> None:
    """List projects, with their limits and what they take."""
    from storage.records import projects as records

    with open_database() as connection:
        found = [
            (project, *records.read_limits(connection, project.id))
            for project in records.list_projects(connection)
        ]
    if as_json:
        show_json([_describe(*one) for one in found])
        return
    rows: list[dict[str, object]] = [
        {
            "id": project.id,
            "name": project.name,
            "prefix": project.key_prefix,
            "running": _show_share(usage.running, limits.max_running, str),
            "pending": usage.pending,
            "files": usage.files,
            "stored": _show_share(usage.stored_bytes, limits.max_stored_bytes, _show_size),
        }
        for project, limits, usage in found
    ]
    shown = ("id", "name", "prefix", "running", "pending", "files", "stored")
    show_table({name.upper(): name for name in shown}, rows)


@projects.command("limit")
@click.argument("name")
@click.option("--max-running", type=_RUNNING, help="A number, or none.")
@click.option("--max-stored", type=_SIZE, help="A size such as 500GiB, or none.")
@click.pass_context
@json_option
def limit_project(
    context: click.Context,
    *,
    name: str,
    max_running: int | None,
    max_stored: int | None,
    as_json: bool,
) -> None:
    """Set what a project may take, by its name or its id. What is not named stays."""
    from storage.records import projects as records

    def is_named(option: str) -> bool:
        return context.get_parameter_source(option) is ParameterSource.COMMANDLINE

    if not is_named("max_running") and not is_named("max_stored"):
        raise click.UsageError("Say what to limit: --max-running, --max-stored or both.")
    with open_database() as connection:
        project = choose_project(connection, name)
        # What is not named stays, also where somebody else sets that in the same moment.
        records.hold_alone(connection, project.id)
        before, _ = records.read_limits(connection, project.id)
        limits = Limits(
            max_running if is_named("max_running") else before.max_running,
            max_stored if is_named("max_stored") else before.max_stored_bytes,
        )
        records.set_limits(connection, project.id, limits)
        told = _describe(project, *records.read_limits(connection, project.id))
    if as_json:
        show_json(told)
        return
    running, stored = (
        "any number of" if limit is None else f"{limit:,}"
        for limit in (limits.max_running, limits.max_stored_bytes)
    )
    say(f"{project.name} may run {running} tasks at once and store {stored} bytes.")


def _show_share(taken: int, limit: int | None, show: Callable[[int], str]) -> str:
    return show(taken) if limit is None else f"{show(taken)} of {show(limit)}"


def _show_size(size_bytes: int) -> str:
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes >= _UNITS[unit.upper()]:
            return f"{size_bytes / _UNITS[unit.upper()]:.3g} {unit}"
    return f"{size_bytes} B"


def _describe(project: Project, limits: Limits, usage: Usage) -> dict[str, object]:
    return {
        "id": project.id,
        "name": project.name,
        "prefix": project.key_prefix,
        "running": usage.running,
        "max_running": limits.max_running,
        "pending": usage.pending,
        "files": usage.files,
        "stored_bytes": usage.stored_bytes,
        "max_stored_bytes": limits.max_stored_bytes,
    }

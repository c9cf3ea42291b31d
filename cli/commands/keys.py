"""`headrace keys` and `headrace migrate`: what is done to the database itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from cli.database import choose_project, open_database
from cli.display import json_option, say, show_json, show_table
from cli.problems import CommandProblem, ExitCode, Unreachable
from cli.target import find_database_url
from ingest.access import USUAL_SCOPES, Scope
from ingest.config import make_sqlalchemy_url
from ingest.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from ingest.access import ApiKey

_project_option = click.option(
    "--project", "project_name", help="Its name or its id; the default project without."
)


class NoSuchKey(CommandProblem):
    """There is no such key, or it was revoked before."""

    exit_code = ExitCode.REFUSED


@click.group()
def keys() -> None:
    """API keys of a project. Works on the database, with HEADRACE_DATABASE_URL."""


@keys.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    default=[scope.value for scope in USUAL_SCOPES],
    show_default=True,
    help="What it may do; give it several times for several.",
)
@click.option("--days", type=click.IntRange(1, 36_500), help="After how many days it ends.")
@_project_option
@json_option
def create_key(
    *,
    name: str,
    scopes: Sequence[str],
    days: int | None,
    project_name: str | None,
    as_json: bool,
) -> None:
    """Make a key. Its secret is printed once and kept nowhere."""
    from storage.records import keys as records

    with open_database() as connection:
        project = choose_project(connection, project_name)
        key, secret = records.create_key(
            connection,
            project.id,
            name,
            scopes=[Scope(scope) for scope in scopes],
            expires=None if days is None else datetime.now(UTC) + timedelta(days=days),
        )
    if as_json:
        show_json({**_describe(key), "secret": secret})
        return
    click.echo(secret)
    say(f"{key.id} ({name}). Keep it now: it is not shown again.")


@keys.command("list")
@_project_option
@json_option
def list_keys(*, project_name: str | None, as_json: bool) -> None:
    """List keys, revoked ones too."""
    from storage.records import keys as records

    with open_database() as connection:
        project = choose_project(connection, project_name)
        found = [_describe(key) for key in records.list_keys(connection, project.id)]
    if as_json:
        show_json(found)
        return
    shown = ("id", "name", "shown_prefix", "scopes", "last_used", "expires", "revoked")
    show_table({name.upper(): name for name in shown}, found)


@keys.command("revoke")
@click.argument("key_id")
@_project_option
@json_option
def revoke_key(*, key_id: str, project_name: str | None, as_json: bool) -> None:
    """Revoke a key, at once."""
    from storage.records import keys as records

    with open_database() as connection:
        project = choose_project(connection, project_name)
        revoked = records.revoke_key(connection, project.id, key_id)
    if not revoked:
        raise NoSuchKey(f"{key_id} is no key, or was revoked before. See `headrace keys list`.")
    if as_json:
        show_json({"id": key_id, "revoked": True})
    else:
        say(f"Revoked {key_id}.")


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema; safe to run again."""
    from storage.migrations import migrate as run

    try:
        run(make_sqlalchemy_url(find_database_url()))
    except DatabaseUnavailable as error:
        raise Unreachable(f"{error.message} Check HEADRACE_DATABASE_URL.") from None
    say("The database has the newest schema.")


def _describe(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "shown_prefix": key.shown_prefix,
        "scopes": [scope.value for scope in key.scopes],
        "created": _show(key.created),
        "last_used": _show(key.last_used),
        "expires": _show(key.expires),
        "revoked": _show(key.revoked),
    }


def _show(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")

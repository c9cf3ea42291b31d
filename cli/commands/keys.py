"""`headrace keys` and `headrace migrate`: what is done to the database itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli.display import say, show_json, show_table
from cli.problems import CommandProblem, ExitCode, Unreachable
from cli.target import find_database_url
from ingest.config import make_sqlalchemy_url
from ingest.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ingest.model import ApiKey

_json_option = click.option("--json", "as_json", is_flag=True, help="One line of JSON on stdout.")


class NoSuchKey(CommandProblem):
    """There is no such key, or it was revoked before."""

    exit_code = ExitCode.REFUSED


@click.group()
def keys() -> None:
    """API keys of the default project. Works on the database, with HEADRACE_DATABASE_URL."""


@keys.command("create")
@click.argument("name")
@_json_option
def create_key(*, name: str, as_json: bool) -> None:
    """Make a key. Its secret is printed once and kept nowhere."""
    from storage.records import keys as records

    with _open() as connection:
        project = records.ensure_project(connection)
        key, secret = records.create_key(connection, project.id, name)
    if as_json:
        show_json({**_describe(key), "secret": secret})
        return
    click.echo(secret)
    say(f"{key.id} ({name}). Keep it now: it is not shown again.")


@keys.command("list")
@_json_option
def list_keys(*, as_json: bool) -> None:
    """List keys, revoked ones too."""
    from storage.records import keys as records

    with _open() as connection:
        project = records.ensure_project(connection)
        found = [_describe(key) for key in records.list_keys(connection, project.id)]
    if as_json:
        show_json(found)
        return
    columns = {name.upper(): name for name in ("id", "name", "shown_prefix", "created", "revoked")}
    show_table(columns, found)


@keys.command("revoke")
@click.argument("key_id")
@_json_option
def revoke_key(*, key_id: str, as_json: bool) -> None:
    """Revoke a key, at once."""
    from storage.records import keys as records

    with _open() as connection:
        project = records.ensure_project(connection)
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


@contextmanager
def _open() -> Iterator[Connection]:
    from storage.records.database import Database

    database = Database(make_sqlalchemy_url(find_database_url()), pool_size=1)
    try:
        with database.transaction() as connection:
            yield connection
    except DatabaseUnavailable as error:
        raise Unreachable(f"{error.message} Check HEADRACE_DATABASE_URL.") from None
    finally:
        database.close()


def _describe(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "shown_prefix": key.shown_prefix,
        "created": key.created.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
    }

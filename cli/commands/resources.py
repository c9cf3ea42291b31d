"""`headrace tasks` and `headrace files`: what the API has."""

from __future__ import annotations

import click

from cli.answers import Listing
from cli.client import ApiClient, Task
from cli.display import json_option, say, show_json, show_object, show_table
from cli.target import require_target
from ingest.states import Status

_page_option = click.option("--page", type=click.IntRange(min=1), default=1, show_default=True)
_limit_option = click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
_ref_option = click.option("--ref", help="Only those with this ref.")

_TASK_COLUMNS = {
    "ID": "id",
    "STATUS": "status",
    "PROGRESS": "progress",
    "CREATED": "created",
    "REF": "ref",
}
_FILE_COLUMNS = {
    "ID": "id",
    "TYPE": "type",
    "BYTES": "filesize",
    "FOLDER": "folder",
    "FILENAME": "filename",
    "CREATED": "created",
}


@click.group()
def tasks() -> None:
    """Tasks: ingests that were asked for."""


@tasks.command("get")
@click.argument("task_id")
@json_option
def get_task(*, task_id: str, as_json: bool) -> None:
    """Show one task."""
    with _connect() as client:
        task = client.get_task(task_id)
    (show_json if as_json else show_object)(task.raw)


@tasks.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]))
@_ref_option
@_page_option
@_limit_option
@json_option
def list_tasks(
    *, status: str | None, ref: str | None, page: int, limit: int, as_json: bool
) -> None:
    """List tasks, newest first."""
    with _connect() as client:
        listing = client.list_tasks(_make_query(page, limit, status=status, ref=ref))
    _show_listing(listing, _TASK_COLUMNS, as_json=as_json)


@tasks.command("cancel")
@click.argument("task_id")
@json_option
def cancel_task(*, task_id: str, as_json: bool) -> None:
    """Cancel a task that is pending or processing."""
    with _connect() as client:
        task = client.cancel_task(task_id)
    _show_decision(task, f"Cancelled {task.id}.", as_json=as_json)


@tasks.command("retry")
@click.argument("task_id")
@json_option
def retry_task(*, task_id: str, as_json: bool) -> None:
    """Retry a task that failed or was cancelled."""
    with _connect() as client:
        task = client.retry_task(task_id)
    _show_decision(task, f"{task.id} is pending again.", as_json=as_json)


@tasks.command("redirect")
@click.argument("task_id")
@click.argument("url")
@json_option
def redirect_task(*, task_id: str, url: str, as_json: bool) -> None:
    """Give a task that is not complete a fresh URL for the same media."""
    with _connect() as client:
        task = client.redirect_task(task_id, url)
    told = f"The next attempt of {task.id} fetches from the new URL."
    if task.ended:
        told += f" `headrace tasks retry {task.id}` starts it."
    _show_decision(task, told, as_json=as_json)


@click.group()
def files() -> None:
    """Files: what is stored."""


@files.command("get")
@click.argument("file_id")
@json_option
def get_file(*, file_id: str, as_json: bool) -> None:
    """Show one file."""
    with _connect() as client:
        file = client.get_file(file_id)
    (show_json if as_json else show_object)(file.raw)


@files.command("list")
@click.option("--kind", type=click.Choice(["video", "audio", "image"]))
@_ref_option
@_page_option
@_limit_option
@json_option
def list_files(*, kind: str | None, ref: str | None, page: int, limit: int, as_json: bool) -> None:
    """List files, newest first."""
    with _connect() as client:
        listing = client.list_files(_make_query(page, limit, kind=kind, ref=ref))
    _show_listing(listing, _FILE_COLUMNS, as_json=as_json)


@files.command("delete")
@click.argument("file_id")
@json_option
def delete_file(*, file_id: str, as_json: bool) -> None:
    """Delete a file: its bytes and its record."""
    with _connect() as client:
        client.delete_file(file_id)
    if as_json:
        show_json({"id": file_id, "deleted": True})
    else:
        say(f"Deleted {file_id}.")


def _connect() -> ApiClient:
    target = require_target()
    return ApiClient(target.url, target.key)


def _make_query(page: int, limit: int, **filters: str | None) -> dict[str, str | int]:
    given = {name: value for name, value in filters.items() if value is not None}
    return {"page": page, "limit": limit, **given}


def _show_decision(task: Task, told: str, *, as_json: bool) -> None:
    if as_json:
        show_json(task.raw)
    else:
        say(told)


def _show_listing(listing: Listing, columns: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        show_json(listing.items)
        return
    show_table(columns, listing.items)
    say(f"Page {listing.page} of {listing.pages}, {listing.total} in all.")

"""How results and progress are shown.

Invariant: stdout carries results alone, so that `--json` is pure; progress and chatter go to
stderr. rich is imported where it draws: most commands never do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cli.answers import JsonDict, Task

json_option = click.option("--json", "as_json", is_flag=True, help="One line of JSON on stdout.")
_NEVER_WRAPPED = frozenset({"ID", "CREATED", "STATUS", "TYPE"})


def say(line: str) -> None:
    """Tell a person something, on stderr."""
    click.echo(line, err=True)


def show_json(value: object) -> None:
    """Print a result as one plain line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def show_object(value: Mapping[str, object]) -> None:
    """Print an object as JSON to be read: indented, in colour on a terminal."""
    from rich.console import Console

    Console().print_json(data=dict(value))


def show_table(columns: Mapping[str, str], rows: Sequence[JsonDict]) -> None:
    """Print rows as a table.

    Args:
        columns: heading and field of each.
        rows: the objects.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in columns:
        table.add_column(heading, overflow="fold", no_wrap=heading in _NEVER_WRAPPED)
    for row in rows:
        table.add_row(*(_show_cell(row.get(field)) for field in columns.values()))
    Console().print(table)


@contextmanager
def show_progress(label: str, *, quiet: bool) -> Iterator[Callable[[Task], None]]:
    """Draw a bar on stderr; yields what takes each state of the task.

    Args:
        label: what is being ingested.
        quiet: draw nothing.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
    with progress:
        bar = progress.add_task(f"pending     {label}", total=None)

        def update(task: Task) -> None:
            progress.update(bar, description=f"{task.status.value:<11} {label}")
            if task.transfer is not None:
                progress.update(bar, completed=task.transfer.bytes, total=task.transfer.total)
            if task.file is not None:
                size = task.file.filesize
                progress.update(bar, completed=size, total=size)

        yield update


def _show_cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

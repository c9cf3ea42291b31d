"""The tasks of a batch, written down by the thousand.

Invariants: a name is reserved by the statement that makes its task, so two tasks never race for it;
ids are in the order of the list, so a batch by id is a batch by line. ``task.created`` is told
of no task of a batch: ``batch.created`` tells how many there are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from ingest.ids import Prefix, make_ids
from ingest.model import IfExists, Order
from storage.records.names import RESERVED

# As PostgreSQL calls the types of the columns. JSON goes as text: an array of it is read twice.
_TYPES = {
    "id": "text", "file_id": "text", "media_id": "text", "source_host": "text",
    "url_expires": "timestamptz", "max_attempts": "integer", "batch_line": "integer",
    "url": "text", "folder": "text", "filename": "text", "ref": "text", "metadata": "text",
    "checksum": "text", "max_bytes": "bigint", "priority": "smallint", "sealed_headers": "bytea",
    "webhook_url": "text", "overwrites": "boolean", "dedupe": "text", "access": "text",
    "poster": "boolean",
}  # fmt: skip
_SAME = "project_id, kind, batch_id, request_id"
_LOAD = text(f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(
            {", ".join(f"CAST(:{name} AS {type_}[])" for name, type_ in _TYPES.items())},
            CAST(:object_key AS text[])
        ) AS given ({", ".join(_TYPES)}, object_key)
    ), {RESERVED.format(id="id")}, made AS (
        INSERT INTO tasks ({_SAME}, {", ".join(_TYPES)})
        SELECT :project_id, 'ingest', :batch_id, :request_id,
            {", ".join(_TYPES).replace("metadata", "CAST(metadata AS jsonb)")}
        FROM given WHERE object_key IS NULL OR id IN (SELECT task_id FROM had)
    )
    SELECT batch_line FROM given
    WHERE object_key IS NOT NULL AND id NOT IN (SELECT task_id FROM had)
""")  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task that is to be made; ``object_key`` is the name to reserve for it, if it has one, and
    ``if_exists`` what is done if that is taken."""

    line: int
    order: Order
    source_host: str
    url_expires: datetime | None
    max_attempts: int
    object_key: str | None
    if_exists: IfExists = IfExists.ERROR


def find_beginning(batch_id: str) -> str:
    """Return what no id of a batch's tasks comes before: they are younger than the batch."""
    return f"{Prefix.TASK}_{batch_id.removeprefix(f'{Prefix.BATCH}_')[:10]}"


def load(
    connection: Connection,
    project_id: str,
    batch_id: str,
    request_id: str,
    rows: Sequence[PlannedTask],
    id_by_line: Mapping[int, str],
) -> Set[int]:
    """Make tasks of a batch, and reserve their names.

    Args:
        id_by_line: what the task of each line is to be called.

    Returns:
        The lines of those whose name is taken, which were not made.
    """
    given = {
        **_gather(rows, id_by_line),
        "project_id": project_id,
        "batch_id": batch_id,
        "request_id": request_id,
    }
    return frozenset(connection.execute(_LOAD, given).scalars())


def _gather(
    rows: Sequence[PlannedTask], id_by_line: Mapping[int, str]
) -> dict[str, Sequence[object] | None]:
    """Return what the columns hold; None of one that holds nothing."""
    count = len(rows)
    columns: dict[str, Sequence[object]] = {
        "id": [id_by_line[row.line] for row in rows],
        "file_id": make_ids(Prefix.FILE, count),
        "media_id": [
            row.order.media_id or new
            for row, new in zip(rows, make_ids(Prefix.MEDIA, count), strict=True)
        ],
        "source_host": [row.source_host for row in rows],
        "url_expires": [row.url_expires for row in rows],
        "max_attempts": [row.max_attempts for row in rows],
        "batch_line": [row.line for row in rows],
        "object_key": [row.object_key for row in rows],
        "metadata": [_dump(row.order) for row in rows],
    }
    for name in Order.__slots__:
        columns.setdefault(name, [getattr(row.order, name) for row in rows])
    # Beside others an array that is null is one of nulls (PostgreSQL, 9.19), and costs nothing.
    return {
        name: column if any(one is not None for one in column) else None
        for name, column in columns.items()
    }


def _dump(order: Order) -> str | None:
    return None if order.metadata is None else json.dumps(order.metadata)

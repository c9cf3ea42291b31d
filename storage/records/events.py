"""Events as they are read: one, a page, and the old ones forgotten. ``outbox`` writes them.

Rows of an event are those of its day: a column that came later is null in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Connection, Row, delete, select

from ingest.events import Event, EventType
from ingest.ids import Prefix, make_id
from ingest.model import Page, Transfer
from ingest.webhooks import Endpoint
from storage.records import batches, endpoints, files, lookups
from storage.records.batch_tables import batches as batches_table
from storage.records.listing import Window, read_page
from storage.records.snapshots import restore, restore_all, to_moment
from storage.records.tables import attempts, events, tasks
from storage.records.tables import files as files_table
from storage.records.tables import webhook_endpoints as endpoints_table


def get(connection: Connection, project_id: str, event_id: str) -> Event | None:
    """Return a project's event, or None where the project has no such event (any more)."""
    row = connection.execute(
        select(events).where(events.c.id == event_id, events.c.project_id == project_id)
    ).one_or_none()
    return None if row is None else to_event(row)


def list_page(
    connection: Connection,
    project_id: str,
    window: Window,
    *,
    type_: EventType | None = None,
    subject_id: str | None = None,
) -> Page[Event]:
    """Return one page of a project's events, newest first.

    Args:
        subject_id: of the task, the file, the batch or the endpoint that they tell of.
    """
    conditions: list[ColumnElement[bool]] = [events.c.project_id == project_id]
    if type_ is not None:
        conditions.append(events.c.type == type_)
    if subject_id is not None:
        conditions.append(events.c.subject_id == subject_id)
    return read_page(connection, events, conditions, window, to_event)


def forget_older(connection: Connection, moment: datetime, limit: int) -> int:
    """Delete events from before a moment, with their deliveries; return how many.

    Ids sort by time, so they are found at the beginning of the primary key.
    """
    oldest = (
        select(events.c.id)
        .where(events.c.id < make_id(Prefix.EVENT, moment), events.c.created < moment)
        .order_by(events.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return connection.execute(delete(events).where(events.c.id.in_(oldest))).rowcount


def to_event(row: Row[tuple[object, ...]]) -> Event:
    """Return what a row of ``events`` means; others columns may stand beside."""
    kept: Mapping[str, object] = row.snapshot
    task, file = restore(tasks, kept.get("task")), restore(files_table, kept.get("file"))
    endpoint = _read_endpoint(kept.get("endpoint"))
    batch = restore(batches_table, kept.get("batch"))
    transfer = cast("Sequence[int] | None", kept.get("transfer"))
    return Event(
        id=row.id,
        project_id=row.project_id,
        type=EventType(row.type),
        subject_id=row.subject_id,
        created=row.created,
        task=None if task is None else lookups.to_task(task),
        attempts=[lookups.to_attempt(one) for one in restore_all(attempts, kept.get("attempts"))],
        transfer=None if transfer is None else Transfer(*transfer),
        file=None if file is None else files.to_file(file),
        batch=None if batch is None else batches.to_batch(batch),
        endpoint=endpoint,
    )


def _read_endpoint(kept: object) -> Endpoint | None:
    row = restore(endpoints_table, kept)
    if row is None:
        return None
    since = cast("Mapping[str, object]", kept).get("failing_since")
    return replace(endpoints.to_endpoint(row), failing_since=to_moment(since))

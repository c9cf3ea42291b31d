"""Rows that a statement returned, or an event kept, as JSON: read like the rows they were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import cast

from sqlalchemy import DateTime, Row, Table


def restore(table: Table, kept: object) -> Row[tuple[object, ...]] | None:
    """Return what can be read like a row of a table, from what ``to_jsonb`` made of that row.

    A column that was not kept, since it is younger, is null.
    """
    if kept is None:
        return None
    values = cast("Mapping[str, object]", kept)
    restored = {
        column.name: to_moment(values.get(column.name))
        if isinstance(column.type, DateTime)
        else values.get(column.name)
        for column in table.columns
    }
    return cast("Row[tuple[object, ...]]", SimpleNamespace(**restored))


def restore_all(table: Table, kept: object) -> list[Row[tuple[object, ...]]]:
    """Return what can be read like rows of a table, from an array of them or from null."""
    rows = [restore(table, one) for one in cast("list[object]", kept or [])]
    return [row for row in rows if row is not None]


def to_moment(value: object) -> datetime | None:
    """Return a time that PostgreSQL wrote into JSON."""
    return None if value is None else datetime.fromisoformat(str(value))

"""Lists: numbered pages, and cursors that stay fast at depth.

Rows come newest first, or oldest first. Ids sort by creation time, so a cursor is simply the id at
the edge of the page, and reading on from it is one step along the primary key's index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, FromClause, Row, exists, func, select

from ingest.model import Page

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list. ``after`` and ``before`` are ids and win over ``page``.

    ``after`` reads on, ``before`` back: towards older and newer rows, unless the list is
    ``ascending``.
    """

    page: int = 1
    limit: int = 20
    after: str | None = None
    before: str | None = None
    ascending: bool = False


def read_page(
    connection: Connection,
    table: FromClause,
    conditions: Sequence[ColumnElement[bool]],
    window: Window,
    build: Callable[[Row[tuple[object, ...]]], T],
) -> Page[T]:
    """Read one page of the rows of ``table`` that meet all ``conditions``."""
    total = connection.execute(
        select(func.count()).select_from(table).where(*conditions)
    ).scalar_one()

    def follows(cursor: str) -> ColumnElement[bool]:
        return table.c.id > cursor if window.ascending else table.c.id < cursor

    def precedes(cursor: str) -> ColumnElement[bool]:
        return table.c.id < cursor if window.ascending else table.c.id > cursor

    on, back = table.c.id.desc(), table.c.id.asc()
    if window.ascending:
        on, back = back, on
    query = select(table).where(*conditions).limit(window.limit)
    if window.before is not None:
        query = query.where(precedes(window.before)).order_by(back)
        rows = list(reversed(connection.execute(query).all()))
    elif window.after is not None:
        query = query.where(follows(window.after)).order_by(on)
        rows = list(connection.execute(query).all())
    else:
        query = query.order_by(on).offset((window.page - 1) * window.limit)
        rows = list(connection.execute(query).all())

    def is_any(beyond: ColumnElement[bool]) -> bool:
        return connection.execute(select(exists().where(*conditions, beyond))).scalar_one()

    return Page(
        [build(row) for row in rows],
        total,
        window.page,
        window.limit,
        newer=bool(rows) and is_any(precedes(rows[0].id)),
        older=bool(rows) and is_any(follows(rows[-1].id)),
    )

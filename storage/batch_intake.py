"""A list of orders becomes the tasks of a batch, all in one transaction.

Invariants: it is read as a stream, some hundreds of rows at a time; a row that cannot be taken is a
:class:`ingest.batches.Reject` with its line and its reason, and the others are taken, or none is
(``on_error``); what a dry run says is what taking would do, for it does it and rolls it back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from pydantic import ValidationError
from sqlalchemy import Connection, text

from ingest.batch_requests import BatchItem, BatchOptions
from ingest.batches import Reject
from ingest.complaints import explain_invalid
from ingest.errors import (
    BodyTooLarge,
    FieldInvalid,
    FileExists,
    HeadraceError,
    IngestError,
    RequestError,
)
from ingest.ids import Prefix, make_id, make_ids
from ingest.list_rows import ListRow
from ingest.model import IfExists, Project
from ingest.naming import make_key
from ingest.signed_urls import find_expiry, name_host
from ingest.urls import parse_order_url
from storage.planning import Planner
from storage.records import batch_loading, batches, media, names, projects
from storage.records.batch_loading import PlannedTask

# Of a batch: those that are kept. All are counted.
MOST_REJECTS = 10_000
_ROWS_AT_ONCE = 1000
_SPEAKS_EVERY_S = 1.0
# That are remembered.
_MOST_MEDIA = 10_000
# How often names may be taken that were free a moment ago.
_MOST_NAMES = 5
_SHOWN_CHARS = 2000


@dataclass(slots=True)
class Taken:
    """What became of a list: tasks of a batch, and rows that became none."""

    batch_id: str
    total: int = 0
    rejected: int = 0
    rejects: list[Reject] = field(default_factory=list)


class Intake:
    """Takes the list of one batch, once.

    Args:
        most_rows: a list that has more is refused.
        max_attempts: of a task whose item says nothing of it.
        ensure_secret: called before the first task that has a ``webhook_url`` is written.
        keep_alive: called each second or so; what it raises ends the intake.
        batch_id: of a batch that is there already; a new one without.
        write: writes down what came of the list; without it, a new batch.
        note: called with each row that becomes a task, of a dry run too.
    """

    def __init__(
        self,
        connection: Connection,
        planner: Planner,
        project: Project,
        options: BatchOptions,
        *,
        request_id: str,
        most_rows: int,
        max_attempts: int,
        ensure_secret: Callable[[], object],
        keep_alive: Callable[[], object] = lambda: None,
        batch_id: str | None = None,
        write: Callable[[Taken], None] | None = None,
        note: Callable[[PlannedTask], object] | None = None,
    ) -> None:
        self._connection = connection
        self._planner = planner
        self._project = project
        self._options = options
        self._request_id = request_id
        self._most_rows = most_rows
        self._max_attempts = max_attempts
        self._ensure_secret = ensure_secret
        self._keep_alive = keep_alive
        self._write = write or self._create
        self._note = note
        self._spoke_at = time.monotonic()
        self._defaults = _list_defaults(options)
        self._places = projects.list_places(connection, project.id)
        self._told: str | None = None
        self._taken = Taken(batch_id or make_id(Prefix.BATCH))
        self._waiting: list[PlannedTask] = []
        # Whether a media is this project's, for those that were asked for.
        self._media: dict[str, bool] = {}
        self._signs = False
        # Then it may come to nothing, and all is as it should be.
        self._has_skipped = False

    def take(self, rows: Iterable[ListRow]) -> Taken:
        """Write the batch down, unless it is a dry run.

        Raises:
            BodyTooLarge: there are more rows than a batch may have.
            FieldInvalid: nothing of the list can be taken.
            RequestError, FileExists: of the first row that cannot be taken, where that ends it all.
            DatabaseUnavailable: nothing was made.
        """
        self._check_receiver()
        savepoint = self._connection.begin_nested()
        count = 0
        for row in rows:
            count += 1
            self._speak()
            if count > self._most_rows:
                raise BodyTooLarge(
                    f"The list has more than {self._most_rows} rows; send it in several batches."
                )
            self._add(row)
        self._load()
        taken = self._taken
        # A name that is taken is found out later than what is wrong in the rows behind it.
        taken.rejects.sort(key=attrgetter("line"))
        if not taken.total and not self._has_skipped:
            raise self._say_that_nothing_is_left(count)
        if self._options.dry_run:
            savepoint.rollback()
            return taken
        if self._told is not None:
            self._ensure_secret()
        self._write(taken)
        savepoint.commit()
        return taken

    def _check_receiver(self) -> None:
        told = self._options.webhook_url
        if told is not None:
            self._told = self._planner.check_receiver(told, "webhook_url")

    def _speak(self) -> None:
        """Let PostgreSQL know that somebody is there: it ends a transaction that says nothing."""
        if time.monotonic() - self._spoke_at > _SPEAKS_EVERY_S:
            self._connection.execute(text("SELECT 1"))
            self._keep_alive()
            self._spoke_at = time.monotonic()

    def _add(self, row: ListRow) -> None:
        try:
            planned = self._plan(row)
        except RequestError as error:
            self._reject(row.line, row.fields, error)
            return
        self._waiting.append(planned)
        if len(self._waiting) >= _ROWS_AT_ONCE:
            self._load()

    def _plan(self, row: ListRow) -> PlannedTask:
        if row.error is not None or row.fields is None:
            raise row.error or FieldInvalid("The row is empty.")
        fields = {**self._defaults, **row.fields} if self._defaults else row.fields
        try:
            asked = BatchItem.model_validate(fields)
        except ValidationError as error:
            raise explain_invalid(error) from None
        order = self._planner.make_order(asked)
        found = parse_order_url(order.url)
        self._planner.check_connection(self._project, found)
        self._check_media(order.media_id)
        name = self._planner.plan_name(self._project, order, self._is_place_of_another)
        return PlannedTask(
            line=row.line,
            order=order,
            source_host=name_host(found),
            url_expires=find_expiry(order.url),
            max_attempts=asked.max_attempts or self._max_attempts,
            object_key=name,
            if_exists=asked.if_exists or IfExists.ERROR,
        )

    def _check_media(self, media_id: str | None) -> None:
        if media_id is None:
            return
        if len(self._media) >= _MOST_MEDIA:
            self._media.clear()
        if media_id not in self._media:
            self._media[media_id] = media.is_known(self._connection, self._project.id, media_id)
        if not self._media[media_id]:
            raise media.say_unknown()

    def _is_place_of_another(self, key: str) -> bool:
        if not self._places:
            return False
        parts = key.split("/")
        return any("/".join(parts[:end]) in self._places for end in range(1, len(parts) + 1))

    def _load(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        if not self._signs and any(row.order.webhook_url for row in waiting):
            self._ensure_secret()
            self._signs = True
        # Kept by those that get another name: by its ids a batch is in the order of its list.
        ids = make_ids(Prefix.TASK, len(waiting))
        id_by_line = dict(zip((row.line for row in waiting), ids, strict=True))
        for _ in range(_MOST_NAMES):
            taken = batch_loading.load(
                self._connection,
                self._project.id,
                self._taken.batch_id,
                self._request_id,
                waiting,
                id_by_line,
            )
            self._taken.total += len(waiting) - len(taken)
            if self._note is not None:
                for row in waiting:
                    if row.line not in taken:
                        self._note(row)
            waiting = self._rename([row for row in waiting if row.line in taken])
            if not waiting:
                return
        for row in waiting:
            self._reject_taken(row)

    def _rename(self, taken: Sequence[PlannedTask]) -> list[PlannedTask]:
        """Return those whose names are taken under others that are free now; reject the rest."""
        by_name: dict[tuple[str | None, str], list[PlannedTask]] = {}
        for row in taken:
            if row.if_exists is IfExists.RENAME and row.order.filename is not None:
                name = (row.order.folder, row.order.filename)
                by_name.setdefault(name, []).append(row)
            else:
                self._reject_taken(row)
        renamed: list[PlannedTask] = []
        for (folder, filename), rows in by_name.items():
            free = names.list_free(self._connection, self._project, folder, filename, len(rows))
            for row, new in zip(rows, free, strict=False):
                key = make_key(self._project.key_prefix, folder, new)
                order = replace(row.order, filename=new)
                renamed.append(replace(row, order=order, object_key=key))
            for row in rows[len(free) :]:
                self._reject_taken(row)
        return renamed

    def _reject_taken(self, row: PlannedTask) -> None:
        error, fields = names.explain_taken(str(row.object_key)), {"url": row.order.url}
        if row.if_exists is IfExists.OVERWRITE:
            error = names.explain_made(str(row.object_key))
        if row.if_exists is IfExists.SKIP:
            error = FileExists(f"'{row.object_key}' is there already; the row is skipped.")
            self._has_skipped = True
        self._reject(row.line, fields, error, aborts=row.if_exists is not IfExists.SKIP)

    def _reject(
        self,
        line: int,
        fields: Mapping[str, object] | None,
        error: RequestError | IngestError,
        *,
        aborts: bool = True,
    ) -> None:
        if aborts and self._options.on_error == "abort":
            raise _say_line(line, error)
        taken = self._taken
        taken.rejected += 1
        if len(taken.rejects) < MOST_REJECTS:
            url = None if fields is None else fields.get("url")
            shown = None if not isinstance(url, str) else _show_url(url)
            taken.rejects.append(Reject(line, shown, error.as_failure(), error.param))

    def _say_that_nothing_is_left(self, count: int) -> HeadraceError:
        if not count:
            return FieldInvalid("The list has no items.", param="items")
        first = self._taken.rejects[0]
        return FieldInvalid(
            f"No item of {count} can be taken. Line {first.line}: {first.error.message}",
            param=first.param,
        )

    def _create(self, taken: Taken) -> None:
        options = self._options
        batches.create(
            self._connection,
            self._project.id,
            taken.batch_id,
            batches.NewBatch(
                ref=options.ref,
                metadata=options.metadata,
                webhook_url=self._told,
                concurrency=options.concurrency,
            ),
            total=taken.total,
            rejects=taken.rejects,
            rejected=taken.rejected,
            request_id=self._request_id,
        )


def _list_defaults(options: BatchOptions) -> Mapping[str, object]:
    defaults: dict[str, object] = {}
    if options.defaults is not None:
        defaults = options.defaults.model_dump(exclude_none=True)
    if options.priority is not None:
        defaults["priority"] = options.priority
    return defaults


def _say_line(line: int, error: RequestError | IngestError) -> RequestError | IngestError:
    return type(error)(f"Line {line}: {error.message} Nothing was made.", param=error.param)


def _show_url(url: str) -> str:
    """Return the beginning of what was written, in text that can be stored, without its query."""
    shown = url.partition("?")[0][:_SHOWN_CHARS].replace("\x00", "")
    return shown.encode(errors="backslashreplace").decode()

"""The list of a batch is read from a URL, and its tasks are made as if it had been sent.

In reading order: fetched into a file without a name, its form found, then taken row by row in one
transaction (:mod:`storage.batch_intake`). So a slow source holds no transaction, memory does not
grow with the list, and whatever ends this before the commit has made nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from pydantic import ValidationError
from sqlalchemy import Connection

from ingest.batch_jobs import Job
from ingest.batch_requests import BatchOptions
from ingest.complaints import explain_invalid
from ingest.config import Settings
from ingest.disposition import find_source_name
from ingest.errors import BodyInvalid, FieldInvalid, LeaseLost, RedisUnavailable
from ingest.json_list import read_items, read_options
from ingest.list_forms import HEAD_BYTES, find_form
from ingest.list_rows import ListFormat, ListRow
from ingest.lists import read_rows
from ingest.logs import get_logger
from ingest.source_headers import load_headers
from ingest.urls import parse_order_url
from storage.batch_intake import Intake, Taken
from storage.check_rows import CheckRows
from storage.planning import Planner
from storage.project_secrets import ensure_project_secret
from storage.records import batch_checks, batch_jobs, projects
from storage.records.batch_loading import PlannedTask
from storage.records.database import Database
from storage.sealing import Sealer
from storage.signals import Signals
from workers.asking import Asker, find_source_url, open_headers
from workers.batch_jobs import HeldJob
from workers.connections import SourceBuckets
from workers.egress import Egress
from workers.fetch import Limits, Source
from workers.watchdog import Cancellation

# The longest list at a few hundred kB/s; lists that take longer would keep others waiting.
_LIST_TIMEOUT_S = 900.0
_READ_BYTES = 256 * 1024
_KEPT_IN_MEMORY_BYTES = 1024 * 1024
# What a JSON list may say beside its items. All else was decided by who ordered it.
_OF_LISTS = frozenset({"defaults"})


class ListLoader:
    """Reads lists; one instance serves all threads.

    Args:
        clock: seconds, never running backwards.
    """

    def __init__(
        self,
        database: Database,
        signals: Signals,
        settings: Settings,
        sealer: Sealer,
        egress: Egress,
        sources: SourceBuckets,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._signals = signals
        self._settings = settings
        self._sealer = sealer
        self._planner = Planner(settings, sealer)
        self._egress = egress
        self._sources = sources
        self._clock = clock

    def load(self, held: HeldJob) -> None:
        """Read a batch's list, and make its tasks.

        Raises:
            LeaseLost: the job is another's, or the batch was cancelled; nothing was made.
            HeadraceError: the list cannot be read or taken; nothing was made.
        """
        job = held.job
        with SpooledTemporaryFile(max_size=_KEPT_IN_MEMORY_BYTES) as spool:
            kept = cast("BinaryIO", spool)
            form = self._fetch(held, kept)
            get_logger(__name__).info("list.fetched", format=form.value, bytes=kept.tell())
            kept.seek(0)
            options, rows = read_list(self._open_options(job), kept, form)
            with CheckRows() as asked, self._database.transaction() as connection:
                note = asked.note if options.check_sources else None
                taken = self._take(connection, held, options, rows, note)
                done = batch_jobs.finish_load(
                    connection,
                    job,
                    total=taken.total,
                    rejects=taken.rejects,
                    rejected=taken.rejected,
                    is_over=options.dry_run and not options.check_sources,
                )
                if not done:
                    raise LeaseLost("The batch was cancelled, or another worker reads its list.")
                if options.check_sources:
                    batch_checks.order(
                        connection,
                        job.project_id,
                        job.batch_id,
                        asked.read(),
                        attempt=job.attempt,
                    )
        get_logger(__name__).info("batch.created", tasks=taken.total, rejected=taken.rejected)
        with suppress(RedisUnavailable):
            self._signals.nudge()
            self._signals.nudge_webhooks()

    def _fetch(self, held: HeldJob, kept: BinaryIO) -> ListFormat:
        """Keep the list aside, and return how it is written."""
        job, cancellation = held.job, Cancellation()
        with held.interrupting(cancellation.abort):
            source = self._open(job, cancellation)
            try:
                buffer, head = memoryview(bytearray(_READ_BYTES)), b""
                while count := source.fill(buffer):
                    held.check()
                    kept.write(buffer[:count])
                    head += bytes(buffer[: max(0, HEAD_BYTES - len(head))][:count])
            finally:
                source.close()
        names = [
            find_source_name(source.dispositions, source.url.path),
            parse_order_url(job.url or "").path,
        ]
        return find_form(job.form, source.get_header("Content-Type"), names, head)

    def _open(self, job: Job, cancellation: Cancellation) -> Source:
        url, settings = job.url or "", self._settings
        total_s = min(_LIST_TIMEOUT_S, settings.total_timeout_s)
        return Asker(self._egress, self._sources, job.project_id, self._clock).ask(
            find_source_url(url),
            Limits(
                max_bytes=settings.batch_max_bytes,
                total_timeout_s=total_s,
                lowest_bps=settings.lowest_bps,
                lowest_window_s=settings.lowest_window_s,
                max_redirects=settings.max_redirects,
            ),
            headers=open_headers(self._sealer, url, job.sealed_headers),
            cancellation=cancellation,
            deadline=self._clock() + total_s,
        )

    def _open_options(self, job: Job) -> BatchOptions:
        fields = dict(job.options or {})
        if job.sealed_item_headers is not None:
            headers = load_headers(self._sealer.open(job.sealed_item_headers))
            before = cast("Mapping[str, object]", fields.get("defaults", {}))
            fields["defaults"] = {**before, "headers": headers}
        return BatchOptions.model_validate(fields)

    def _take(
        self,
        connection: Connection,
        held: HeldJob,
        options: BatchOptions,
        rows: Iterator[ListRow],
        note: Callable[[PlannedTask], object] | None,
    ) -> Taken:
        job = held.job
        project = projects.get(connection, job.project_id)
        return Intake(
            connection,
            self._planner,
            project,
            options,
            request_id=job.request_id,
            most_rows=self._settings.find_most_rows(asks_sources=options.check_sources),
            max_attempts=self._settings.max_attempts,
            ensure_secret=lambda: self._ensure_secret(project.id),
            keep_alive=held.check,
            batch_id=job.batch_id,
            # The batch is there; what came of its list is written under the job's lease.
            write=lambda _: None,
            note=note,
        ).take(rows)

    def _ensure_secret(self, project_id: str) -> None:
        # In a transaction of its own: for as long as the list takes, nobody else could write to the
        # project's row, which files of a project with a limit are counted in.
        with self._database.transaction() as connection:
            ensure_project_secret(self._sealer, connection, project_id)


def read_list(
    options: BatchOptions, kept: BinaryIO, form: ListFormat
) -> tuple[BatchOptions, Iterator[ListRow]]:
    """Return what holds for a list, with what it says itself of its items, and its rows."""
    if form is not ListFormat.JSON:
        return options, read_rows(kept, form)
    try:
        said = read_options(kept)
    except BodyInvalid as error:
        raise BodyInvalid(error.message.replace("The body", "The list", 1)) from None
    for name in said:
        if name not in _OF_LISTS:
            raise FieldInvalid(f"'{name}' stands in the request, not in its list.", param=name)
    kept.seek(0)
    return _add_defaults(options, said.get("defaults")), read_items(kept)


def _add_defaults(options: BatchOptions, said: object) -> BatchOptions:
    """Return options with what the list says where the request says nothing."""
    try:
        of_list = BatchOptions.model_validate({"defaults": said}).defaults
    except ValidationError as error:
        raise explain_invalid(error) from None
    if of_list is None:
        return options
    asked = options.defaults
    given = {} if asked is None else asked.model_dump(exclude_none=True)
    return options.model_copy(update={"defaults": of_list.model_copy(update=given)})

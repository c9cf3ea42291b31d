"""How an attempt asks its source: for all of the file, for the rest of it, for a part of it.

Invariants: what redirects led to is asked again first, and the task's own URL where that is
refused, since an address that was handed out may have ended; the order's headers go where
:mod:`workers.asking` and :mod:`workers.fetch` let them, and nowhere else later; all requests of one
attempt share one time limit; an attempt opens no more connections than its share of the host's
``host_limit``, by the last word from the database. That is asked for every two seconds, and a
request that runs is not cut off: for so long, after other attempts have begun, a host may have more
in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from ingest.config import Settings
from ingest.errors import (
    DatabaseUnavailable,
    LeaseLost,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    StorageUnavailable,
    UploadLost,
    WorkerStopped,
)
from ingest.model import Lease
from ingest.signed_urls import find_host
from ingest.urls import ObjectUrl, SourceUrl
from storage.records import lookups
from workers.answers import Resume
from workers.asking import Asker, open_headers
from workers.attempt import Attempt
from workers.checkpoints import Resumption
from workers.fetch import Limits, Source
from workers.reading import Splitting
from workers.stream import Stream
from workers.watchdog import Cancellation

# Whatever else ended an attempt may have come of how the source was asked.
_OUR_OWN_ERRORS = frozenset(
    one.code
    for one in (DatabaseUnavailable, LeaseLost, StorageUnavailable, UploadLost, WorkerStopped)
)


class Opener:
    """Opens the source of one attempt.

    Args:
        cancellation: of the attempt.

    Raises:
        SecretUnreadable: the order's headers cannot be opened.

    Attributes:
        deadline: when the time for all of the download is over, by the clock of the tools.
    """

    def __init__(self, attempt: Attempt, cancellation: Cancellation) -> None:
        self._attempt = attempt
        self._tools = attempt.tools
        self._cancellation = cancellation
        self._limits = _make_limits(attempt.tools.settings, attempt.lease)
        self.deadline = self._tools.clock() + self._limits.total_timeout_s
        order = attempt.lease.task.order
        self._headers = open_headers(attempt.tools.sealer, order.url, order.sealed_headers)
        self._asker = Asker(
            self._tools.egress,
            self._tools.sources,
            attempt.lease.task.project_id,
            self._tools.clock,
        )
        self._led_to: SourceUrl | ObjectUrl = attempt.url
        self._led_headers = self._headers
        self._most = 1

    def open(self, found: Resumption | None) -> tuple[Stream, Resumption | None]:
        """Open the source where ``found`` ends; if it has another file now, at its beginning.

        Raises:
            IngestError: as :func:`workers.fetch.open_source`.
        """
        source = None if found is None else self._resume(found)
        if source is None:
            source, found = self._ask_first(None), None
        elif source.resumed_from == 0:
            found = None
        # An address that was signed for one request is not asked again.
        if isinstance(self._attempt.url, SourceUrl):
            self._led_to, self._led_headers = source.url, source.headers
        return Stream(source, self._reopen, self._cancellation), found

    def split(self) -> Splitting | None:
        """Return how the rest of the file may be read over several connections, if it may.

        Where the source ended the attempt before, it may not: several connections may have been
        why.
        """
        before = self._attempt.lease.previous_error
        is_source_at_fault = before is not None and before.code not in _OUR_OWN_ERRORS
        if is_source_at_fault or self._tools.settings.source_connections == 1:
            return None
        return Splitting(self._ask_again, self._tools.readers, self._find_most)

    def _resume(self, found: Resumption) -> Source | None:
        resume = Resume(found.from_byte, found.etag, found.size_bytes)
        try:
            source = self._ask_first(resume)
        except SourceChanged:
            source = None
        if source is None or source.resumed_from != found.from_byte:
            self._attempt.start_again()
        return source

    def _ask_first(self, resume: Resume | None) -> Source:
        return self._ask(self._attempt.url, self._headers, resume, self._cancellation)

    def _reopen(self, resume: Resume) -> Source:
        return self._ask_again(resume, self._cancellation)

    def _ask_again(self, resume: Resume, cancellation: Cancellation) -> Source:
        try:
            return self._ask(self._led_to, self._led_headers, resume, cancellation)
        except (SourceForbidden, SourceNotFound):
            if self._led_to == self._attempt.url:
                raise
            return self._ask(self._attempt.url, self._headers, resume, cancellation)

    def _ask(
        self,
        url: SourceUrl | ObjectUrl,
        headers: Mapping[str, str],
        resume: Resume | None,
        cancellation: Cancellation,
    ) -> Source:
        return self._asker.ask(
            url,
            self._limits,
            headers=headers,
            resume=resume,
            cancellation=cancellation,
            deadline=self.deadline,
        )

    def _find_most(self) -> int:
        """Return how many connections this attempt may have now.

        Without a word from the database nobody knows how many others there are: then the last
        number holds, at first one. A database that hangs is waited for within the limits of
        :mod:`storage.records.database`, some ten seconds; what a source sends meanwhile to a thread
        that asks waits in its socket, and nothing of it is lost.
        """
        settings = self._tools.settings
        if not settings.host_limit:
            return settings.source_connections
        with suppress(DatabaseUnavailable):
            with self._tools.database.transaction() as connection:
                running = lookups.count_running(
                    connection, find_host(self._attempt.lease.task.order.url)
                )
            share = settings.host_limit // max(1, running)
            self._most = max(1, min(settings.source_connections, share))
        return self._most


def _make_limits(settings: Settings, lease: Lease) -> Limits:
    max_bytes = lease.task.order.max_bytes
    return Limits(
        max_bytes=settings.max_bytes if max_bytes is None else min(max_bytes, settings.max_bytes),
        total_timeout_s=settings.total_timeout_s,
        lowest_bps=settings.lowest_bps,
        lowest_window_s=settings.lowest_window_s,
        max_redirects=settings.max_redirects,
        room_bytes=lease.room_bytes,
    )

"""The sources of a dry run are asked for their beginning, and judged as an ingest would judge them.

Some at once, few of one host, all of them within one limit. Invariants: what is asked for is the
first :data:`ingest.formats.SNIFF_BYTES`, and no more is read of a source that sends all; nothing is
kept of it but what is shown; what was answered is written down each second, so a worker that goes
on where another died asks a source twice at worst.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ingest.config import Settings
from ingest.errors import HeadraceError, InternalError, LeaseLost, SourceTimeout
from ingest.formats import SNIFF_BYTES
from ingest.logs import get_logger
from storage.records import batch_checks, lookups
from storage.records.batch_checks import CheckAnswer, CheckRow
from storage.records.database import Database
from storage.sealing import Sealer
from workers.asking import Asker, find_source_url, open_headers
from workers.batch_jobs import HeldJob
from workers.connections import SourceBuckets
from workers.egress import Egress
from workers.fetch import Limits
from workers.storing import judge_content
from workers.watchdog import Cancellation

# Of one host at once, where its limit and those who fetch from it leave so much.
_MOST_OF_HOST = 8
_ASKED_EVERY_S = 2.0
# Read ahead, so that others are asked while one host has as many as it may.
_ROWS_AHEAD = 1000
_WRITTEN_EVERY_S = 1.0
_WRITTEN_AT_ONCE = 500
_SHOWN_CHARS = 1000


class SourceChecker:
    """Asks the sources of dry runs; one instance serves all threads.

    Args:
        clock: seconds, never running backwards.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        sealer: Sealer,
        egress: Egress,
        sources: SourceBuckets,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._settings = settings
        self._sealer = sealer
        self._egress = egress
        self._sources = sources
        self._clock = clock

    def check(self, held: HeldJob) -> None:
        """Ask all sources of a batch that were not asked yet.

        Raises:
            LeaseLost: the job is another's, or the batch was cancelled.
            DatabaseUnavailable: what was not written down is asked again.
        """
        cancellation = Cancellation()
        executor = ThreadPoolExecutor(self._settings.check_connections, "check")
        try:
            with held.interrupting(cancellation.abort):
                _Round(self, held, cancellation, executor).run()
        finally:
            # Those that are not wanted any more end at once.
            cancellation.abort()
            executor.shutdown(cancel_futures=True)

    def ask(self, held: HeldJob, row: CheckRow, cancellation: Cancellation) -> CheckAnswer:
        """Ask the source of one row. Raises nothing: what goes wrong is the answer."""
        try:
            return self._ask(held, row, cancellation)
        except HeadraceError as error:
            return CheckAnswer(row.line, error=error.as_failure())
        except Exception as error:  # noqa: BLE001 - one row must not end the others
            get_logger(__name__).exception("check.broke", line=row.line)
            broken = InternalError(f"Headrace failed with {type(error).__name__}.")
            return CheckAnswer(row.line, error=broken.as_failure())

    def _ask(self, held: HeldJob, row: CheckRow, cancellation: Cancellation) -> CheckAnswer:
        settings = self._settings
        most_bytes = settings.max_bytes if row.max_bytes is None else row.max_bytes
        total_s = min(
            settings.total_timeout_s, settings.connect_timeout_s + 2 * settings.first_byte_timeout_s
        )
        asker = Asker(self._egress, self._sources, held.job.project_id, self._clock)
        source = asker.ask(
            find_source_url(row.url),
            Limits(
                max_bytes=min(most_bytes, settings.max_bytes),
                total_timeout_s=total_s,
                lowest_bps=settings.lowest_bps,
                lowest_window_s=settings.lowest_window_s,
                max_redirects=settings.max_redirects,
            ),
            headers=open_headers(self._sealer, row.url, row.sealed_headers),
            cancellation=cancellation,
            deadline=self._clock() + total_s,
            head_bytes=SNIFF_BYTES,
        )
        try:
            head = bytearray(SNIFF_BYTES)
            count = source.fill(head)
        finally:
            source.close()
        found = judge_content(bytes(head[:count]))
        return CheckAnswer(
            row.line,
            type=found.type,
            size_bytes=source.size_bytes,
            etag=_clean(source.get_header("ETag")),
            last_modified=_clean(source.get_header("Last-Modified")),
            ranged=source.ranged,
        )

    def read_ahead(self, held: HeldJob, after_line: int) -> Sequence[CheckRow]:
        """Return the next rows to be asked."""
        with self._database.transaction() as connection:
            return batch_checks.list_pending(connection, held.job.batch_id, after_line, _ROWS_AHEAD)

    def write(self, held: HeldJob, answers: Sequence[CheckAnswer]) -> None:
        """Write answers down.

        Raises:
            LeaseLost: nothing was written.
        """
        with self._database.transaction() as connection:
            is_held = batch_checks.write_answers(connection, held.job, answers)
        if not is_held:
            raise LeaseLost("The batch was cancelled, or another worker asks its sources.")

    def finish(self, held: HeldJob, *, in_time: bool) -> None:
        """End the batch; where the time was over, with that as the answer of all that is left.

        Raises:
            LeaseLost: nothing was written.
        """
        late = SourceTimeout(
            f"The check took longer than {self._settings.check_timeout_s:g} s; the source was not "
            "asked."
        )
        with self._database.transaction() as connection:
            if not in_time:
                batch_checks.give_up(connection, held.job, late)
            is_held = batch_checks.finish(connection, held.job)
        if not is_held:
            raise LeaseLost("The batch was cancelled, or another worker asks its sources.")

    def find_most(self, host: str) -> int:
        """Return how many requests a host may have from one check now."""
        limit = self._settings.host_limit
        if not limit:
            return _MOST_OF_HOST
        with self._database.transaction() as connection:
            running = lookups.count_running(connection, host)
        return max(1, min(_MOST_OF_HOST, limit - running))

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds, never running backwards."""
        return self._clock

    @property
    def settings(self) -> Settings:
        """What bounds a check."""
        return self._settings


class _Round:
    """One job's rows: waiting by host, being asked, and answered but not written yet."""

    def __init__(
        self,
        checker: SourceChecker,
        held: HeldJob,
        cancellation: Cancellation,
        executor: ThreadPoolExecutor,
    ) -> None:
        self._checker = checker
        self._held = held
        self._cancellation = cancellation
        self._executor = executor
        self._clock = checker.clock
        self._waiting: OrderedDict[str, deque[CheckRow]] = OrderedDict()
        self._waiting_count = 0
        self._read_to = 0
        self._is_read = False
        self._asking: dict[Future[CheckAnswer], str] = {}
        self._of_host: Counter[str] = Counter()
        # Of hosts that had a request already: how many more may come, and until when that holds.
        self._most: dict[str, tuple[int, float]] = {}
        self._answers: list[CheckAnswer] = []

    def run(self) -> None:
        """Ask until all have answered, or the time is over."""
        ends = self._clock() + self._checker.settings.check_timeout_s
        written = self._clock()
        while self._clock() < ends:
            self._held.check()
            self._fill()
            self._start()
            if not self._asking:
                break
            done, _ = wait(self._asking, _WRITTEN_EVERY_S, FIRST_COMPLETED)
            for future in done:
                self._of_host[self._asking.pop(future)] -= 1
                self._answers.append(future.result())
            is_due = self._clock() - written >= _WRITTEN_EVERY_S
            if is_due or len(self._answers) >= _WRITTEN_AT_ONCE:
                self._write()
                written = self._clock()
        self._write()
        self._checker.finish(self._held, in_time=self._clock() < ends)

    def _fill(self) -> None:
        if self._is_read or self._waiting_count >= _ROWS_AHEAD / 2:
            return
        rows = self._checker.read_ahead(self._held, self._read_to)
        for row in rows:
            self._waiting.setdefault(row.source_host, deque()).append(row)
        self._waiting_count += len(rows)
        self._is_read = len(rows) < _ROWS_AHEAD
        if rows:
            self._read_to = rows[-1].line

    def _start(self) -> None:
        """Ask hosts in turn, while there is room."""
        most = self._checker.settings.check_connections
        # A host that has as many as it may is passed over until one of them has answered.
        full: set[str] = set()
        while len(self._asking) < most:
            host = next((one for one in self._waiting if one not in full), None)
            if host is None:
                return
            if self._of_host[host] and self._of_host[host] >= self._find_most(host):
                full.add(host)
                continue
            rows = self._waiting[host]
            row = rows.popleft()
            if rows:
                self._waiting.move_to_end(host)
            else:
                del self._waiting[host]
            self._waiting_count -= 1
            self._of_host[host] += 1
            future = self._executor.submit(self._checker.ask, self._held, row, self._cancellation)
            self._asking[future] = host

    def _find_most(self, host: str) -> int:
        most, until = self._most.get(host, (0, 0.0))
        if self._clock() >= until:
            most = self._checker.find_most(host)
            self._most[host] = most, self._clock() + _ASKED_EVERY_S
        return most

    def _write(self) -> None:
        answers, self._answers = self._answers, []
        # What was cut off tells of that, and not of its source.
        self._held.check()
        if answers:
            self._checker.write(self._held, answers)


def _clean(header: str | None) -> str | None:
    """Return a header as it can be stored and shown."""
    if header is None:
        return None
    return "".join(char if char.isprintable() else "?" for char in header)[:_SHOWN_CHARS]

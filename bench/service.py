"""The whole service beside a textbook Celery worker: small pictures, everything on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import requests
from sqlalchemy import func, select

from bench.bed import JPEG_BYTES, Bed
from bench.rounds import interleave
from bench.store import describe_stack
from bench.table import Bounds, Judged, Line
from bench.textbook_worker import TextbookWorker
from bench.wire import HOST
from cli.local import LocalStack
from ingest.environ import load_settings
from storage.records.database import Database
from storage.records.tables import files, tasks

_FILES = 2000
_TUNING_FILES = 300
_WARM_UP_FILES = 50
_ROUNDS = 3
_POSTERS = 4
_POLL_S = 0.1
_PATIENCE_S = 300.0
_TIMEOUT_S = 30.0
_POOLS = (("prefork", 2), ("prefork", 4), ("threads", 4), ("threads", 8))
_BOUNDS = Bounds(Judged.RATIO_AT_LEAST, 3, 6)


def measure_service(bed: Bed) -> list[Line]:
    """Measure 2,000 pictures of 100 KiB, from the first order to the last File."""
    with (
        bed.open_source() as source,
        LocalStack(bed.folder / "service", allow_addresses=[f"{HOST}:{source.port}"]) as stack,
    ):
        ours = _Headrace(stack)
        theirs = _Textbook(bed, stack.environ)
        urls = [f"{source.url}/jpeg/{number}.jpg" for number in range(_FILES)]
        rates = {one: theirs.measure(one, urls[:_TUNING_FILES], "tuning") for one in _POOLS}
        for (pool, concurrency), rate in rates.items():
            bed.say(f"  textbook, {pool} x {concurrency}: {rate:.1f} files/s")
        best = max(rates, key=lambda one: rates[one])
        ours.measure(urls[:_WARM_UP_FILES])
        peers: dict[str, Callable[[int], float]] = {
            "headrace": lambda _: ours.measure(urls),
            "textbook": lambda number: theirs.measure(best, urls, f"round-{number}"),
        }
        found = interleave(peers, bed.pick_rounds(_ROUNDS), warm_up=False)
        hashes = {url: bed.media.hash_jpeg(JPEG_BYTES, number) for number, url in enumerate(urls)}
        store = describe_stack(stack.environ)
        bed.check_hashes(store, ours.list_stored(hashes), "headrace")
        expected = {_name_key("round-1", url): sha256 for url, sha256 in hashes.items()}
        bed.check_hashes(store, expected, "textbook")
        ours.close()
    shown = f"textbook Celery, {best[0]} x {best[1]}"
    title = "2,000 x 100 KiB jpeg, whole service"
    return [Line(title, "files/s", found["headrace"], shown, found["textbook"], _BOUNDS)]


class _Headrace:
    """The service, as somebody with a key uses it."""

    def __init__(self, stack: LocalStack) -> None:
        self._url = f"{stack.api_url}/tasks"
        self._headers = {"Authorization": f"Bearer {stack.api_key}"}
        self._database = Database(load_settings(stack.environ).sqlalchemy_url)
        self._last: list[str] = []

    def close(self) -> None:
        """Let the database go."""
        self._database.close()

    def measure(self, urls: Sequence[str]) -> float:
        """Order all and wait for the last; return the files a second in between.

        Raises:
            RuntimeError: a task did not complete.
        """
        began = datetime.now(UTC)
        self._last = self._order(urls)
        ended = self._wait(self._last)
        return len(urls) / (ended - began).total_seconds()

    def list_stored(self, hashes: Mapping[str, str]) -> dict[str, str]:
        """Return the sha256 by object key of what was ordered last.

        Args:
            hashes: the sha256 of the source by URL.

        Raises:
            RuntimeError: a File says another.
        """
        query = select(tasks.c.url, files.c.object_key, files.c.sha256).join_from(
            files, tasks, files.c.task_id == tasks.c.id
        )
        with self._database.transaction() as connection:
            rows = connection.execute(query.where(tasks.c.id.in_(self._last))).all()
        if any(hashes[url] != sha256 for url, _, sha256 in rows):
            raise RuntimeError("a File has another sha256 than its source")
        return {key: sha256 for _, key, sha256 in rows}

    def _order(self, urls: Sequence[str]) -> list[str]:
        """Order tasks one by one, by some threads at once; return their ids."""

        def post_some(some: Sequence[str]) -> list[str]:
            with requests.Session() as session:
                session.trust_env = False
                return [self._post(session, url) for url in some]

        with ThreadPoolExecutor(_POSTERS) as pool:
            shares = pool.map(post_some, [urls[first::_POSTERS] for first in range(_POSTERS)])
            return [task_id for share in shares for task_id in share]

    def _post(self, session: requests.Session, url: str) -> str:
        body = {"kind": "ingest", "url": url}
        answer = session.post(self._url, json=body, headers=self._headers, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return str(answer.json()["data"]["id"])

    def _wait(self, ids: Sequence[str]) -> datetime:
        """Return when the last of these tasks ended, by the database's clock."""
        # Ids are in order of time, and nobody else makes any: all from the first on are ours.
        ours = tasks.c.id >= min(ids)
        query = select(
            func.count().filter(tasks.c.status.in_(["pending", "processing"])),
            func.count().filter(tasks.c.status == "complete"),
            func.max(tasks.c.finished),
        ).where(ours)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            with self._database.transaction() as connection:
                open_, complete, ended = connection.execute(query).one()
            if not open_:
                if complete != len(ids):
                    raise RuntimeError(f"only {complete} of {len(ids)} tasks are complete")
                return datetime.fromisoformat(str(ended))
            time.sleep(_POLL_S)
        raise RuntimeError(f"{open_} tasks did not end in {_PATIENCE_S:g} s")


class _Textbook:
    """The textbook worker; started for each measurement, so that it is not there in between."""

    def __init__(self, bed: Bed, environ: Mapping[str, str]) -> None:
        self._bed = bed
        self._environ = environ

    def measure(self, pool: tuple[str, int], urls: Sequence[str], folder: str) -> float:
        """Order all and wait for the last; return the files a second in between."""
        log = self._bed.log("textbook")
        with TextbookWorker(self._environ, *pool, log) as worker:
            warm = urls[:_WARM_UP_FILES]
            worker.run(warm, [_name_key("warm-up", url) for url in warm])
            elapsed_s = worker.run(urls, [_name_key(folder, url) for url in urls])
        return len(urls) / elapsed_s


def _name_key(folder: str, url: str) -> str:
    return f"textbook/{folder}/{url.rpartition('/')[2]}"

"""The textbook worker as a peer: started, given tasks, and timed by the results it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, cast
from urllib.parse import urlsplit, urlunsplit

from celery import Celery
from celery.result import AsyncResult
from redis import Redis

from bench.processes import ROOT
from bench.textbook import INGEST

_POLL_S = 0.05
_READY_S = 60.0
_PATIENCE_S = 300.0
# Headrace's own is 0.
BROKER_DATABASE, _RESULT_DATABASE = 1, 2


class TextbookWorker:
    """``celery worker`` for the length of a ``with`` block.

    Args:
        environ: the settings of the stack whose servers it uses, in databases of its own.
        pool: Celery's name for it, ``prefork`` or ``threads``.
        concurrency: tasks at once.
        log: where it logs.
    """

    def __init__(self, environ: Mapping[str, str], pool: str, concurrency: int, log: Path) -> None:
        redis_url = environ["HEADRACE_REDIS_URL"]
        broker = choose_database(redis_url, BROKER_DATABASE)
        backend = choose_database(redis_url, _RESULT_DATABASE)
        self._environ = {
            **os.environ,
            "TEXTBOOK_BROKER": broker,
            "TEXTBOOK_BACKEND": backend,
            "TEXTBOOK_S3_ENDPOINT": environ["HEADRACE_S3_ENDPOINT"],
            "TEXTBOOK_S3_BUCKET": environ["HEADRACE_S3_BUCKET"],
            "TEXTBOOK_FFPROBE": environ["HEADRACE_FFPROBE_PATH"],
            "AWS_ACCESS_KEY_ID": environ["HEADRACE_S3_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": environ["HEADRACE_S3_SECRET_ACCESS_KEY"],
        }
        self._arguments = ["--pool", pool, "--concurrency", str(concurrency)]
        self._log = log
        self._app = Celery("orders", broker=broker, backend=backend, set_as_current=False)
        self._app.conf.update(task_default_queue="textbook")
        self._results = Redis.from_url(backend)

    def __enter__(self) -> Self:
        self._results.flushdb()
        command = [sys.executable, "-m", "celery", "--app", "bench.textbook", "worker"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._arguments, "--loglevel", "WARNING"],
                cwd=ROOT,
                env=self._environ,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._app.close()
        self._results.close()

    def run(self, urls: Sequence[str], keys: Sequence[str]) -> float:
        """Order that URLs be stored; return the seconds from the first order to the last result.

        Raises:
            RuntimeError: a task failed, or none ended for long.
        """
        self._results.flushdb()
        began = datetime.now(UTC)
        orders = [
            self._app.send_task(INGEST, args=[url, key])
            for url, key in zip(urls, keys, strict=True)
        ]
        self._wait(len(orders))
        elapsed_s = max((_read_end(one) - began).total_seconds() for one in orders)
        for one in orders:
            # It would speak to the backend when it is collected, which may be gone by then.
            one.backend = None  # type: ignore[assignment]  # what its __del__ looks for
        return elapsed_s

    def _wait(self, count: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        # Each result is one key of a database that holds nothing else.
        while self._results.dbsize() < count:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"the textbook worker did not finish; see {self._log}")
            time.sleep(_POLL_S)


def _read_end(order: AsyncResult[object]) -> datetime:
    if order.state != "SUCCESS":
        raise RuntimeError(f"a textbook task failed: {order.result}")
    done = cast("datetime", order.date_done)
    return done if done.tzinfo is not None else done.replace(tzinfo=UTC)


def choose_database(redis_url: str, number: int) -> str:
    """Return the URL of another database of the same Redis."""
    return urlunsplit(urlsplit(redis_url)._replace(path=f"/{number}"))

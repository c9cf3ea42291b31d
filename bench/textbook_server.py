"""The textbook API as a peer: gunicorn with as many processes and threads as Headrace's has."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import requests
from redis import Redis
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from bench.processes import ROOT
from bench.textbook_api import Base, Key, Task, hash_key
from bench.textbook_worker import BROKER_DATABASE, choose_database
from bench.wire import HOST
from ingest.environ import load_settings

_READY_S = 60.0
_PROJECT_ID = "prj_textbook"


class TextbookApi:
    """``gunicorn`` for the length of a ``with`` block, on servers of a stack.

    Args:
        environ: the settings of that stack.
        log: where it logs.

    Attributes:
        key: one that it knows.
        task_id: a task that it has.
        port: where it listens on the loopback.
    """

    def __init__(self, environ: Mapping[str, str], log: Path) -> None:
        settings = load_settings(environ)
        self._processes, self._threads = settings.api_processes, settings.api_threads
        self._database_url = settings.sqlalchemy_url
        self._broker = choose_database(settings.redis_url.get_secret_value(), BROKER_DATABASE)
        self._log = log
        self.key, self.task_id = "hr_textbook", "task_textbook"

    def __enter__(self) -> Self:
        self._prepare()
        command = [sys.executable, "-m", "gunicorn", "bench.textbook_api:create_app()"]
        with socket.create_server((HOST, 0)) as listener, self._log.open("ab") as log:
            self.port: int = listener.getsockname()[1]
            self._process = subprocess.Popen(
                [
                    *command,
                    f"--bind=fd://{listener.fileno()}",
                    f"--workers={self._processes}",
                    f"--threads={self._threads}",
                    "--worker-class=gthread",
                    "--keep-alive=15",
                    "--no-control-socket",
                ],
                cwd=ROOT,
                env={
                    **os.environ,
                    "TEXTBOOK_DATABASE": self._database_url,
                    "TEXTBOOK_BROKER": self._broker,
                    "TEXTBOOK_THREADS": str(self._threads),
                },
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        with Redis.from_url(self._broker) as broker:
            broker.flushdb()

    @property
    def pid(self) -> int:
        """The process that has the others as children."""
        return self._process.pid

    def _wait_until_up(self) -> None:
        # Its socket takes connections already, and its app answers when it is there.
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {self.key}"
            url = f"http://{HOST}:{self.port}/tasks/{self.task_id}"
            session.get(url, timeout=_READY_S).raise_for_status()

    def _prepare(self) -> None:
        engine = create_engine(self._database_url)
        Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            session.add(Key(sha256=hash_key(self.key), project_id=_PROJECT_ID))
            session.add(
                Task(
                    id=self.task_id, project_id=_PROJECT_ID, kind="ingest", url="https://a.invalid/"
                )
            )
        engine.dispose()

"""gunicorn's settings, in the form it reads them: module variables.

The app's modules are imported here, once, before the fork; importing them costs seconds of CPU.

Threads, since a request waits on PostgreSQL, on Redis or on an ingest, and never computes. Each
process builds its own app after the fork, so no connection is shared.
"""

from __future__ import annotations

import sys
import threading
from typing import Protocol

from flask import Flask
from prometheus_client import multiprocess

import api.app  # noqa: F401 - see above
from api.allocator import keep_little
from api.server_log import EventLogger
from api.services import Services
from ingest.environ import load_settings
from ingest.logs import configure_logging
from storage.readiness import check_services, report_services


class _Child(Protocol):
    pid: int
    age: int
    wsgi: Flask


keep_little()
# Each thread that waits for the interpreter's lock wakes up to ask for it this often, and answering
# a request takes less: the usual 5 ms cost a tenth of what a request takes.
sys.setswitchinterval(0.01)
_settings = load_settings()
configure_logging(_settings.log_level, _settings.log_format)

bind = _settings.api_bind
workers = _settings.api_processes
threads = _settings.api_threads
worker_class = "gthread"
# A waiting request is alive; the limit is for a process that answers nobody.
timeout = int(_settings.sync_timeout_s) + 30
graceful_timeout = int(_settings.shutdown_grace_s)
keepalive = 15
# Its request lines would say again what request.answered says.
accesslog = None
control_socket_disable = True
limit_request_line = 8190
# It reads what all of them may hold before it refuses one, in time that grows with the square.
limit_request_fields = 64
logger_class = EventLogger


def post_worker_init(worker: _Child) -> None:
    """Say which services are missing, once: from a thread of the first process, after the fork."""
    services: Services = worker.wsgi.extensions["headrace"]

    def report() -> None:
        report_services(check_services(services.database, services.signals, services.store))

    if worker.age == 1:
        threading.Thread(target=report, name="start-up-report", daemon=True).start()


def child_exit(server: object, worker: _Child) -> None:
    """Take the gauges of a process that ended out of the shared metrics."""
    del server
    if _settings.metrics_dir is not None:
        multiprocess.mark_process_dead(  # type: ignore[no-untyped-call]  # it has no annotations
            worker.pid, path=str(_settings.metrics_dir)
        )

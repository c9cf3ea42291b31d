"""Whether the servers that Headrace stands on answer, and what to do about one that does not.

A role that starts without one says so in one line and goes on: they come back, and what was
promised waits in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ingest.errors import ServiceError
from ingest.logs import get_logger
from storage.objects.store import ObjectStore
from storage.records.database import Database
from storage.signals import Signals

OK = "ok"
_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "postgresql": "Is it running, and is HEADRACE_DATABASE_URL right?",
        "redis": "Is it running, and is HEADRACE_REDIS_URL right?",
        "s3": "Is it running, and are HEADRACE_S3_ENDPOINT, HEADRACE_S3_BUCKET and the keys right?",
    }
)


def check_services(
    database: Database, signals: Signals, store: ObjectStore | None = None
) -> dict[str, str]:
    """Return ``ok`` or what is wrong, by the name of each server."""
    states = {"postgresql": _ask(database.check), "redis": _ask(signals.check)}
    if store is not None:
        states["s3"] = _ask(store.check)
    return states


def check_worker(signals: Signals) -> str:
    """Return ``ok`` if some worker gave a sign of life lately, or what is wrong."""
    try:
        return OK if signals.list_workers() else "No worker gave a sign of life lately."
    except ServiceError as error:
        return error.message


def report_services(states: Mapping[str, str]) -> None:
    """Log each server that does not answer, with what to look at."""
    for name, state in states.items():
        if state != OK:
            get_logger(__name__).error(
                "service.missing", service=name, state=state, hint=_HINTS[name]
            )


def _ask(check: Callable[[], None]) -> str:
    try:
        check()
    except ServiceError as error:
        return error.message
    return OK

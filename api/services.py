"""What the API's views work with, built once in ``create_app`` and found through the app."""

from __future__ import annotations

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import cast

from flask import current_app

from api.metrics import ApiMetrics
from api.queue import WakeQueue
from api.request_limit import RequestLimit
from ingest.config import Settings
from ingest.url_signatures import UrlSigner
from storage.objects.store import ObjectStore
from storage.planning import Planner
from storage.records.database import Database
from storage.sealing import Sealer
from storage.signals import Signals


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a view may use.

    ``waiters`` bounds how many requests of this process may wait for an ingest, so that some
    threads are always left for those who only ask; ``uploads`` how many of them may bring a file.
    ``staging`` is the same store with more patience, for what is sent.
    """

    settings: Settings
    database: Database
    signals: Signals
    store: ObjectStore
    staging: ObjectStore
    sealer: Sealer
    signer: UrlSigner
    planner: Planner
    queue: WakeQueue
    request_limit: RequestLimit | None
    waiters: BoundedSemaphore
    uploads: BoundedSemaphore
    metrics: ApiMetrics


def get_services() -> Services:
    """Return the services of the app that serves this request."""
    return cast("Services", current_app.extensions["headrace"])

"""Celery's tasks: explicit names, an id as the only argument, no logic."""

from __future__ import annotations

from celery import Celery

from ingest.errors import ServiceError
from ingest.logs import get_logger
from workers.dispatch import Dispatcher
from workers.pipeline import Pipeline
from workers.sweep import Sweeper

RUN = "ingest.run"
DISPATCH = "ingest.dispatch"
SWEEP = "ingest.sweep"


def register_ingest(app: Celery, pipeline: Pipeline) -> None:
    """Let a worker answer ``ingest.run``."""

    @app.task(name=RUN)
    def run(task_id: str) -> None:
        try:
            pipeline.run(task_id)
        except ServiceError as error:
            # The task is pending still, and is woken again.
            get_logger(__name__).warning("ingest.not_claimed", task_id=task_id, reason=error.code)


def register_control(app: Celery, dispatcher: Dispatcher, sweeper: Sweeper) -> None:
    """Let a beat answer ``ingest.dispatch`` and ``ingest.sweep``."""

    @app.task(name=DISPATCH)
    def dispatch() -> None:
        try:
            dispatcher.dispatch()
        except ServiceError as error:
            get_logger(__name__).warning("dispatch.put_off", reason=error.code)

    @app.task(name=SWEEP)
    def sweep() -> None:
        try:
            sweeper.sweep()
        except ServiceError as error:
            get_logger(__name__).warning("sweep.put_off", reason=error.code)

"""Celery's tasks: an explicit name each, an id as the only argument, no logic."""

from __future__ import annotations

from celery import Celery

from ingest.errors import ServiceError
from ingest.logs import get_logger
from workers.broker import DELIVER, RUN
from workers.deliver import Deliverer
from workers.pipeline import Pipeline


def register_ingest(app: Celery, pipeline: Pipeline) -> None:
    """Let a worker answer ``ingest.run``."""

    @app.task(name=RUN)
    def run(task_id: str) -> None:
        try:
            pipeline.run(task_id)
        except ServiceError as error:
            # The task is pending still, and is woken again.
            get_logger(__name__).warning("ingest.not_claimed", task_id=task_id, reason=error.code)


def register_delivery(app: Celery, deliverer: Deliverer) -> None:
    """Let a sender answer ``webhook.deliver``."""

    @app.task(name=DELIVER)
    def deliver(delivery_id: str) -> None:
        try:
            deliverer.deliver(delivery_id)
        except ServiceError as error:
            # The delivery is pending still, and is woken again.
            get_logger(__name__).warning(
                "delivery.not_claimed", delivery_id=delivery_id, reason=error.code
            )

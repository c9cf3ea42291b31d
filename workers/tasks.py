"""Celery's tasks: an explicit name each, an id as the only argument, no logic."""

from __future__ import annotations

from celery import Celery

from workers.following import Following


def register(app: Celery, name: str, following: Following) -> None:
    """Let a role answer the messages of one name.

    Args:
        name: :data:`workers.broker.RUN` or :data:`workers.broker.DELIVER`.
    """

    @app.task(name=name)
    def run(wanted_id: str) -> None:
        following.run(wanted_id)

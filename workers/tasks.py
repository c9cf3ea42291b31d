"""Celery's tasks: an explicit name each, an id as the only argument, no logic."""

from __future__ import annotations

from celery import Celery

from workers.following import Following


def register(app: Celery, following: Following) -> None:
    """Let a role answer the messages that it follows."""

    @app.task(name=following.name)
    def run(wanted_id: str) -> None:
        following.run(wanted_id)

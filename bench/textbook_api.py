"""The API one writes first: Flask, SQLAlchemy and Celery by the book. Served by gunicorn.

It knows a key by its hash, keeps a task in one row, and tells Celery of it. It checks nothing but
that there is a URL, tells nobody of what happened, and loses what Redis loses.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import datetime
from urllib.parse import urlsplit

from celery import Celery
from flask import Flask, Response, abort, g, jsonify, request
from sqlalchemy import create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from bench.textbook import INGEST


class Base(DeclarativeBase):
    """The tables of the textbook API."""


class Key(Base):
    """Who may ask."""

    __tablename__ = "textbook_keys"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]


class Task(Base):
    """What was asked for."""

    __tablename__ = "textbook_tasks"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    url: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending", index=True)
    created: Mapped[datetime] = mapped_column(server_default=func.now())


def hash_key(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def create_app() -> Flask:
    """Return the app; gunicorn calls this in each of its processes."""
    app = Flask(__name__)
    threads = int(os.environ["TEXTBOOK_THREADS"])
    engine = create_engine(os.environ["TEXTBOOK_DATABASE"], pool_size=threads)
    celery = Celery("textbook", broker=os.environ["TEXTBOOK_BROKER"], set_as_current=False)
    celery.conf.update(task_default_queue="textbook")

    @app.before_request
    def open_session() -> None:
        g.session = Session(engine)
        _, _, key = request.headers.get("Authorization", "").partition(" ")
        g.key = g.session.get(Key, hash_key(key)) or abort(401)

    @app.teardown_request
    def close_session(error: BaseException | None) -> None:
        del error
        g.session.close()

    @app.get("/tasks/<task_id>")
    def read_task(task_id: str) -> Response:
        task = g.session.get(Task, task_id)
        if task is None or task.project_id != g.key.project_id:
            abort(404)
        return _show(task)

    @app.post("/tasks")
    def create_task() -> tuple[Response, int]:
        order = request.get_json()
        if urlsplit(order["url"]).scheme not in {"http", "https"}:
            abort(422)
        task = Task(
            id=f"task_{uuid.uuid4().hex}",
            project_id=g.key.project_id,
            kind=order["kind"],
            url=order["url"],
        )
        g.session.add(task)
        g.session.commit()
        celery.send_task(INGEST, args=[task.url, task.id], ignore_result=True)
        return _show(task), 201

    return app


def _show(task: Task) -> Response:
    return jsonify(
        id=task.id,
        kind=task.kind,
        url=task.url,
        status=task.status,
        created=task.created.isoformat(),
    )

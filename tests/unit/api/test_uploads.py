"""What becomes of what was sent where no task can be made of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from flask import Flask

from api import uploads
from api.services import Services
from ingest.environ import load_settings
from ingest.errors import DatabaseUnavailable, FileExists, HeadraceError, QuotaExceeded
from ingest.ids import Prefix, make_id
from ingest.model import Project
from ingest.url_signatures import Grant, SignedMethod
from ingest.urls import UPLOADS_PREFIX
from storage.objects.memory import MemoryObjectStore

APP = Flask("tests")
PROJECT = Project(make_id(Prefix.PROJECT), "one", "place")
SETTINGS = load_settings(
    {
        "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
        "HEADRACE_S3_BUCKET": "media",
    }
)


@pytest.mark.parametrize(
    ("error", "left"),
    # A database that did not answer may have the task all the same.
    [(FileExists("Taken."), 0), (QuotaExceeded("Full."), 0), (DatabaseUnavailable("Gone."), 1)],
)
def test_what_was_sent_is_kept_only_where_there_may_be_a_task_for_it(
    error: HeadraceError, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(uploads, "create_task", fail)
    store = MemoryObjectStore()
    services = cast("Services", SimpleNamespace(settings=SETTINGS, staging=store))
    grant = Grant(SignedMethod.PUT, PROJECT.id, "place/a.jpg", 1)
    with (
        APP.test_request_context("/", method="PUT", data=b"body"),
        pytest.raises(type(error)),
    ):
        uploads._take(services, PROJECT, None, None, "a.jpg", grant)
    assert len(list(store.list_keys(UPLOADS_PREFIX))) == left

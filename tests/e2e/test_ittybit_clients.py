"""Published clients of the ittybit API, with another base URL, do what they do there.

The newest asks for bare data (``Accept-Version``), the older for none, and gets the envelope.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.local import LocalStack
from storage.records.database import Database
from tests.support import ittybit_client
from tests.support.api import Api, read_error, read_object
from tests.support.origin import Origin
from tests.support.projects import make_project

# Where `make setup` puts it: one environment holds one version of a package.
_OLDER = Path(sys.prefix) / "older-client"
_TIMEOUT_S = 90


def _run(stack: LocalStack, database: Database, source: str, older: Path | None) -> dict[str, Any]:
    _, key = make_project(database)
    environ = {"PATH": os.environ["PATH"], "NO_PROXY": "*"}
    if older is not None:
        environ["PYTHONPATH"] = str(older)
    command = [sys.executable, str(ittybit_client.__file__), stack.api_url, key, source]
    ran = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert ran.returncode == 0, ran.stderr
    saw: dict[str, Any] = json.loads(ran.stdout)
    return saw


@pytest.mark.parametrize(
    ("older", "version"),
    [(None, "1.0.0"), (_OLDER, "0.7.6")],
    ids=["bare data", "the envelope"],
)
def test_a_client_with_another_base_url_works_as_it_is(
    older: Path | None,
    version: str,
    stack: LocalStack,
    database: Database,
    origin: Origin,
    picture: bytes,
) -> None:
    source = origin.serve(f"/ittybit/{version}.jpg", picture)
    saw = _run(stack, database, source, older)
    filters = {name: saw.pop(name, None) for name in ("completed", "ready", "error", "waiting")}
    assert saw == {
        "version": version,
        "bare": ["image", None],
        "full": ["ittybit", "a.jpg", "one", {"a": 1}, True],
        "listed": True,
        "got": True,
        "changed": ["ittybit", "b.jpg", "one", {"b": 2}],
        "unchanged": "b.jpg",
        "nulls": ["ittybit", "b.jpg", None, None],
        "deleted": True,
        "task": ["ingest", "pending", None],
        "ended": ["complete", 100, "image"],
        "input": True,
        "tasks": True,
        "media": [True, 1, ["original", "small"]],
        "all media": True,
        "media deleted": True,
        "signed for an hour": True,
        "reads": ["signed", "a.jpg", True, "get"],
        "parts": [True, True],
        "sends": "put",
        "sent": 201,
        "arrived": ["signed", "b.jpg", True],
        "missing": [404, "not_found"],
    }
    if older is not None:
        assert filters["completed"] == filters["ready"] == ["complete"]
        assert filters["error"] == []
        assert set(filters["waiting"]) <= {"pending"}


def test_a_version_in_a_header_of_another_name_is_none(api: Api) -> None:
    answer = api.get("/files", {"ACCEPT_VERSION": "2025-08-20"})
    assert answer.headers["Content-Version"] == "2025-01-01"
    assert list(answer.json()) == ["meta", "data", "links"]
    both = {"ACCEPT_VERSION": "2025-01-01", "Accept-Version": "2025-08-20"}
    assert isinstance(api.get("/files", both).json(), list)


def test_a_call_without_fields_may_have_an_empty_body(api: Api, picture_url: str) -> None:
    said = {"Content-Type": "application/json"}
    file = read_object(api.post("/files", {"url": picture_url, "ref": "stays"}), 201)
    same = read_object(api.send("PATCH", f"/files/{file['id']}", b"", said))
    assert (same["ref"], same["url"]) == ("stays", file["url"])
    missing = read_error(api.send("POST", "/files", b"", said), 422, "field_invalid")
    assert missing["param"] == "url"
    read_error(api.send("POST", "/files", b""), 415, "media_type_unsupported")


@pytest.mark.parametrize(
    ("order", "param"),
    [
        ({"input": {"url": "http://nowhere.invalid/a", "x": 1}}, "url"),
        ({"input": {}}, "url"),
        ({"input": "http://nowhere.invalid/a"}, "url"),
        ({"input": {"url": 1}}, "url"),
        ({"url": "http://nowhere.invalid/a", "input": {"url": "http://other.invalid/a"}}, "input"),
    ],
)
def test_an_input_that_is_no_url_alone_is_refused(
    api: Api, order: dict[str, object], param: str
) -> None:
    answer = api.post("/tasks", {"kind": "ingest", **order})
    assert read_error(answer, 422, "field_invalid")["param"] == param

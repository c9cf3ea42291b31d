"""A client that is generated from docs/openapi.json alone does what the API promises."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.documented import DOCUMENT_PATH
from tests.support.origin import Origin

_PACKAGE = "headrace_generated_client"
_TIMEOUT_S = 90
# Nothing to format or to mend afterwards; the lists of a batch that are no JSON are left out.
_CONFIG = "post_hooks: []\ncontent_type_overrides:\n  application/x-ndjson: text/plain\n"


class Generated:
    """The generated package, and a client of it."""

    def __init__(self, api: Api) -> None:
        self._client = self._load("client")
        self.models = self._load("models")
        self.client: Any = self.log_in(api.url, str(api.key))

    def log_in(self, url: str, key: str) -> Any:
        """Return a client with a key."""
        return self._client.AuthenticatedClient(base_url=url, token=key, timeout=30)

    def call(self, name: str, *args: str, **kwargs: Any) -> Any:
        """Call an operation, and return what it answers."""
        tag, _, operation = name.partition(".")
        return self._load(f"api.{tag}.{operation}").sync(*args, client=self.client, **kwargs)

    def call_detailed(self, name: str, client: Any, *args: str) -> Any:
        """Call an operation as another client; return the whole answer."""
        tag, _, operation = name.partition(".")
        return self._load(f"api.{tag}.{operation}").sync_detailed(*args, client=client)

    @staticmethod
    def _load(module: str) -> ModuleType:
        return importlib.import_module(f"{_PACKAGE}.{module}")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Generate the package, and let it be imported."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.yml").write_text(_CONFIG)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    command += ["--path", str(DOCUMENT_PATH), "--config", str(folder / "config.yml")]
    command += ["--output-path", str(folder / _PACKAGE)]
    # Whatever it would fetch fails.
    environ = {"PATH": os.environ["PATH"], "https_proxy": "http://127.0.0.1:1"}
    ran = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "ERROR" not in ran.stdout + ran.stderr
    sys.path.insert(0, str(folder))
    yield folder / _PACKAGE
    sys.path.remove(str(folder))
    for name in [one for one in sys.modules if one.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def generated(package: Path, api: Api) -> Iterator[Generated]:
    made = Generated(api)
    with made.client:
        yield made


def test_every_operation_has_a_method(package: Path) -> None:
    document = json.loads(DOCUMENT_PATH.read_text())
    wanted = {
        (operation["tags"][0].lower(), operation["operationId"])
        for operations in document["paths"].values()
        for operation in operations.values()
    }
    found = {
        (path.parent.name, path.stem)
        for path in (package / "api").glob("*/*.py")
        if path.stem != "__init__"
    }
    assert found == wanted


def test_a_task_is_asked_for_polled_and_becomes_a_file_that_is_changed_and_deleted(
    generated: Generated, origin: Origin, picture: bytes
) -> None:
    models = generated.models
    url = origin.serve("/generated/a.jpg", picture)
    order = models.TaskRequest(
        kind="ingest", url=url, folder="generated", filename="a.jpg", ref="generated-1"
    )
    task = generated.call("tasks.create_task", body=order).data
    assert (task.status.value, task.output) == ("pending", None)
    ended = generated.call("tasks.get_task", task.id, wait=20).data
    assert ended.status is models.Status.COMPLETE
    assert isinstance(ended.output, models.FileResource)

    file = generated.call("files.get_file", ended.output.id).data
    assert (file.id, file.kind.value, file.filename) == (ended.output.id, "image", "a.jpg")
    listed = generated.call("files.list_files", ref="generated-1", limit=5)
    assert [one.id for one in listed.data] == [file.id]
    assert (listed.meta.total, listed.links.next_) == (1, None)

    change = models.FileChange(filename="b.jpg", ref="generated-2")
    changed = generated.call("files.update_file", file.id, body=change).data
    assert (changed.filename, changed.ref) == ("b.jpg", "generated-2")
    gone = generated.call("files.delete_file", file.id).data
    assert (gone.id, gone.deleted) == (file.id, True)
    missing = generated.call("files.get_file", file.id)
    assert isinstance(missing, models.ErrorAnswer)
    assert missing.error.code == "not_found"


def test_a_file_is_waited_for(generated: Generated, picture_url: str) -> None:
    order = generated.models.FileRequest(url=picture_url)
    answer = generated.call("files.create_file", body=order)
    assert isinstance(answer, generated.models.FileAnswer)
    assert answer.data.checksum.startswith("sha256:")


def test_a_failed_ingest_says_why(generated: Generated, origin: Origin) -> None:
    order = generated.models.FileRequest(url=origin.url("/generated/nothing"))
    answer = generated.call("files.create_file", body=order)
    assert isinstance(answer, generated.models.ErrorAnswer)
    assert answer.error.code == "source_not_found"
    assert answer.error.task_id.startswith("task_")


def test_a_batch_is_made_and_its_tasks_are_listed(generated: Generated, picture_url: str) -> None:
    models = generated.models
    items = [models.BatchItem(url=picture_url, ref=f"generated-{n}") for n in range(3)]
    body = models.BatchRequest(items=items, concurrency=2)
    batch = generated.call("batches.create_batch", body=body).data
    assert (batch.total, batch.rejected) == (3, 0)
    tasks = generated.call("batches.list_batch_tasks", batch.id)
    assert tasks.meta.total == 3
    for task in tasks.data:
        ended = generated.call("tasks.get_task", task.id, wait=20).data
        assert ended.status is models.Status.COMPLETE
    assert generated.call("batches.get_batch", batch.id).data.counts.complete == 3


def test_a_wrong_key_is_told_in_the_shape_of_errors(generated: Generated, api: Api) -> None:
    with generated.log_in(api.url, "hr_nobody") as stranger:
        answer = generated.call_detailed("files.list_files", stranger)
    assert answer.status_code == 401
    assert isinstance(answer.parsed, generated.models.ErrorAnswer)
    assert answer.parsed.error.code == "unauthorized"

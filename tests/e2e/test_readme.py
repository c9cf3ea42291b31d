"""Every curl and Python block of README.md, run as it stands against the running stack.

Only what a reader would change is changed: example.com becomes an origin that is there, the
checksum that of its video, and the folder one that no other test uses.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import requests
from jsonschema import Draft202012Validator

from cli.client import ApiClient
from cli.local import LocalStack
from ingest.ids import Prefix, is_id
from ingest.resources import FileResource, TaskResource
from storage.records import endpoints, projects
from storage.records.database import Database
from tests.support.inbox import TAKEN, Inbox
from tests.support.media import make_media
from tests.support.origin import Origin, Reply, Stall
from tests.support.pages import Block, find_blocks, read_page
from tests.support.waiting import wait_until

_README = read_page("README.md")
_SHELL = find_blocks(_README, "sh")
_PYTHON = find_blocks(_README, "python")
_SIGNED = "/readme/private.mp4?signature=s0Mes3cR3tS1gN4tUr3"
_TIMEOUT_S = 60
# Told apart from a body by standing on a line of its own, after it.
_CURLRC = 'silent\nshow-error\nwrite-out = "\\n%{http_code}"\n'
_DUMP = """
print(json.dumps({
    "file": file, "task": task, "named": named, "signed": signed, "checked": checked, "kept": kept,
    "listed": listed, "content": hashlib.sha256(content).hexdigest(),
    "deleted": deleted.status_code, "failed": answer.status_code, "failure": failure,
    "mended": mended, "late": late.status_code, "batch": batch,
}))
"""

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a shell block did; ``status`` is the HTTP status where it was a curl."""

    stdout: str
    status: int | None
    folder: Path

    @property
    def body(self) -> Json:
        """The answer's JSON."""
        return cast("Json", json.loads(self.stdout))

    @property
    def data(self) -> Json:
        """The answer's ``data``."""
        return cast("Json", self.body["data"])


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who follows the README in an empty folder."""

    stack: LocalStack
    folder: Path
    replacements: Mapping[str, str]
    content: bytes

    def read(self, block: Block) -> str:
        """Return a block with the example's addresses and names replaced."""
        text = block.text
        for shown, real in self.replacements.items():
            text = text.replace(shown, real)
        return text

    def run_shell(self, block: Block, **environ: str) -> Ran:
        """Run a block after the one that sets HEADRACE_URL and HEADRACE_KEY."""
        ran = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", f"{_SHELL[0].text}\n{self.read(block)}"],
            cwd=self.folder,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        if "curl" not in block.text:
            return Ran(ran.stdout, None, self.folder)
        body, _, status = ran.stdout.rpartition("\n")
        return Ran(body, int(status), self.folder)

    @property
    def environ(self) -> dict[str, str]:
        """What the reader's processes see: no settings, but where the stack is."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CURL_HOME": str(self.folder),
            "HEADRACE_HOME": str(self.stack.home.path),
        }


@pytest.fixture(scope="module")
def reader(
    stack: LocalStack,
    origin: Origin,
    media_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Reader:
    """A reader whose example.com is the origin."""
    content = make_media("mp4", media_folder).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    folder = tmp_path_factory.mktemp("reader")
    (folder / ".curlrc").write_text(_CURLRC)
    (folder / ".venv").symlink_to(sys.prefix)
    origin.route(_SIGNED, Reply(body=content))
    return Reader(
        stack,
        folder,
        {
            "https://example.com/video.mp4": origin.serve("/readme/video.mp4", content),
            "https://example.com/webhooks/headrace": origin.route("/readme/webhooks", TAKEN),
            "https://example.com/private.mp4": origin.url("/readme/private.mp4"),
            "https://example.com/missing.mp4": origin.url("/readme/missing.mp4"),
            "2cc9f1167aff0d25c5de433d0327597ed4c7d38aff3bdc2bdb5f2deab2b8a5a0": sha256,
            "user_1234/uploads": "readme/uploads",
        },
        content,
    )


@pytest.fixture(scope="module")
def told(reader: Reader) -> Json:
    """What the Python of the README has in its variables once all of it has run."""
    script = "\n".join(["import hashlib", "import json", *map(reader.read, _PYTHON), _DUMP])
    key = {"HEADRACE_URL": reader.stack.api_url, "HEADRACE_KEY": reader.stack.api_key}
    # The folder of the shell's examples is taken by then.
    ran = subprocess.run(
        [sys.executable, "-c", script.replace("readme/uploads", "readme/python")],
        cwd=reader.folder,
        env={**reader.environ, **key},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return cast("Json", json.loads(ran.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def validate(stack: LocalStack) -> Callable[[object, str], None]:
    """Checks a value against a schema of the API's own document."""
    document = requests.get(f"{stack.api_url}/openapi.json", timeout=10).json()

    def check(value: object, schema: str) -> None:
        reference = {"$ref": f"#/components/schemas/{schema}"}
        validator = Draft202012Validator({**reference, "components": document["components"]})
        assert [error.message for error in validator.iter_errors(value)] == []

    return check


@pytest.fixture
def known(client: ApiClient, reader: Reader) -> Json:
    """A task that is complete, with a ref, as the blocks take it for granted."""
    url = reader.replacements["https://example.com/video.mp4"]
    task = client.create_task({"url": url, "ref": "order-77"})
    return client.wait_for_task(task.id, lambda _: None).raw


def _find(heading: str, number: int = 0) -> Block:
    return [block for block in _SHELL if block.heading == heading][number]


def _check_video(file: Json, reader: Reader) -> None:
    assert set(file) == set(FileResource.model_fields)
    assert is_id(Prefix.FILE, str(file["id"]))
    assert (file["kind"], file["type"], file["status"]) == ("video", "video/mp4", "complete")
    assert (file["width"], file["height"], file["duration"]) == (160, 120, 1.0)
    assert file["filesize"] == len(reader.content)
    assert file["checksum"] == f"sha256:{hashlib.sha256(reader.content).hexdigest()}"


def test_the_readme_has_no_shell_or_python_that_these_tests_do_not_run() -> None:
    run = {
        ("Using it", 1),
        ("Ingest and wait", 1),
        ("Ingest in the background", 1),
        ("Poll for the result", 1),
        ("Ingest a list", 3),
        ("Be told by webhook", 1),
        ("Mend or stop a task", 3),
        ("Choose folder and filename", 1),
        ("Use a signed URL", 1),
        ("Demand a checksum, set a limit", 1),
        ("Keep your own id with it", 1),
        ("List, get, download, delete", 4),
        ("When something is wrong", 1),
        ("Keys", 2),
        ("Projects", 2),
        ("Command line", 5),
    }
    headings = [block.heading for block in _SHELL]

    assert {(heading, headings.count(heading)) for heading in headings} == run
    # Python runs as a whole, so none can be left out; curl and Python come in pairs.
    assert {block.heading for block in _PYTHON} == {
        heading
        for heading, _ in run
        if heading not in {"Be told by webhook", "Keys", "Projects", "Command line"}
    }
    assert "curl" not in "".join(block.text for block in find_blocks(_README, "bash"))


def test_the_json_of_the_readme_has_the_shapes_of_the_answers() -> None:
    created, failed = (json.loads(block.text) for block in find_blocks(_README, "json"))

    assert set(created) == {"meta", "data", "links"}
    assert set(created["data"]) <= set(FileResource.model_fields)
    assert set(failed) == {"meta", "data", "error", "links"}
    assert set(failed["error"]) == {"code", "message", "param", "retryable", "task_id"}


def test_curl_ingests_and_waits(reader: Reader, validate: Callable[[object, str], None]) -> None:
    ran = reader.run_shell(_find("Ingest and wait"))

    assert ran.status == 201
    validate(ran.body, "FileAnswer")
    _check_video(ran.data, reader)
    assert ran.body["links"] == {"self": f"{reader.stack.api_url}/files/{ran.data['id']}"}
    meta = cast("Json", ran.body["meta"])
    assert meta["type"] == "object"
    assert is_id(Prefix.REQUEST, str(meta["id"]))


def test_curl_ingests_in_the_background_and_polls(
    reader: Reader, client: ApiClient, validate: Callable[[object, str], None]
) -> None:
    made = reader.run_shell(_find("Ingest in the background"))
    task_id = str(made.data["id"])
    client.wait_for_task(task_id, lambda _: None)
    polled = reader.run_shell(_find("Poll for the result"), TASK_ID=task_id)

    assert made.status == 201
    validate(made.body, "TaskAnswer")
    assert set(made.data) == set(TaskResource.model_fields)
    assert (made.data["kind"], made.data["status"]) == ("ingest", "pending")
    assert made.data["output"] is None
    assert polled.status == 200
    validate(polled.body, "TaskAnswer")
    assert (polled.data["status"], polled.data["progress"]) == ("complete", 100)
    _check_video(cast("Json", polled.data["output"]), reader)


def test_curl_ingests_a_list_and_learns_what_became_of_it(
    reader: Reader, validate: Callable[[object, str], None]
) -> None:
    made = reader.run_shell(_find("Ingest a list", 0))
    batch_id = str(made.data["id"])

    def look() -> Ran | None:
        found = reader.run_shell(_find("Ingest a list", 1), BATCH_ID=batch_id)
        return found if found.data["finished"] is not None else None

    over = wait_until(look, "the end of the list", 30)
    results = reader.run_shell(_find("Ingest a list", 2), BATCH_ID=batch_id)

    assert made.status == 201
    for ran in (made, over):
        validate(ran.body, "BatchAnswer")
    assert (made.data["total"], made.data["rejected"]) == (2, 1)
    counts = cast("Json", over.data["counts"])
    assert (counts["complete"], counts["failed"]) == (1, 1)
    rows = list(csv.DictReader(results.stdout.splitlines()))
    assert [(row["line"], row["status"], row["ref"]) for row in rows] == [
        ("2", "complete", "a-1"), ("3", "failed", "a-2"), ("4", "rejected", "")
    ]  # fmt: skip


def test_curl_makes_an_endpoint_that_is_told(
    reader: Reader,
    client: ApiClient,
    origin: Origin,
    database: Database,
    validate: Callable[[object, str], None],
) -> None:
    made = reader.run_shell(_find("Be told by webhook"))
    endpoint_id = str(made.data["id"])
    try:
        assert made.status == 201
        validate(made.body, "NewEndpointAnswer")
        url = reader.replacements["https://example.com/webhooks/headrace"]
        inbox = Inbox(origin, url, str(made.data["secret"]), endpoint_id)
        task = client.create_task({"url": reader.replacements["https://example.com/video.mp4"]})
        done = client.wait_for_task(task.id, lambda _: None)
        (told,) = inbox.wait_for("task.completed")
        assert told.data == done.raw
    finally:
        # The stack's own project is that of other tests too.
        with database.transaction() as connection:
            project = projects.ensure_project(connection)
            endpoints.remove(connection, project.id, endpoint_id)


def test_curl_mends_a_task_and_stops_another(
    reader: Reader,
    client: ApiClient,
    origin: Origin,
    validate: Callable[[object, str], None],
) -> None:
    heading = "Mend or stop a task"
    task_id = client.create_task({"url": origin.url("/readme/missing.mp4")}).id
    failed = client.wait_for_task(task_id, lambda _: None)
    patched = reader.run_shell(_find(heading, 0), TASK_ID=task_id)
    retried = reader.run_shell(_find(heading, 1), TASK_ID=task_id)
    mended = client.wait_for_task(task_id, lambda _: None)
    stall = Stall()
    url = origin.serve("/readme/unwanted.mp4", reader.content, stall=stall)
    cancelled = reader.run_shell(_find(heading, 2), TASK_ID=client.create_task({"url": url}).id)
    stall.released.set()

    assert (failed.status.value, mended.status.value) == ("failed", "complete")
    for ran, status in ((patched, "failed"), (retried, "pending"), (cancelled, "cancelled")):
        assert ran.status == 200
        validate(ran.body, "TaskAnswer")
        assert ran.data["status"] == status


def test_curl_chooses_folder_and_filename(
    reader: Reader, validate: Callable[[object, str], None]
) -> None:
    ran = reader.run_shell(_find("Choose folder and filename"))
    again = reader.run_shell(_find("Choose folder and filename"))

    assert ran.status == 201
    validate(ran.body, "FileAnswer")
    assert (ran.data["folder"], ran.data["filename"]) == ("readme/uploads", "custom-filename.mp4")
    assert str(ran.data["url"]).endswith("/delivery/readme/uploads/custom-filename.mp4")
    assert again.status == 409
    validate(again.body, "ErrorAnswer")
    assert cast("Json", again.body["error"])["code"] == "file_exists"


def test_curl_uses_a_signed_url_and_the_file_keeps_no_signature(
    reader: Reader, origin: Origin, validate: Callable[[object, str], None]
) -> None:
    ran = reader.run_shell(_find("Use a signed URL"))

    assert ran.status == 201
    validate(ran.body, "FileAnswer")
    assert ran.data["source"] == origin.url("/readme/private.mp4")
    assert any(request.target == _SIGNED for request in origin.requests)


def test_curl_demands_a_checksum(reader: Reader, validate: Callable[[object, str], None]) -> None:
    ran = reader.run_shell(_find("Demand a checksum, set a limit"))

    assert ran.status == 201
    validate(ran.body, "FileAnswer")
    assert ran.data["checksum"] == f"sha256:{hashlib.sha256(reader.content).hexdigest()}"


def test_curl_keeps_its_own_id_and_metadata(
    reader: Reader, validate: Callable[[object, str], None]
) -> None:
    ran = reader.run_shell(_find("Keep your own id with it"))

    assert ran.status == 201
    validate(ran.body, "FileAnswer")
    assert ran.data["ref"] == "order-77"
    assert ran.data["metadata"] == {"title": "Colour bars", "tags": ["test"]}


def test_curl_lists_gets_downloads_and_deletes(
    reader: Reader, known: Json, validate: Callable[[object, str], None]
) -> None:
    heading = "List, get, download, delete"
    file_id = str(cast("Json", known["output"])["id"])

    listed = reader.run_shell(_find(heading, 0))
    got = reader.run_shell(_find(heading, 1), FILE_ID=file_id)
    downloaded = reader.run_shell(_find(heading, 2), FILE_ID=file_id)
    deleted = reader.run_shell(_find(heading, 3), FILE_ID=file_id)
    gone = reader.run_shell(_find(heading, 1), FILE_ID=file_id)

    assert listed.status == 200
    validate(listed.body, "FileListAnswer")
    assert cast("Json", listed.body["meta"])["type"] == "list"
    items = cast("list[Json]", listed.body["data"])
    assert file_id in [item["id"] for item in items]
    assert {item["ref"] for item in items} == {"order-77"}
    assert got.status == 200
    validate(got.body, "FileAnswer")
    assert downloaded.status == 200
    assert (reader.folder / "video.mp4").read_bytes() == reader.content
    assert (deleted.status, deleted.data["deleted"]) == (200, True)
    assert gone.status == 404
    validate(gone.body, "ErrorAnswer")


def test_curl_is_told_what_is_wrong(
    reader: Reader, validate: Callable[[object, str], None]
) -> None:
    ran = reader.run_shell(_find("When something is wrong"))
    error = cast("Json", ran.body["error"])

    assert ran.status == 422
    validate(ran.body, "ErrorAnswer")
    assert ran.body["data"] is None
    assert (error["code"], error["param"], error["retryable"]) == ("source_not_found", "url", False)
    assert error["message"] == "The source answered 404."
    assert is_id(Prefix.TASK, str(error["task_id"]))


def test_keys_are_made_and_listed(reader: Reader) -> None:
    made = reader.run_shell(_find("Keys", 0), **_database(reader))
    listed = reader.run_shell(_find("Keys", 1), **_database(reader))
    secret = made.stdout.strip()
    url = f"{reader.stack.api_url}/tasks"
    headers = {"Authorization": f"Bearer {secret}"}

    assert requests.get(url, headers=headers, timeout=10).status_code == 200
    assert secret not in listed.stdout
    assert "key_" in listed.stdout


def test_a_project_is_made_with_its_limits_and_gets_a_key(reader: Reader) -> None:
    reader.run_shell(_find("Projects", 0), **_database(reader))
    made = reader.run_shell(_find("Projects", 1), **_database(reader))
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}

    answer = requests.get(f"{reader.stack.api_url}/project", headers=headers, timeout=10).json()
    assert answer["data"]["prefix"] == "archive"
    assert answer["data"]["limits"] == {"running": 8, "stored_bytes": 500 * 1024**3}


def test_the_command_line_ingests_and_lists(reader: Reader, known: Json) -> None:
    ingested = json.loads(reader.run_shell(_find("Command line", 0)).stdout)
    tasks = reader.run_shell(_find("Command line", 1)).stdout
    files = reader.run_shell(_find("Command line", 2)).stdout

    _check_video(ingested, reader)
    assert ingested["folder"] == "readme/uploads"
    assert "complete" in tasks
    assert "video/mp4" in files


def test_the_command_line_mends_a_task_and_stops_another(
    reader: Reader, client: ApiClient, origin: Origin
) -> None:
    missing = client.create_task({"url": origin.url("/readme/missing.mp4")}).id
    failed = client.wait_for_task(missing, lambda _: None)
    reader.run_shell(_find("Command line", 3), TASK_ID=missing)
    mended = client.wait_for_task(missing, lambda _: None)
    url = origin.serve("/readme/later.mp4", status=503, headers={"Retry-After": "600"})
    unwanted = client.create_task({"url": url, "max_attempts": 2}).id
    reader.run_shell(_find("Command line", 4), TASK_ID=unwanted)

    assert (failed.status.value, mended.status.value) == ("failed", "complete")
    assert client.get_task(unwanted).status.value == "cancelled"


def test_python_ingests_waits_and_polls(
    told: Json, reader: Reader, validate: Callable[[object, str], None]
) -> None:
    file, task = cast("Json", told["file"]), cast("Json", told["task"])

    validate(file, "FileResource")
    _check_video(file, reader)
    validate(task, "TaskResource")
    assert task["status"] == "complete"
    _check_video(cast("Json", task["output"]), reader)


def test_python_mends_a_task(told: Json, validate: Callable[[object, str], None]) -> None:
    mended = cast("Json", told["mended"])

    validate(mended, "TaskResource")
    assert (mended["status"], told["late"]) == ("complete", 409)
    counts = cast("Json", cast("Json", told["batch"])["counts"])
    assert (counts["complete"], counts["failed"]) == (1, 1)
    assert cast("Json", mended["options"])["priority"] == 5
    assert len(cast("list[Json]", mended["attempts"])) == 2


def test_python_names_signs_checks_and_keeps(
    told: Json, reader: Reader, origin: Origin, validate: Callable[[object, str], None]
) -> None:
    for name in ("named", "signed", "checked", "kept"):
        validate(told[name], "FileResource")
        _check_video(cast("Json", told[name]), reader)

    assert cast("Json", told["named"])["filename"] == "another-filename.mp4"
    assert cast("Json", told["signed"])["source"] == origin.url("/readme/private.mp4")
    assert cast("Json", told["kept"])["metadata"] == {"title": "Colour bars", "tags": ["test"]}


def test_python_lists_downloads_deletes_and_is_told_what_is_wrong(
    told: Json, reader: Reader, client: ApiClient, validate: Callable[[object, str], None]
) -> None:
    listed = cast("Json", told["listed"])
    kept_id = cast("Json", told["kept"])["id"]

    validate(listed, "FileListAnswer")
    assert kept_id in [item["id"] for item in cast("list[Json]", listed["data"])]
    assert told["content"] == hashlib.sha256(reader.content).hexdigest()
    assert told["deleted"] == 200
    assert kept_id not in [item["id"] for item in client.list_files({"limit": 100}).items]
    assert told["failed"] == 422
    validate(told["failure"], "ErrorAnswer")
    assert cast("Json", cast("Json", told["failure"])["error"])["code"] == "source_not_found"


def _database(reader: Reader) -> dict[str, str]:
    return {"HEADRACE_DATABASE_URL": reader.stack.environ["HEADRACE_DATABASE_URL"]}

"""Every example of docs/api.md, run as it stands; and every endpoint of the page has one."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.access import Scope
from storage.records.database import Database
from tests.support.api import Api, JsonDict, read_object
from tests.support.batches import send_items, wait_until_over
from tests.support.origin import Origin, Reply
from tests.support.pages import Block, find_blocks, find_table, read_page
from tests.support.projects import make_project
from tests.support.tasks import create_task, wait_for_end

_PAGE = read_page("docs/api.md")
_EXAMPLES = find_blocks(_PAGE, "console")
_LIST = "url,ref\nhttps://example.com/video.mp4,a-1\n"
# What has its examples on another page, or is no resource.
_ELSEWHERE = re.compile(r"/(?:webhooks/.*|events(?:/.*)?|metrics|openapi\.json|docs)")
_TIMEOUT_S = 40
# Said on a line of its own behind the answer.
_CURLRC = 'silent\nshow-error\nwrite-out = "\\n%{http_code}"\n'


@pytest.fixture
def owner(stack: LocalStack, database: Database) -> Api:
    """An empty project, with a key of the scope admin."""
    _, secret = make_project(database, scopes=[Scope.ADMIN])
    return Api(stack.api_url, secret)


def _prepare(block: Block, api: Api, origin: Origin) -> dict[str, str]:
    """Make what an example takes for granted; return the ids, and the URL, that it names."""
    url = origin.url("/api-page/video.mp4")
    file = read_object(api.post("/files", {"url": url}), 201)
    key = read_object(api.post("/keys", {"name": "another"}), 201)
    ids = {"FILE_ID": file["id"], "MEDIA_ID": file["media_id"], "KEY_ID": key["id"]}
    if "$TASK_ID" in block.text:
        ids["TASK_ID"] = _prepare_task(block, api, origin)["id"]
    if "$UPLOAD_URL" in block.text:
        asked = {"method": "put", "filename": "from-a-phone.mp4"}
        ids["UPLOAD_URL"] = read_object(api.post("/signatures", asked))["url"]
    if "$BATCH_ID" in block.text:
        ids["BATCH_ID"] = _prepare_batch(block, api, url)["id"]
    return {name: str(value) for name, value in ids.items()}


def _prepare_task(block: Block, api: Api, origin: Origin) -> JsonDict:
    if "/retry" in block.text or "PATCH" in block.text:
        return wait_for_end(api, create_task(api, origin.url("/api-page/nothing")))
    if "/cancel" in block.text:
        origin.route("/api-page/busy", Reply(status=503))
        return create_task(api, origin.url("/api-page/busy"), max_attempts=100)
    return create_task(api, origin.url("/api-page/video.mp4"))


def _prepare_batch(block: Block, api: Api, url: str) -> JsonDict:
    batch = send_items(api, [{"url": url}] * 3, concurrency=1)
    if "/resume" in block.text:
        read_object(api.post(f"/batches/{batch['id']}/pause", {}))
    elif not any(word in block.text for word in ("/pause", "/cancel")):
        wait_until_over(api, batch)
    return batch


@pytest.mark.parametrize(
    "block", _EXAMPLES, ids=[f"{number} {one.heading}" for number, one in enumerate(_EXAMPLES)]
)
def test_an_example_does_what_the_page_says(
    block: Block, owner: Api, origin: Origin, video: bytes, tmp_path: Path
) -> None:
    url = origin.serve("/api-page/video.mp4", video)
    origin.serve("/api-page/video.mp4?signature=fr3sH", video)
    (tmp_path / ".curlrc").write_text(_CURLRC)
    (tmp_path / "video.mp4").write_bytes(video)
    listed = _LIST.replace("https://example.com/video.mp4", url)
    (tmp_path / "list.csv").write_text(listed)
    list_url = origin.serve("/api-page/list.csv", listed.encode())
    ids = _prepare(block, owner, origin)
    command = block.text.removeprefix("$ ").replace("https://example.com/video.mp4", url)
    command = command.replace("https://example.com/list.csv", list_url)
    ran = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", command],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "CURL_HOME": str(tmp_path),
            "HEADRACE_URL": owner.url,
            "HEADRACE_KEY": str(owner.key),
            **ids,
        },
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    status = ran.stdout.rpartition("\n")[2]
    assert status[:1] == "2", ran.stdout


def test_every_endpoint_has_an_example() -> None:
    missing = []
    for row in find_table(_PAGE, "endpoint").rows:
        method, path = cast("re.Match[str]", re.search(r"`(\w+) ([^`]+)`", row[0])).groups()
        if _ELSEWHERE.fullmatch(path):
            continue
        pattern = re.escape(path).replace(r"\{id\}", r"\$\w+_ID").replace(r"\{name\}", r"\$\w+_ID")
        called = rf'\$HEADRACE_URL{pattern}(?:\?[^"]*)?"'
        if path.startswith("/uploads/"):
            called = r'"\$UPLOAD_URL"'
        calls = [one for one in _EXAMPLES if re.search(called, one.text)]
        if not any(_find_method(one.text) == method for one in calls):
            missing.append(f"{method} {path}")
    assert missing == []


def _find_method(command: str) -> str:
    said = re.search(r"--request (\w+)", command)
    if said is not None:
        return said[1]
    if "--upload-file" in command:
        return "PUT"
    return "POST" if re.search(r" -d | --data", command) else "GET"

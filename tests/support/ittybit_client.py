"""What a program does with the published client of the ittybit API; run with one version of it.

Usage: ittybit_client.py URL KEY SOURCE. An exception of the client's ends it; at the end it prints
what it saw, as JSON. It runs in a process of its own, since two versions have one name.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import time
import urllib.request
from typing import Any

_WAIT_S = 20.0


def main(url: str, key: str, source: str) -> dict[str, object]:
    """Use every call that Headrace has an answer to."""
    module = importlib.import_module("ittybit")
    errors = importlib.import_module("ittybit.core.api_error")
    takes_token = "token" in inspect.signature(module.Ittybit.__init__).parameters
    named = {"token" if takes_token else "api_key": key}
    # The header ACCEPT_VERSION, which is none of ours.
    client = module.Ittybit(base_url=url, version="2025-08-20", **named)
    saw: dict[str, object] = {"version": module.__version__}
    _use_files(client, source, saw)
    _use_tasks(client, source, saw)
    _use_media(client, source, saw)
    _use_signatures(client, source, saw)
    try:
        client.files.get("file_00000000000000000000000000")
    except errors.ApiError as error:
        saw["missing"] = [error.status_code, error.body["error"]["code"]]
    return saw


def _use_files(client: Any, source: str, saw: dict[str, object]) -> None:
    bare = _open(client.files.create(url=source))
    saw["bare"] = [bare.kind, bare.filename]
    full = _open(
        client.files.create(
            url=source, folder="ittybit", filename="a.jpg", ref="one", metadata={"a": 1}
        )
    )
    saw["full"] = [full.folder, full.filename, full.ref, full.metadata, full.created.year > 2000]
    listed = _open(client.files.list(limit=2))
    saw["listed"] = [one.id for one in listed] == [full.id, bare.id]
    saw["got"] = _open(client.files.get(full.id)).id == full.id
    changed = _open(client.files.update(full.id, filename="b.jpg", metadata={"b": 2}))
    saw["changed"] = [changed.folder, changed.filename, changed.ref, changed.metadata]
    same = _open(client.files.update(full.id))
    saw["unchanged"] = same.filename
    nulls = _open(client.files.update(full.id, folder=None, filename=None, ref=None, metadata=None))
    saw["nulls"] = [nulls.folder, nulls.filename, nulls.ref, nulls.metadata]
    saw["deleted"] = _open(client.files.delete(full.id)).message == f"{full.id} is deleted."


def _use_tasks(client: Any, source: str, saw: dict[str, object]) -> None:
    def create(**order: object) -> Any:
        takes_fields = "kind" in inspect.signature(client.tasks.create).parameters
        return _open(client.tasks.create(**(order if takes_fields else {"request": order})))

    task = create(kind="ingest", url=source)
    saw["task"] = [task.kind, task.status, task.output]
    ends = time.monotonic() + _WAIT_S
    while task.status in {"pending", "processing"} and time.monotonic() < ends:
        time.sleep(0.1)
        task = _open(client.tasks.get(task.id))
    saw["ended"] = [task.status, task.progress, task.output["kind"]]
    other = create(kind="ingest", input={"url": source})
    saw["input"] = other.input["url"] == source
    saw["tasks"] = [one.id for one in _open(client.tasks.list(limit=2))] == [other.id, task.id]
    if "status" in inspect.signature(client.tasks.list).parameters:
        for status in ("completed", "ready", "error", "waiting"):
            saw[status] = sorted({one.status for one in _open(client.tasks.list(status=status))})


def _use_media(client: Any, source: str, saw: dict[str, object]) -> None:
    file = _open(client.files.create(url=source, ref="small"))
    media = _open(client.media.get(file.media_id))
    saw["media"] = [media.id == file.media_id, len(media.files), sorted(media.urls)]
    saw["all media"] = _open(client.media.list(limit=1))[0].id == file.media_id
    saw["media deleted"] = _open(client.media.delete(file.media_id)).message.endswith("deleted.")


def _use_signatures(client: Any, source: str, saw: dict[str, object]) -> None:
    client.files.create(url=source, folder="signed", filename="a.jpg")
    alone = _open(client.signatures.create(filename="a.jpg"))
    saw["signed for an hour"] = 3500 < alone.expiry - time.time() < 3700
    expiry = int(time.time()) + 600
    reads = _open(
        client.signatures.create(filename="a.jpg", folder="signed", expiry=expiry, method="get")
    )
    saw["reads"] = [reads.folder, reads.filename, reads.expiry == expiry, reads.method]
    saw["parts"] = [reads.domain in reads.url, reads.signature in reads.url]
    with urllib.request.urlopen(reads.url, timeout=_WAIT_S) as answer:  # noqa: S310 - http
        content = answer.read()
    sends = _open(client.signatures.create(filename="b.jpg", folder="signed", method="PUT"))
    saw["sends"] = sends.method
    sent = urllib.request.Request(sends.url, content, method="PUT")  # noqa: S310 - http
    with urllib.request.urlopen(sent, timeout=_WAIT_S) as answer:  # noqa: S310 - http
        saw["sent"] = answer.status
    (newest,) = _open(client.files.list(limit=1))
    saw["arrived"] = [newest.folder, newest.filename, newest.filesize == len(content)]


def _open(answer: Any) -> Any:
    """Return the data of an answer: older versions show what stands around it."""
    return answer.data if hasattr(answer, "meta") else answer


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))

"""What a failed ingest must not leave: a file, an object, an upload, or a name that stays taken."""

from __future__ import annotations

import secrets

from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, JsonDict, read_error, read_list, read_object

RETRYABLE = {
    "source_unavailable",
    "source_truncated",
    "source_timeout",
    "source_too_slow",
    "source_dns",
}


def make_order(url: str, **more: object) -> JsonDict:
    """Return the body of a request whose file would have a name and a ref that nobody else has."""
    name = f"bad-{secrets.token_hex(4)}"
    return {"url": url, "folder": f"bad/{name}", "filename": "a.bin", "ref": name, **more}


def list_uploads(store: S3ObjectStore) -> list[str]:
    """Return the keys of multipart uploads that were neither completed nor aborted."""
    return [pending.upload.key for pending in store.list_uploads()]


def fail_cleanly(
    api: Api, store: S3ObjectStore, order: JsonDict, code: str, good_url: str
) -> JsonDict:
    """Ingest what must fail with ``code``, and check that nothing of it is left; return the task.

    Args:
        order: the body of the request, with folder, filename and ref.
        good_url: a source that is then ingested under the same name.
    """
    error = read_error(api.post("/files", order), 422, code)

    assert list(error) == ["code", "message", "param", "retryable", "task_id"]
    assert error["retryable"] is (code in RETRYABLE)
    task = read_object(api.get(f"/tasks/{error['task_id']}"))
    assert (task["status"], task["output"]) == ("failed", None)
    shown = {name: error[name] for name in ("code", "message", "retryable")}
    assert task["error"] == shown
    attempts = task["attempts"]
    assert isinstance(attempts, list)
    assert [attempt["error"] for attempt in attempts] == [shown]
    key = f"{order['folder']}/{order['filename']}"
    assert store.describe(key) is None
    assert key not in list_uploads(store)
    assert read_list(api.get(f"/files?ref={order['ref']}"))[1]["total"] == 0
    again = read_object(api.post("/files", {**order, "url": good_url, **_UNLIMITED}), 201)
    assert again["filename"] == order["filename"]
    return task


# What may have made it fail.
_UNLIMITED = {"checksum": None, "max_bytes": None}

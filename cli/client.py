"""A small client of the API, and the only HTTP client outside the workers' one door.

Invariants: every call has a time limit; what comes back is checked to be Headrace's before it is
used; a refusal (4xx) and a service that is not there are different errors. The environment's
proxies are not used for the loopback, and a `.netrc` never replaces the key.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Self
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

from cli.answers import File, JsonDict, Listing, Task, read_answer
from cli.problems import Refused, Unreachable

# What callers need to name stands here too.
__all__ = [
    "ApiClient",
    "File",
    "Listing",
    "Task",
    "fetch_json",
    "fetch_status",
    "hash_download",
    "send_webhook",
]

_PROBE_TIMEOUT_S = 2.0
_CALL_TIMEOUT_S = 30.0
# POST /files answers when the ingest is over, or says 202; that limit is the server's, at most 600.
_SYNC_TIMEOUT_S = 630.0
_CONNECT_TIMEOUT_S = 5.0
_WEBHOOK_TIMEOUT_S = 15.0
_CHUNK_BYTES = 1024 * 1024
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
# How long a wait puts up with an API that is being restarted.
_PATIENCE_S = 15.0


class ApiClient:
    """Speaks to one API with one key; a context manager.

    Every method raises :class:`cli.problems.Refused` on a 4xx and
    :class:`cli.problems.Unreachable` when there is no usable answer.

    Args:
        url: the API's address.
        key: an API key.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._session = _open_session(self.url)
        self._session.auth = _Bearer(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def create_task(self, order: Mapping[str, object]) -> Task:
        """Create an ingest task; ``order`` is the body without ``kind``."""
        return read_answer(Task, self._call("POST", "/tasks", {"kind": "ingest", **order}))

    def get_task(self, task_id: str) -> Task:
        """Return a task."""
        return read_answer(Task, self._call("GET", _name_task(task_id)))

    def cancel_task(self, task_id: str) -> Task:
        """End a task that is pending or processing; one that is cancelled already is no refusal."""
        return read_answer(Task, self._call("POST", f"{_name_task(task_id)}/cancel"))

    def retry_task(self, task_id: str) -> Task:
        """Give a task that failed or was cancelled all its attempts again."""
        return read_answer(Task, self._call("POST", f"{_name_task(task_id)}/retry"))

    def redirect_task(self, task_id: str, url: str) -> Task:
        """Let the next attempt of a task fetch from another URL."""
        return read_answer(Task, self._call("PATCH", _name_task(task_id), {"url": url}))

    def create_file(self, order: Mapping[str, object]) -> File | Task:
        """Ingest and wait for the File; the Task instead if the API stopped waiting."""
        data = self._call("POST", "/files", order, timeout_s=_SYNC_TIMEOUT_S)
        return read_answer(File, data) if data.get("object") == "file" else read_answer(Task, data)

    def get_file(self, file_id: str) -> File:
        """Return a file."""
        return read_answer(File, self._call("GET", f"/files/{_segment(file_id)}"))

    def delete_file(self, file_id: str) -> None:
        """Delete a file."""
        self._send("DELETE", f"/files/{_segment(file_id)}", None, _CALL_TIMEOUT_S)

    def list_tasks(self, query: Mapping[str, str | int]) -> Listing:
        """Return one page of tasks, newest first."""
        return self._list("/tasks", query)

    def list_files(self, query: Mapping[str, str | int]) -> Listing:
        """Return one page of files, newest first."""
        return self._list("/files", query)

    def list_events(self, query: Mapping[str, str | int]) -> Listing:
        """Return one page of events, newest first."""
        return self._list("/events", query)

    def wait_for_task(self, task_id: str, on_progress: Callable[[Task], None]) -> Task:
        """Return a task once it has ended, telling each state that was seen on the way."""
        pause_s = _FIRST_PAUSE_S
        lost_since: float | None = None
        while True:
            try:
                task = self.get_task(task_id)
            except Unreachable:
                now = time.monotonic()
                lost_since = now if lost_since is None else lost_since
                if now - lost_since > _PATIENCE_S:
                    raise
            else:
                lost_since = None
                on_progress(task)
                if task.ended:
                    return task
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.3, _LONGEST_PAUSE_S)

    def _list(self, path: str, query: Mapping[str, str | int]) -> Listing:
        body = self._send("GET", path, None, _CALL_TIMEOUT_S, query)
        meta, items = body.get("meta"), body.get("data")
        if not isinstance(meta, dict):
            raise _not_headrace(self.url)
        return read_answer(Listing, {**meta, "items": items})

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout_s: float = _CALL_TIMEOUT_S,
    ) -> JsonDict:
        data = self._send(method, path, body, timeout_s).get("data")
        if not isinstance(data, dict):
            raise _not_headrace(self.url)
        return data

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        timeout_s: float,
        query: Mapping[str, str | int] | None = None,
    ) -> JsonDict:
        try:
            response = self._session.request(
                method,
                self.url + path,
                json=body,
                params=query,
                timeout=(_CONNECT_TIMEOUT_S, timeout_s),
                # A redirected POST would arrive as a GET.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise Unreachable(
                f"The API does not answer at {self.url} ({type(error).__name__}). "
                "Is it running? `headrace status` tells of a local one."
            ) from None
        return _open_envelope(self.url, response)


def fetch_status(url: str) -> int | None:
    """Return the HTTP status of a GET on a server of this machine, or None if nothing answers."""
    with _open_session(url) as session:
        try:
            return session.get(url, timeout=_PROBE_TIMEOUT_S, allow_redirects=False).status_code
        except requests.RequestException:
            return None


def fetch_json(url: str) -> JsonDict | None:
    """Return the JSON object that a server answers with, whatever its status, or None."""
    with _open_session(url) as session:
        try:
            body = session.get(url, timeout=_CALL_TIMEOUT_S, allow_redirects=False).json()
        except requests.RequestException:
            return None
    return body if isinstance(body, dict) else None


def hash_download(url: str) -> str:
    """Return the SHA-256, in hex, of the bytes behind a URL.

    Raises:
        Unreachable: they cannot be had.
    """
    digest = hashlib.sha256()
    try:
        with (
            _open_session(url) as session,
            session.get(url, stream=True, timeout=(_CONNECT_TIMEOUT_S, _CALL_TIMEOUT_S)) as got,
        ):
            got.raise_for_status()
            for piece in got.iter_content(_CHUNK_BYTES):
                digest.update(piece)
    except requests.RequestException as error:
        raise Unreachable(f"The file cannot be read back from {url}: {error}") from None
    return digest.hexdigest()


def send_webhook(url: str, headers: Mapping[str, str], body: str) -> int:
    """Send a webhook as a sender would, and return the status that comes back.

    Raises:
        Unreachable: none does.
    """
    own = {"Content-Type": "application/json"}
    try:
        with _open_session(url) as session:
            return session.post(
                url,
                data=body.encode(),
                headers={**own, **headers},
                timeout=(_CONNECT_TIMEOUT_S, _WEBHOOK_TIMEOUT_S),
                allow_redirects=False,
            ).status_code
    except requests.RequestException as error:
        raise Unreachable(f"Nothing answers at {url} ({type(error).__name__}).") from None


class _Bearer(AuthBase):
    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _open_session(url: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = not _is_loopback(urlsplit(url).hostname or "")
    return session


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open_envelope(url: str, response: requests.Response) -> JsonDict:
    if response.status_code == requests.codes.no_content:
        return {}
    try:
        body = response.json()
    except requests.JSONDecodeError:
        raise _not_headrace(url) from None
    if not isinstance(body, dict):
        raise _not_headrace(url)
    if response.ok:
        return body
    error = body.get("error")
    if not isinstance(error, dict):
        raise _not_headrace(url)
    message = str(error.get("message"))
    if response.status_code >= requests.codes.server_error:
        raise Unreachable(f"The API answered {response.status_code}: {message}")
    param = error.get("param")
    raise Refused(
        message,
        status=response.status_code,
        code=str(error.get("code")),
        param=None if param is None else str(param),
    )


def _name_task(task_id: str) -> str:
    return f"/tasks/{_segment(task_id)}"


def _segment(text: str) -> str:
    # A segment of dots would be folded away, and the call go to another resource.
    if not text.strip("."):
        raise Refused(f"'{text}' is no id.", status=404, code="not_found", param=None)
    return quote(text, safe="")


def _not_headrace(url: str) -> Unreachable:
    return Unreachable(f"What answers at {url} is not Headrace. Check HEADRACE_URL.")

"""The API as any HTTP client meets it: whole answers, and requests as odd as a test wants them.

What is read is checked against the published shapes on the way (docs/api.md), so that every test
that reads an answer also tests its envelope.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Self, cast

import requests

from ingest.ids import Prefix, is_id
from tests.support.documented import find_undocumented

JsonDict = dict[str, object]
# Of ids that nothing has; tests are called after them, and have to be called alike in each process.
ULID = "01k9x3v5w8r2m4n6p7q8s9t0v1"

_TIMEOUT_S = 40.0
_LIST_META = ["id", "type", "total", "page", "limit", "pages"]
_LIST_LINKS = ["self", "first", "prev", "next", "last"]


class Api:
    """Sends requests with one key, or with none.

    Args:
        url: the API's root.
        key: sent as a bearer key; None sends no Authorization.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url
        self.key = key
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request as it is; an iterable body goes out in chunks. Redirects are not followed.

        Args:
            path: with its query, from the API's root, or a whole URL of this API.
        """
        own = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        return self._session.request(
            method,
            path if path.startswith("http") else self.url + path,
            data=body,
            headers={**own, **(headers or {})},
            timeout=_TIMEOUT_S,
            allow_redirects=False,
        )

    def send_untidied(self, method: str, path: str) -> requests.Response:
        """Send a request whose path keeps its dots and its percent signs."""
        request = requests.Request(method, self.url).prepare()
        request.url = self.url + path
        request.headers["Authorization"] = f"Bearer {self.key}"
        return self._session.send(request, timeout=_TIMEOUT_S, allow_redirects=False)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """Send a GET."""
        return self.send("GET", path, headers=headers)

    def post(
        self, path: str, body: object, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send a POST of JSON."""
        own = {"Content-Type": "application/json"}
        return self.send("POST", path, json.dumps(body).encode(), {**own, **(headers or {})})

    def patch(self, path: str, body: object) -> requests.Response:
        """Send a PATCH of JSON."""
        own = {"Content-Type": "application/json"}
        return self.send("PATCH", path, json.dumps(body).encode(), own)

    def delete(self, path: str) -> requests.Response:
        """Send a DELETE."""
        return self.send("DELETE", path)


def read_object(response: requests.Response, status: int = 200) -> JsonDict:
    """Return the data of an answer that holds one object."""
    body = _read(response, status)
    assert list(body) == ["meta", "data", "links"]
    meta, links = cast("JsonDict", body["meta"]), cast("JsonDict", body["links"])
    assert list(meta) == ["id", "type"]
    assert meta["type"] == "object"
    assert list(links) == ["self"]
    return cast("JsonDict", body["data"])


def read_list(response: requests.Response) -> tuple[list[JsonDict], JsonDict, JsonDict]:
    """Return the data, meta and links of an answer that holds a list."""
    body = _read(response, 200)
    assert list(body) == ["meta", "data", "links"]
    meta, links = cast("JsonDict", body["meta"]), cast("JsonDict", body["links"])
    assert list(meta) == _LIST_META
    assert meta["type"] == "list"
    assert list(links) == _LIST_LINKS
    return cast("list[JsonDict]", body["data"]), meta, links


def read_error(response: requests.Response, status: int, code: str) -> JsonDict:
    """Return the error of an answer that is one."""
    body = _read(response, status)
    assert list(body) == ["meta", "data", "error", "links"]
    meta, links = cast("JsonDict", body["meta"]), cast("JsonDict", body["links"])
    assert list(meta) == ["id", "type"]
    assert (meta["type"], body["data"]) == ("error", None)
    assert list(links) == ["self"]
    error = cast("JsonDict", body["error"])
    assert list(error)[:3] == ["code", "message", "param"]
    assert error["code"] == code, error
    assert str(error["message"]).endswith(".")
    assert find_undocumented(response, code) is None
    return error


def _read(response: requests.Response, status: int) -> JsonDict:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert isinstance(body, dict)
    request_id = response.headers["X-Request-Id"]
    assert is_id(Prefix.REQUEST, request_id)
    assert body["meta"]["id"] == request_id
    assert body["links"]["self"].startswith("http://127.0.0.1:")
    return body

"""The shapes around data: one object, a list, and what changes with ``Accept-Version``.

Published clients of the ittybit API send ``Accept-Version``; from 2025-08-20 on a success is the
bare data, before that (and without the header) it stands in ``meta``/``data``/``links``. Errors
keep one shape (:mod:`api.problems`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar, cast
from urllib.parse import urlencode

from flask import Response, current_app, g, request
from pydantic import BaseModel
from werkzeug.sansio.utils import get_current_url

from ingest.model import Page
from storage.records.listing import Window

T = TypeVar("T")

ENVELOPE_VERSION = "2025-01-01"
BARE_VERSION = "2025-08-20"
# In ASCII, whatever strings hold.
_JSON = json.JSONEncoder(separators=(",", ":"))
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def build_object(
    data: BaseModel,
    path: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with one object.

    Args:
        data: the object.
        path: where it can be read again, from the API's root.
    """
    shown = body = _show(data)
    if not speaks_bare():
        body = _wrap(_meta("object"), shown, {"self": make_link(path)})
    return _tag(_answer(body, status, headers), shown)


def build_list(
    items: Sequence[BaseModel], page: Page[T], window: Window, ids: Sequence[str]
) -> Response:
    """Answer with one page of a list.

    Args:
        items: the page's objects.
        page: what was read, for its counts.
        window: what was asked for; a cursor in it makes the links go on by cursor.
        ids: the ids of the items, which are the cursors of the pages beside this one.
    """
    shown = f"[{','.join(map(_show, items))}]"
    pages = max(1, -(-page.total // page.limit))
    if window.after is None and window.before is None:
        links = _link_by_page(page, pages)
    else:
        links = _link_by_cursor(page, window, ids)
    counts = {"total": page.total, "page": page.page, "limit": page.limit, "pages": pages}
    if speaks_bare():
        link = ", ".join(f'<{url}>; rel="{rel}"' for rel, url in links.items() if url)
        answer = _answer(shown, 200, {"Link": link, "X-Total": str(page.total)})
    else:
        body = _wrap(_meta("list") | counts, shown, links)
        answer = _answer(body, 200, None)
    return _tag(answer, shown + _write([counts, links]))


def build_error(error: Mapping[str, object], status: int, headers: Mapping[str, str]) -> Response:
    """Answer with an error, in the one shape that errors have."""
    body = {
        "meta": _meta("error"),
        "data": None,
        "error": error,
        "links": {"self": make_link(request.full_path.removesuffix("?"))},
    }
    return _answer(_write(body), status, headers)


def speaks_bare() -> bool:
    """Return whether this request asked for bare data."""
    version = request.headers.get("Accept-Version", "")
    return _DATE.fullmatch(version) is not None and version >= BARE_VERSION


def make_link(path: str) -> str:
    """Return the absolute URL of a path of this API."""
    base = current_app.config["HEADRACE_SETTINGS"].api_url or _write_root(
        request.scheme, request.host, request.root_path
    )
    return f"{base}{path}"


# Each answer has one, and nearly always the same one.
@lru_cache(maxsize=64)
def _write_root(scheme: str, host: str, root_path: str) -> str:
    return get_current_url(scheme, host, root_path).rstrip("/")


def _tag(response: Response, shown: str) -> Response:
    """Add the validator of what is shown; 304 to who has it already (RFC 9110, 13.1.2).

    It is a weak one: the request's id stands in each answer and says nothing of the object.

    Args:
        shown: the object, or the page, as JSON.
    """
    if request.method not in {"GET", "HEAD"}:
        return response
    text = f"{response.headers['Content-Version']} {shown}"
    response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:32], weak=True)
    if "If-None-Match" in request.headers or "If-Match" in request.headers:
        return cast("Response", response.make_conditional(request))
    return response


def _meta(kind: str) -> dict[str, object]:
    return {"id": g.request_id, "type": kind}


def _wrap(meta: object, shown: str, links: object) -> str:
    return f'{{"meta":{_write(meta)},"data":{shown},"links":{_write(links)}}}'


def _show(data: BaseModel) -> str:
    """Return an object as JSON, once: it goes into the answer and into its validator."""
    return data.model_dump_json(ensure_ascii=True)


def _write(value: object) -> str:
    return _JSON.encode(value)


def _answer(body: str, status: int, headers: Mapping[str, str] | None) -> Response:
    told = {
        "Content-Version": BARE_VERSION if speaks_bare() else ENVELOPE_VERSION,
        "Vary": "Accept-Version",
    }
    response = Response(f"{body}\n", status, told, mimetype="application/json")
    response.headers.extend(dict(headers or {}))
    return response


def _link_by_page(page: Page[T], pages: int) -> dict[str, str | None]:
    return {
        "self": _relink(page=page.page),
        "first": _relink(page=1),
        "prev": _relink(page=min(page.page - 1, pages)) if page.page > 1 else None,
        "next": _relink(page=page.page + 1) if page.page < pages else None,
        "last": _relink(page=pages),
    }


def _link_by_cursor(page: Page[T], window: Window, ids: Sequence[str]) -> dict[str, str | None]:
    return {
        "self": _relink(after=window.after, before=window.before),
        "first": _relink(),
        "prev": _relink(before=ids[0]) if page.newer else None,
        "next": _relink(after=ids[-1]) if page.older else None,
        "last": None,
    }


def _relink(**changed: object) -> str:
    kept = {
        name: value
        for name, value in request.args.items(multi=True)
        if name not in {"page", "after", "before"}
    }
    query = kept | {name: value for name, value in changed.items() if value is not None}
    return make_link(request.path + (f"?{urlencode(query)}" if query else ""))

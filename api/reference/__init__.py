"""``/docs``: the OpenAPI document as a page that a person reads.

Invariant: the page and its style sheet are all there is to load, both from here; there is no
script, so the strictest Content-Security-Policy holds.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import Response, current_app, render_template, request

from api.reference.page import build_page

blueprint = APIBlueprint(
    "reference",
    __name__,
    enable_openapi=False,
    template_folder="templates",
    static_folder="static",
    static_url_path="/docs/static",
)
_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_RENDERED = "headrace_reference"
# Reading all views takes a moment; nobody is to make every thread do it.
_rendering = Lock()


@blueprint.get("/docs")
def read() -> Response:
    """Answer with the page, which is made once."""
    with _rendering:
        page = current_app.extensions.get(_RENDERED)
        if page is None:
            page = render_template("reference.html", page=build_page(_read_document()))
            current_app.extensions[_RENDERED] = page
    response = Response(page, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    return cast("Response", response.make_conditional(request))


def _read_document() -> dict[str, Any]:
    document = cast("APIFlask", current_app).spec
    return cast("dict[str, Any]", document)

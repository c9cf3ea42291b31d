"""The OpenAPI document as a file, ``docs/openapi.json``; ``make openapi`` writes it anew."""

from __future__ import annotations

import json
import sys

from api.app import create_app
from ingest.environ import load_settings

# What must be set, and is in no document.
_SETTINGS = {
    "HEADRACE_DATABASE_URL": "postgresql://127.0.0.1/headrace",
    "HEADRACE_REDIS_URL": "redis://127.0.0.1/0",
    "HEADRACE_S3_BUCKET": "headrace",
}


def render_document() -> str:
    """Return the document, as the API serves it where no public address is set.

    Nothing is read from the environment, and nothing is connected to.
    """
    app = create_app(load_settings(_SETTINGS))
    with app.app_context():
        return json.dumps(app.spec, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_document())

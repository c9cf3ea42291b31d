"""``python -m api``: the API under gunicorn, configured by the environment."""

from __future__ import annotations

import sys

from gunicorn.app.wsgiapp import run

from ingest.environ import load_settings
from ingest.errors import HeadraceError


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    try:
        load_settings()
    except HeadraceError as error:
        sys.stderr.write(f"headrace api: {error.message}\n")
        return 5
    sys.argv = ["headrace-api", "-c", "python:api.server", "api.app:create_app()"]
    run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

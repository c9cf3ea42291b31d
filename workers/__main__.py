"""``python -m workers worker|sender|beat``: one process of a role, configured by its environment.

Imports inside :func:`main` on purpose: the probe's fork server imports this module again in its
children, which must not pay for Celery.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the role named by the first argument; returns the exit code."""
    from ingest.environ import load_settings
    from ingest.errors import HeadraceError

    role = sys.argv[1] if len(sys.argv) == 2 else ""
    if role not in {"worker", "sender", "beat"}:
        sys.stderr.write("usage: python -m workers worker|sender|beat\n")
        return 2
    try:
        settings = load_settings()
        if role == "worker":
            from workers.app import run_worker

            run_worker(settings)
        elif role == "sender":
            from workers.sender import run_sender

            run_sender(settings)
        else:
            from workers.beat import run_beat

            run_beat(settings)
    except HeadraceError as error:
        sys.stderr.write(f"headrace {role}: {error.message}\n")
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())

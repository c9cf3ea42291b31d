"""The command line of the origin. Prints its port once it listens, serves until stdin ends."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.support.origin.bodies import Body, Generated, measure
from tests.support.origin.server import Origin
from tests.support.padding import pad_mp4


def main() -> None:
    """Serve what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.origin", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ranges", action="store_true", help="obey Range")
    parser.add_argument("--etags", action="store_true", help="give every body a strong ETag")
    parser.add_argument("--content-type", default="application/octet-stream")
    parser.add_argument(
        "--file", action="append", default=[], metavar="PATH=FILE", help="serve a file's bytes"
    )
    parser.add_argument(
        "--generate", action="append", default=[], metavar="PATH=BYTES", help="serve made-up bytes"
    )
    parser.add_argument(
        "--pad",
        action="append",
        default=[],
        metavar="PATH=BYTES",
        help="blow the mp4 that --file put at PATH up to this size; it plays as before",
    )
    given = parser.parse_args()
    bodies: dict[str, Body] = {}
    for path, name in _split(given.file):
        bodies[path] = Path(name).read_bytes()
    for path, size in _split(given.generate):
        bodies[path] = Generated(int(size))
    for path, size in _split(given.pad):
        small = bodies.get(path)
        if not isinstance(small, bytes):
            parser.error(f"--pad {path}: no --file is there")
        bodies[path] = pad_mp4(small, int(size))
    with Origin(port=given.port) as origin:
        for path, body in bodies.items():
            origin.serve(
                path,
                body,
                ranges=given.ranges,
                content_type=given.content_type,
                etag=f'"{measure(body)}{path}"' if given.etags else None,
            )
        sys.stdout.write(f"{origin.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


def _split(pairs: list[str]) -> list[tuple[str, str]]:
    return [(path, value) for path, _, value in (pair.partition("=") for pair in pairs)]


if __name__ == "__main__":
    main()

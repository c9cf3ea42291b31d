"""A peer in Python as a process: it is warm before anything is timed, and takes orders in lines.

An order is ``{"urls": […], "keys": […]}``; the answer says how long it took by the process's own
clock, and the sha256 of each: ``{"elapsed_s": …, "sha256": […]}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from bench.headrace_peer import HeadracePeer
from bench.plain_peer import PlainPeer
from ingest.environ import load_settings
from ingest.logs import configure_logging


class _Peer(Protocol):
    def transfer_one(self, url: str, key: str) -> str: ...

    def transfer_many(self, urls: Sequence[str], keys: Sequence[str]) -> list[str]: ...


def main() -> None:
    """Take orders until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m bench.transfer_peer", description=__doc__)
    parser.add_argument("peer", choices=["headrace", "plain"])
    name = parser.parse_args().peer
    settings = load_settings()
    # To stderr, as a worker's is.
    configure_logging(settings.log_level, settings.log_format)
    peer: _Peer = HeadracePeer(settings) if name == "headrace" else PlainPeer(settings)
    _say({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        urls, keys = order["urls"], order["keys"]
        began = time.perf_counter()
        if len(urls) == 1:
            sha256 = [peer.transfer_one(urls[0], keys[0])]
        else:
            sha256 = peer.transfer_many(urls, keys)
        _say({"elapsed_s": time.perf_counter() - began, "sha256": sha256})


def _say(answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

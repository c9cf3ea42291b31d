"""The sink as a process: says its port in JSON once it listens, serves until stdin ends."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading

from bench.sink.exchange import Exchange
from bench.sink.objects import Objects
from bench.wire import HOST, Inlet, serve_forever


def main() -> None:
    """Serve one bucket of whatever name."""
    parser = argparse.ArgumentParser(prog="python -m bench.sink", description=__doc__)
    parser.add_argument("--verify", action="store_true", help="hash what arrives")
    verify = bool(parser.parse_args().verify)
    objects = Objects()

    def converse(connection: socket.socket) -> None:
        Exchange(connection, Inlet(connection), objects, verify).run()

    listener = socket.create_server((HOST, 0), backlog=1024)
    threading.Thread(target=serve_forever, args=(listener, converse), daemon=True).start()
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()

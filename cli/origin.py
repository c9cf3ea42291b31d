"""The sample's own small web server, on the loopback, so that an ingest really goes over HTTP.

Invariant: it serves one file and nothing else; workers are let through to exactly its address and
port. The sample is made when it is first asked for, so that it delays nobody's start.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.exceptions import NotFound, ServiceUnavailable
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

from cli.ports import LOOPBACK
from cli.problems import SetupProblem
from cli.sample import SAMPLE_NAME, make_sample

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class SampleOrigin:
    """Serves the sample until :meth:`close`.

    Args:
        directory: where the sample is kept.
        port: where it listens.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.url = f"http://{LOOPBACK}:{port}/{SAMPLE_NAME}"
        self._directory = directory
        self._making = threading.Lock()
        # Bound here: werkzeug would end the process over a port that is taken.
        with socket.create_server((LOOPBACK, port)) as listener:
            self._server: BaseWSGIServer = make_server(
                LOOPBACK,
                port,
                self._answer,
                threaded=True,
                request_handler=_QuietHandler,
                fd=listener.fileno(),
            )
        threading.Thread(target=self._server.serve_forever, name="sample", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        return self._respond(Request(environ), environ)(environ, start)

    def _respond(self, request: Request, environ: WSGIEnvironment) -> Response:
        if request.path != f"/{SAMPLE_NAME}":
            return NotFound().get_response(environ)
        try:
            with self._making:
                sample = make_sample(self._directory)
        except (SetupProblem, OSError) as error:
            return Response(f"{error}\n", status=ServiceUnavailable.code)
        return send_file(sample, environ, conditional=True)


class _QuietHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the terminal belongs to the stack."""

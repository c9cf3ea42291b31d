"""One local stack a session, the same that ``headrace up`` runs, and origins it may fetch from.

Allowed origins are exact ``ip:port``, as in production: everything else on the loopback stays
blocked, so the tests of the egress guard mean something.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from cli.client import ApiClient
from cli.local import LocalStack
from ingest.config import Settings
from ingest.environ import load_settings
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.records.database import Database
from tests.support.figures import (
    Figures,
    dump_tables,
    open_table,
    print_tables,
    take_tables,
)
from tests.support.media import make_media
from tests.support.origin import Certificates, Origin, OriginProcess, TlsCase

_SECURITY_FULL = "--security-full"
_FIGURES = "figures"


class Node(Protocol):
    """A process that runs tests, as pytest-xdist knows it; it has no types."""

    config: pytest.Config


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what chooses the long form of the tests of security."""
    parser.getgroup("security").addoption(
        _SECURITY_FULL, action="store_true", help="take every figure of security in full"
    )


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the tables of figures."""
    print_tables(config.stash, terminalreporter)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand this process's figures to the one that prints them, where the tests run in several."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_FIGURES] = dump_tables(session.config.stash)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Node) -> None:
    """Take the figures of a process that is done; one that died has none."""
    take_tables(node.config.stash, getattr(node, "workeroutput", {}).get(_FIGURES, {}))


@pytest.fixture(scope="session")
def security_full(request: pytest.FixtureRequest) -> bool:
    """Whether a figure of security is taken in its long form."""
    return bool(request.config.getoption(_SECURITY_FULL))


@pytest.fixture(scope="session")
def security_figures(request: pytest.FixtureRequest, *, security_full: bool) -> Figures:
    """Takes the lines of the table of docs/security.md."""
    return open_table(request.config.stash, f"security, in {'full' if security_full else 'short'}")


@pytest.fixture(scope="session")
def media_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where made media is kept for the session."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    """A plain HTTP origin that the workers may fetch from."""
    with Origin() as running:
        yield running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA that the workers trust for sources."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls_origins(certificates: Certificates) -> Iterator[dict[TlsCase, Origin]]:
    """A TLS origin for each way a certificate can be."""
    with ExitStack() as held:
        yield {
            case: held.enter_context(Origin(tls=certificates.make_context(case)))
            for case in TlsCase
        }


@pytest.fixture(scope="session")
def large_origin(media_folder: Path) -> Iterator[OriginProcess]:
    """An origin of 2 GiB files that takes none of the tests' own memory."""
    small = make_media("mp4", media_folder)
    arguments = ["--file", f"/large.mp4={small}", "--pad", f"/large.mp4={2 * 1024**3}"]
    with OriginProcess(arguments) as running:
        yield running


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port that the workers may connect to and that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        yield port


@pytest.fixture(scope="session")
def receiver_port() -> int:
    """A port that is free for a receiver in a process of its own, and that is let through."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    origin: Origin,
    large_origin: OriginProcess,
    tls_origins: dict[TlsCase, Origin],
    certificates: Certificates,
    closed_port: int,
    receiver_port: int,
) -> Iterator[LocalStack]:
    """The whole service, running: servers, API, one worker, sender, beat."""
    ports = [origin.port, large_origin.port, closed_port, receiver_port]
    ports += [one.port for one in tls_origins.values()]
    with LocalStack(
        tmp_path_factory.mktemp("headrace"),
        extra_environ={
            "HEADRACE_SOURCE_CA_FILE": str(certificates.ca_file),
            # Limits short enough to be reached in a test.
            "HEADRACE_CONNECT_TIMEOUT_S": "2",
            "HEADRACE_FIRST_BYTE_TIMEOUT_S": "2",
            "HEADRACE_LOWEST_WINDOW_S": "2",
            "HEADRACE_LEASE_S": "4",
            "HEADRACE_RESEND_AFTER_S": "3",
            "HEADRACE_SYNC_TIMEOUT_S": "20",
            # Most tests want to see the first failure; the others say how often they try.
            "HEADRACE_MAX_ATTEMPTS": "1",
            "HEADRACE_RETRY_BASE_S": "0.5",
            # Receivers of tests speak http, and what they refuse comes again soon.
            "HEADRACE_WEBHOOK_ALLOW_HTTP": "true",
            "HEADRACE_WEBHOOK_DELAYS_S": "0,0.2,0.4",
            "HEADRACE_WEBHOOK_CONNECT_TIMEOUT_S": "1",
            "HEADRACE_WEBHOOK_TIMEOUT_S": "2",
        },
        allow_addresses=[f"127.0.0.1:{port}" for port in ports],
    ) as running:
        yield running


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    """The settings of the running services."""
    return load_settings(stack.environ)


@pytest.fixture(scope="session")
def database(settings: Settings) -> Iterator[Database]:
    """The stack's database, to look into."""
    opened = Database(settings.sqlalchemy_url)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def store(settings: Settings) -> S3ObjectStore:
    """The stack's object store, to look into."""
    return s3.connect(settings, pool_size=4)


@pytest.fixture
def client(stack: LocalStack) -> Iterator[ApiClient]:
    """The API as a user reaches it."""
    with ApiClient(stack.api_url, stack.api_key) as opened:
        yield opened

"""What a local stack will consist of, decided before anything starts.

Which servers it runs itself and with which binaries, every port, and the one set of HEADRACE_
settings that all roles share. Invariants: what the settings name wins over what would be started;
the finished settings pass the same check as in production; ports of last time are tried first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from cli import postgres, seaweedfs, valkey
from cli.binaries import (
    Binary,
    find_ffprobe,
    find_frame_ffmpegs,
    find_postgres,
    find_valkey,
    find_weed,
)
from cli.home import Home, Secrets
from cli.ports import LOOPBACK, PortLedger
from cli.problems import SetupProblem
from ingest.config import Settings
from ingest.environ import load_settings
from ingest.errors import ConfigError

WEED_ROLES = ("s3", "filer", "master", "volume", "admin")
_USUAL_PORTS = {
    "postgres": 5432,
    "valkey": 6379,
    "s3": 8333,
    "filer": 8888,
    "master": 9333,
    "volume": 9340,
    "admin": 23646,
    "api": 8000,
    "sample": 8090,
}
_USUAL_METRICS_PORT = 8020


@dataclass(frozen=True, slots=True)
class OwnBinaries:
    """What the stack runs itself; None where the settings name one, or where it can do without."""

    postgres: Binary | None
    valkey: Binary | None
    weed: Binary | None
    ffprobe: Binary | None
    ffmpegs: tuple[Binary, ...]

    def describe(self) -> list[str]:
        """Return a line for each."""
        found = (self.postgres, self.valkey, self.weed, self.ffprobe, *self.ffmpegs)
        return [binary.describe() for binary in found if binary is not None]


@dataclass(frozen=True, slots=True)
class Layout:
    """The decisions. ``environ`` is what every role gets; ``api_url`` is where the API answers."""

    binaries: OwnBinaries
    ports: Mapping[str, int]
    environ: Mapping[str, str]
    settings: Settings
    secrets: Secrets
    api_url: str
    sample_port: int


def name_worker(number: int) -> str:
    """Return what the stack calls its n-th worker, counted from 1."""
    return "worker" if number == 1 else f"worker-{number}"


def take_metrics_port(ledger: PortLedger, child: str, last: Mapping[str, int]) -> int:
    """Reserve the port where a worker or a sender serves its metrics."""
    name = f"{child}-metrics"
    return ledger.take([*_last(last, name), _USUAL_METRICS_PORT])


def find_binaries(home: Home, given: Mapping[str, str]) -> OwnBinaries:
    """Find what the stack has to run itself; each is run once for its version, all at once.

    Args:
        home: its data says which PostgreSQL can open it.
        given: settings; what they name is not looked for.

    Raises:
        SetupProblem: something is missing; the message says what and how to get it.
    """

    def look(needed: bool, find: Callable[[], Binary]) -> Callable[[], Binary | None]:  # noqa: FBT001
        return find if needed else lambda: None

    finders = [
        look(
            "HEADRACE_DATABASE_URL" not in given,
            lambda: find_postgres(postgres.read_major(home)),
        ),
        look("HEADRACE_REDIS_URL" not in given, find_valkey),
        look(not _names_object_store(given), find_weed),
        look("HEADRACE_FFPROBE_PATH" not in given, find_ffprobe),
    ]
    with ThreadPoolExecutor(len(finders) + 1) as pool:
        frames = None if "HEADRACE_FFMPEG_PATH" in given else pool.submit(find_frame_ffmpegs)
        found_postgres, found_valkey, found_weed, ffprobe = pool.map(lambda find: find(), finders)
        ffmpegs = () if frames is None else frames.result()
    return OwnBinaries(found_postgres, found_valkey, found_weed, ffprobe, ffmpegs)


def draw_layout(
    home: Home,
    given: Mapping[str, str],
    binaries: OwnBinaries,
    ledger: PortLedger,
    allow_addresses: Iterable[str],
) -> Layout:
    """Choose ports and put the settings together.

    Args:
        home: its secrets are used, and its last ports tried first.
        given: settings of the operator, as HEADRACE_ variables.
        binaries: what the stack runs itself.
        ledger: where ports are reserved.
        allow_addresses: `ip:port` sources to let through, besides the stack's own sample.

    Raises:
        SetupProblem: a setting is wrong, or no port is free.
    """
    secrets = home.load_secrets()
    last = home.read_state().ports
    ports: dict[str, int] = {}

    def take(name: str) -> int:
        ports[name] = ledger.take([*_last(last, name), _USUAL_PORTS[name]])
        return ports[name]

    environ = dict(given)
    if binaries.postgres is not None:
        environ["HEADRACE_DATABASE_URL"] = postgres.make_url(
            secrets.postgres_password, take("postgres")
        )
    if binaries.valkey is not None:
        environ["HEADRACE_REDIS_URL"] = valkey.make_url(secrets.valkey_password, take("valkey"))
    if binaries.weed is not None:
        for role in WEED_ROLES:
            ports[role] = ledger.take(
                [*_last(last, role), _USUAL_PORTS[role]],
                with_grpc=True,
                is_usable=partial(seaweedfs.is_usable, role),
            )
        environ["HEADRACE_S3_ENDPOINT"] = f"http://{LOOPBACK}:{ports['s3']}"
        environ["HEADRACE_S3_BUCKET"] = seaweedfs.BUCKET
        environ["HEADRACE_S3_ACCESS_KEY_ID"] = secrets.s3_access_key_id
        environ["HEADRACE_S3_SECRET_ACCESS_KEY"] = secrets.s3_secret_access_key
    environ.setdefault("HEADRACE_SECRET_KEYS", secrets.secret_key)
    if binaries.ffprobe is not None:
        environ["HEADRACE_FFPROBE_PATH"] = str(binaries.ffprobe.path)
    if binaries.ffmpegs:
        environ["HEADRACE_FFMPEG_PATH"] = ",".join(str(one.path) for one in binaries.ffmpegs)
    if "HEADRACE_API_BIND" not in environ:
        environ["HEADRACE_API_BIND"] = f"{LOOPBACK}:{take('api')}"
    sample_port = take("sample")
    allowed = [
        environ.get("HEADRACE_DANGEROUS_ALLOW_ADDRESSES", ""),
        *allow_addresses,
        f"{LOOPBACK}:{sample_port}",
    ]
    environ["HEADRACE_DANGEROUS_ALLOW_ADDRESSES"] = ",".join(part for part in allowed if part)
    settings = _check(environ)
    if "api" not in ports:
        port = int(settings.api_bind.rpartition(":")[2])
        ports["api"] = ledger.take_exactly(port, "the API (HEADRACE_API_BIND)")
    return Layout(binaries, ports, environ, settings, secrets, _make_api_url(settings), sample_port)


def _check(environ: Mapping[str, str]) -> Settings:
    try:
        return load_settings(environ)
    except ConfigError as error:
        raise SetupProblem(error.message) from None


def _names_object_store(given: Mapping[str, str]) -> bool:
    # A bucket without an endpoint is one at AWS.
    return "HEADRACE_S3_ENDPOINT" in given or "HEADRACE_S3_BUCKET" in given


def _last(ports: Mapping[str, int], name: str) -> list[int]:
    return [ports[name]] if name in ports else []


def _make_api_url(settings: Settings) -> str:
    host, _, port = settings.api_bind.rpartition(":")
    address = ip_address(host.strip("[]"))
    if not address.is_unspecified:
        return f"http://{settings.api_bind}"
    return f"http://{LOOPBACK if address.version == 4 else '[::1]'}:{port}"

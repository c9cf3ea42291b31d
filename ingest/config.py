"""Settings: what each takes, checked against each other, then frozen.

Every setting is ``HEADRACE_`` and its name in upper case; :mod:`ingest.environ` reads them. The
README's table of settings is tested against these fields.
"""

from __future__ import annotations

import base64
import re
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ingest.connections import (
    BASE_URL,
    Addressing,
    Connection,
    find_server,
    parse_connections,
)
from ingest.delivering import parse_delays
from ingest.outlets import DEFAULT_PORTS, Network, parse_networks, parse_ports
from ingest.webhooks import WebhookRules

PREFIX = "HEADRACE_"
MIB = 1024 * 1024
# S3: parts of 5 MiB to 5 GiB, at most 10,000 of them, objects up to 5 TiB.
MIN_PART_BYTES = 5 * MIB
MAX_PARTS = 10_000
MAX_OBJECT_BYTES = 5 * 1024**4
_SECRET_KEY_BYTES = 32
# The forms that hosting services hand out, and SQLAlchemy's own.
_DATABASE_SCHEME = re.compile(r"postgres(?:ql)?(?:\+psycopg)?://")


class LogFormat(StrEnum):
    """``auto`` is console on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class S3Checksum(StrEnum):
    """What a store verifies bodies by."""

    CRC32C = "crc32c"
    MD5 = "md5"


class Settings(BaseSettings):
    """Everything an operator can set. Bytes, seconds and bytes a second where the name says so."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        # A limit that never comes is none, and sockets take no infinity.
        allow_inf_nan=False,
    )

    database_url: SecretStr = Field(
        description="PostgreSQL: `postgresql://user:password@host/name`"
    )
    redis_url: SecretStr = Field(description="Redis or Valkey: `redis://host:6379/0`")

    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Keys that seal secrets and sign URLs, the newest first, by commas; see "
        "docs/operations.md",
    )

    s3_bucket: str = Field(min_length=3, max_length=63, description="The bucket files land in")
    s3_endpoint: str | None = Field(None, description="The S3 server; empty means AWS")
    s3_public_endpoint: str | None = Field(
        None, description="The S3 server as downloaders reach it, if that differs"
    )
    s3_region: str = Field("us-east-1", description="The bucket's region")
    s3_access_key_id: SecretStr | None = Field(
        None, description="Access key; empty means the AWS credential chain"
    )
    s3_secret_access_key: SecretStr | None = Field(None, description="Secret of the access key")
    s3_addressing: Addressing = Field(
        Addressing.AUTO, description="`path`, `virtual`, or `auto` (path if an endpoint is set)"
    )

    s3_checksum: S3Checksum = Field(
        S3Checksum.CRC32C,
        description="What guards bodies on their way: `crc32c`, or `md5` for stores without it",
    )
    s3_sources: Annotated[tuple[Connection, ...], NoDecode] = Field(
        (), description="Buckets that `s3://` URLs may read, as JSON; see docs/sources.md"
    )

    api_url: str | None = Field(
        None, description="The API's public address in links; empty means as the request came"
    )
    delivery_url: str | None = Field(
        None, description="Base of file URLs, such as a CDN; empty means the API's `/delivery`"
    )
    api_bind: str = Field("127.0.0.1:8000", description="Where the API listens")
    api_processes: int = Field(2, ge=1, le=64, description="API processes")
    api_threads: int = Field(16, ge=2, le=256, description="Request threads per API process")
    rate_limit: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$",
        description="Requests each key may make, such as `600/minute`; empty means any number",
    )
    sync_timeout_s: float = Field(
        50, gt=0, le=600, description="How long `POST /files` waits before it answers 202"
    )
    presign_ttl_s: int = Field(
        300, ge=10, le=604800, description="How long a delivery redirect stays valid"
    )
    metrics_dir: Path | None = Field(
        None,
        validation_alias="PROMETHEUS_MULTIPROC_DIR",
        description="Where API processes share their counters; read by prometheus-client itself",
    )

    worker_slots: int = Field(8, ge=1, le=256, description="Ingests one worker runs at once")
    worker_metrics_bind: str | None = Field(
        None, description="Where a worker serves `/metrics`; empty means nowhere"
    )
    dispatch_window: int = Field(
        4, ge=1, le=1000, description="Wake-ups that may wait in Redis for each worker slot"
    )
    resend_after_s: float = Field(
        15, gt=0, description="When a wake-up that nobody answered is sent again"
    )
    lease_s: float = Field(30, ge=1, description="How long a silent worker keeps its task")
    heartbeat_s: float = Field(1, gt=0, description="How often a worker reports and extends leases")
    shutdown_grace_s: float = Field(
        25, ge=0, description="How long a worker may finish its ingests after SIGTERM"
    )
    max_attempts: int = Field(5, ge=1, le=100, description="Attempts a task has by default")
    host_limit: int = Field(
        32, ge=0, description="Ingests from one source host at once, over all workers; 0 any number"
    )
    retry_base_s: float = Field(
        5, gt=0, description="The longest wait before the second attempt; doubles with each"
    )
    retry_cap_s: float = Field(600, gt=0, description="The longest wait before any attempt")
    storage_patience_s: float = Field(
        86400, ge=0, description="How long the object store may be missing at no attempt's cost"
    )
    resume_keep_s: float = Field(
        86400, ge=0, description="How long the parts of a failed task are kept for a retry"
    )

    webhook_slots: int = Field(16, ge=1, le=256, description="Webhooks one sender delivers at once")
    webhook_endpoint_limit: int = Field(
        4, ge=1, le=256, description="Webhooks to one endpoint at once, over all senders"
    )
    webhook_delays_s: str = Field(
        "0,5,300,1800,7200,18000,36000,50400,72000,86400",
        description="Waits before each attempt at a webhook, comma-separated, the first included",
    )
    webhook_connect_timeout_s: float = Field(
        5, gt=0, description="Limit to resolve a receiver's name and connect"
    )
    webhook_timeout_s: float = Field(
        15, gt=0, le=300, description="Limit for one attempt at a webhook, its answer included"
    )
    webhook_allow_http: bool = Field(
        default=False, description="Whether receivers of webhooks may have http URLs"
    )
    sender_metrics_bind: str | None = Field(
        None, description="Where a sender serves `/metrics`; empty means nowhere"
    )
    events_keep_days: int = Field(
        30, ge=1, le=3650, description="For how many days events and their deliveries are kept"
    )
    batch_max_rows: int = Field(
        1_000_000, ge=1, le=10_000_000, description="Rows that the list of a batch may have"
    )
    batch_max_bytes: int = Field(
        256 * MIB, ge=1024, le=4096 * MIB, description="Bytes that the list of a batch may have"
    )
    check_max_rows: int = Field(
        10_000, ge=1, le=1_000_000, description="Rows of a list whose sources a dry run may ask"
    )
    check_connections: int = Field(
        16, ge=1, le=256, description="Sources that one such dry run asks at once"
    )
    check_timeout_s: float = Field(
        3600, gt=0, description="Limit for all sources of one such dry run together"
    )

    part_bytes: int = Field(
        8 * MIB, ge=MIN_PART_BYTES, le=512 * MIB, description="Size of an upload part"
    )
    parts_in_flight: int = Field(
        2, ge=1, le=32, description="Parts in flight for each slot; one ingest alone may have all"
    )
    source_connections: int = Field(
        12, ge=1, le=64, description="Connections one ingest may open to a source that needs many"
    )
    max_bytes: int = Field(
        64 * 1024**3, ge=1, le=MAX_OBJECT_BYTES, description="The longest source that is taken"
    )
    connect_timeout_s: float = Field(
        10, gt=0, description="Limit to resolve a source's name and connect"
    )
    first_byte_timeout_s: float = Field(
        30, gt=0, description="Limit for a source's answer to begin, and between two reads"
    )
    total_timeout_s: float = Field(
        6 * 3600, gt=0, description="Limit for the download of one attempt, all requests together"
    )
    lowest_bps: int = Field(
        1024, ge=0, description="A source slower than this, bytes a second, is dropped; 0 never"
    )
    lowest_window_s: float = Field(
        30, gt=0, description="The window the lowest speed is taken over"
    )
    max_redirects: int = Field(5, ge=0, le=20, description="Redirects that are followed")
    source_ca_file: Path | None = Field(
        None, description="CA bundle for sources; empty means Mozilla's (certifi)"
    )
    dangerous_allow_addresses: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(),
        description="Private `ip:port` sources to let through, comma-separated, exact only",
    )
    dangerous_allow_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Private networks to let through, comma-separated: `10.1.0.0/16`"
    )
    source_ports: str = Field(
        DEFAULT_PORTS,
        description="Ports that sources may be at, comma-separated, and ranges of them",
    )

    ffprobe_path: str = Field("ffprobe", description="ffprobe 6.1 or newer")
    probe_timeout_s: float = Field(20, gt=0, description="Wall clock of one probe")
    probe_memory_bytes: int = Field(
        512 * MIB, ge=64 * MIB, description="Address space of one probe"
    )
    probe_max_pixels: int = Field(
        100_000_000, ge=1, description="The largest picture the probe decodes"
    )
    placeholders: bool = Field(
        default=True, description="Whether a frame is decoded for `placeholder` and `background`"
    )
    ffmpeg_path: str = Field(
        "ffmpeg",
        description="ffmpeg 6.1 or newer, which decodes that frame; of several, by commas, the "
        "first that can",
    )

    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Log level")
    log_format: LogFormat = Field(LogFormat.AUTO, description="`json`, `console`, or `auto`")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what :func:`load_settings` gives, so that nothing slips past its checks.

        The signature, unused arguments and all, is pydantic's.
        """
        return (init_settings,)

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr) -> SecretStr:
        if _DATABASE_SCHEME.match(value.get_secret_value()) is None:
            raise ValueError("must start with postgresql://")
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("must start with redis:// or rediss://")
        return value

    @field_validator("dangerous_allow_addresses", mode="before")
    @classmethod
    def _split_addresses(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return frozenset(
            _check_ip_port(part.strip(), "an exception")
            for part in value.split(",")
            if part.strip()
        )

    @field_validator("dangerous_allow_networks", mode="before")
    @classmethod
    def _parse_networks(cls, value: object) -> object:
        return parse_networks(value) if isinstance(value, str) else value

    @field_validator("source_ports")
    @classmethod
    def _check_ports(cls, value: str) -> str:
        parse_ports(value)
        return value

    @field_validator("secret_keys", mode="before")
    @classmethod
    def _parse_secret_keys(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value

    @field_validator("secret_keys")
    @classmethod
    def _check_secret_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(_is_fernet_key(key.get_secret_value()) for key in value):
            raise ValueError("must be keys of 32 bytes in URL-safe base64, with commas between")
        return value

    @field_validator("webhook_delays_s")
    @classmethod
    def _check_delays(cls, value: str) -> str:
        parse_delays(value)
        return value

    @field_validator("s3_sources", mode="before")
    @classmethod
    def _parse_sources(cls, value: object) -> object:
        return parse_connections(value) if isinstance(value, str) else value

    @field_validator("api_bind", "worker_metrics_bind", "sender_metrics_bind")
    @classmethod
    def _check_bind(cls, value: str | None) -> str | None:
        return value if value is None else _check_ip_port(value, "a listening address")

    @field_validator("s3_endpoint", "s3_public_endpoint", "api_url", "delivery_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        if value is not None and BASE_URL.fullmatch(value) is None:
            raise ValueError(
                "must start with http:// or https:// and a host, and have no user, query or '#'"
            )
        return value if value is None else value.rstrip("/")

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(
                "set both HEADRACE_S3_ACCESS_KEY_ID and HEADRACE_S3_SECRET_ACCESS_KEY, or neither"
            )
        if self.heartbeat_s * 3 > self.lease_s:
            raise ValueError("HEADRACE_LEASE_S must be at least three times HEADRACE_HEARTBEAT_S")
        if self.webhook_connect_timeout_s > self.webhook_timeout_s:
            raise ValueError(
                "HEADRACE_WEBHOOK_TIMEOUT_S must be at least HEADRACE_WEBHOOK_CONNECT_TIMEOUT_S"
            )
        if self.retry_base_s > self.retry_cap_s:
            raise ValueError("HEADRACE_RETRY_CAP_S must be at least HEADRACE_RETRY_BASE_S")
        for one in self.s3_sources:
            if self._is_own_bucket(one) and one.prefix == "":
                # Any project could read the files of all others through it.
                raise ValueError(
                    f"HEADRACE_S3_SOURCES has the connection '{one.name}' to HEADRACE_S3_BUCKET "
                    "itself; give it a 'prefix' that no project's files lie under"
                )
        return self

    @property
    def frame_ffmpegs(self) -> tuple[str, ...]:
        """The ffmpegs that decode frames, the first that can."""
        return tuple(name.strip() for name in self.ffmpeg_path.split(",") if name.strip())

    @property
    def webhook_lease_s(self) -> float:
        """How long a sender that fell silent keeps a delivery: an attempt and a worker's lease."""
        return self.webhook_timeout_s + self.lease_s

    @property
    def webhook_rules(self) -> WebhookRules:
        """What the URLs of receivers may be."""
        return WebhookRules(
            takes_http=self.webhook_allow_http,
            ports=parse_ports(self.source_ports),
            allowed=self.dangerous_allow_addresses,
            networks=self.dangerous_allow_networks,
        )

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL with the driver named, as SQLAlchemy wants it."""
        return make_sqlalchemy_url(self.database_url.get_secret_value())

    @property
    def s3_path_style(self) -> bool:
        """Whether the bucket stands in the path of an S3 URL."""
        if self.s3_addressing is Addressing.AUTO:
            return self.s3_endpoint is not None
        return self.s3_addressing is Addressing.PATH

    def find_most_rows(self, *, asks_sources: bool) -> int:
        """Return how many rows a list may have; fewer where each of its sources is asked."""
        if asks_sources:
            return min(self.check_max_rows, self.batch_max_rows)
        return self.batch_max_rows

    def is_read_by_connection(self, key: str) -> bool:
        """Return whether a connection to the bucket that files land in reads this key."""
        return any(
            key.startswith(one.prefix) for one in self.s3_sources if self._is_own_bucket(one)
        )

    def _is_own_bucket(self, one: Connection) -> bool:
        if one.bucket != self.s3_bucket:
            return False
        own = {find_server(self.s3_endpoint)}
        if self.s3_public_endpoint is not None:
            own.add(find_server(self.s3_public_endpoint))
        return one.in_own_store or find_server(one.endpoint) in own

    def part_bytes_for(self, size_bytes: int | None) -> int:
        """Return the part size that fits a file of ``size_bytes`` (None: unknown) in 10,000 parts.

        The worker's memory is ``worker_slots x (parts_in_flight + 1) x part_bytes_for(max_bytes)``
        and a constant; see docs/operations.md.
        """
        longest = self.max_bytes if size_bytes is None else min(size_bytes, self.max_bytes)
        needed = -(-longest // MAX_PARTS)
        return max(self.part_bytes, -(-needed // MIB) * MIB)


def make_sqlalchemy_url(database_url: str) -> str:
    """Return a `postgresql://` URL with the driver named, as SQLAlchemy wants it."""
    return _DATABASE_SCHEME.sub("postgresql+psycopg://", database_url, count=1)


def _is_fernet_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == _SECRET_KEY_BYTES
    except ValueError:
        return False


def _check_ip_port(text: str, what: str) -> str:
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"'{text}' is not {what}; write ip:port") from None
    if re.fullmatch(r"[0-9]{1,5}", port) is None:
        raise ValueError(f"'{text}' is not {what}; write ip:port")
    number = int(port)
    if number > 65535:
        raise ValueError(f"'{text}' has a port outside 0..65535")
    return f"[{address}]:{number}" if address.version == 6 else f"{address}:{number}"

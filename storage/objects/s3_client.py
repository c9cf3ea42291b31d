"""How boto3 is set up for Headrace, and how long it may try.

Each body carries a CRC32 that the store checks (botocore's default, ``when_supported``). Single
requests are retried in botocore's ``standard`` mode, as often as the ``Patience`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from ingest.errors import ConfigError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from pydantic import SecretStr

    from ingest.config import Settings


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one operation may take: ``attempts`` times connecting and reading."""

    connect_timeout_s: float
    read_timeout_s: float
    attempts: int


# A worker has time, and gigabytes behind it; somebody waits for the API.
PATIENT = Patience(connect_timeout_s=5, read_timeout_s=60, attempts=4)
BRISK = Patience(connect_timeout_s=2, read_timeout_s=5, attempts=1)


def make_client(
    settings: Settings, endpoint: str | None, pool_size: int, patience: Patience
) -> S3Client:
    """Build a client; opens no connection yet.

    Args:
        endpoint: where the store is; None for AWS.
        pool_size: connections that may be open at once.

    Raises:
        ConfigError: boto3 does not take the endpoint.
    """
    try:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            region_name=settings.s3_region,
            aws_access_key_id=_reveal(settings.s3_access_key_id),
            aws_secret_access_key=_reveal(settings.s3_secret_access_key),
            config=Config(
                signature_version="s3v4",
                s3={
                    "addressing_style": "path" if settings.s3_path_style else "virtual",
                    # The CRC32 guards the body; hashing it again to sign it, which botocore does
                    # over plain http, costs 0.95 CPU seconds a GiB.
                    "payload_signing_enabled": False,
                },
                max_pool_connections=pool_size,
                connect_timeout=patience.connect_timeout_s,
                read_timeout=patience.read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": patience.attempts},
                # The environment's proxies are for the outside; the store is the operator's own.
                proxies={},
            ),
        )
    except ValueError as error:
        raise ConfigError(f"HEADRACE_S3_ENDPOINT is no endpoint: {error}") from error


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()

"""How boto3 is set up for Headrace, and how long it may try.

boto3 is the control plane: it begins, completes, aborts, lists, deletes and signs. What carries
bytes goes over :mod:`storage.objects.wire`. Single requests are retried in botocore's ``standard``
mode, as often as the ``Patience`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader, create_loader

from ingest.errors import ConfigError
from storage.objects.wire import Wire

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


# What botocore knows of S3, parsed: 12 MiB, which stores share that are given the same one.
S3Models = Loader


class S3Access:
    """One account at one store, and whatever speaks to it.

    Args:
        models: as :func:`make_models` makes them; its own without.
        ignores_environment: whether ``AWS_ENDPOINT_URL`` and the like, or AWS's configuration file,
            have no say where no endpoint is given.
    """

    def __init__(
        self,
        settings: Settings,
        patience: Patience,
        models: S3Models | None = None,
        *,
        ignores_environment: bool = False,
    ) -> None:
        self._settings = settings
        self._ignores_environment = ignores_environment
        self._patience = patience
        self._core = botocore.session.get_session()
        if models is not None:
            self._core.register_component("data_loader", models)
        self._session = boto3.session.Session(
            aws_access_key_id=_reveal(settings.s3_access_key_id),
            aws_secret_access_key=_reveal(settings.s3_secret_access_key),
            botocore_session=self._core,
        )

    def make_client(self, endpoint: str | None, pool_size: int) -> S3Client:
        """Build a client; opens no connection yet.

        Args:
            endpoint: where the store is; None for AWS.
            pool_size: connections that may be open at once.

        Raises:
            ConfigError: boto3 does not take the endpoint.
        """
        try:
            return self._session.client(
                "s3",
                endpoint_url=endpoint,
                region_name=self._settings.s3_region,
                config=Config(
                    signature_version="s3v4",
                    s3={"addressing_style": "path" if self._settings.s3_path_style else "virtual"},
                    # Bodies of media do not come this way.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    max_pool_connections=pool_size,
                    connect_timeout=self._patience.connect_timeout_s,
                    read_timeout=self._patience.read_timeout_s,
                    retries={"mode": "standard", "total_max_attempts": self._patience.attempts},
                    # The environment's proxies are for the outside; the store is the operator's.
                    proxies={},
                    # The stubs do not know it. None leaves it to AWS's own settings.
                    ignore_configured_endpoint_urls=self._ignores_environment or None,  # type: ignore[call-arg]
                ),
            )
        except ValueError as error:
            raise ConfigError(f"HEADRACE_S3_ENDPOINT is no endpoint: {error}") from error

    def make_wire(self, client: S3Client, pool_size: int) -> Wire:
        """Build what sends bodies to where a client speaks to."""
        return Wire(
            self._settings.s3_bucket,
            client,
            self._session.get_credentials(),
            ca_file=_read_ca_file(self._core),
            pool_size=pool_size,
            patience=self._patience,
        )


def make_models() -> S3Models:
    """Return what several stores may share; parsed when the first of them needs it."""
    return create_loader()


def find_ca_file() -> str | None:
    """Return the certificates that the store's is checked by: ``AWS_CA_BUNDLE``, or certifi's."""
    return _read_ca_file(botocore.session.get_session())


def _read_ca_file(core: botocore.session.Session) -> str | None:
    found: str | None = core.get_config_variable("ca_bundle") or get_cert_path(verify=True)
    return found


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()

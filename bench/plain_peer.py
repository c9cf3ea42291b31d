"""What one writes in Python without Headrace: requests into boto3, hashed on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import boto3
import requests
from botocore.config import Config

from ingest.config import Settings

if TYPE_CHECKING:
    from typing import IO

    from mypy_boto3_s3 import S3Client

_TIMEOUT_S = 60.0


class PlainPeer:
    """Streams what a URL has into ``upload_fileobj`` with boto3's own settings.

    Args:
        settings: where the store is, and how many transfers run at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._bucket = settings.s3_bucket
        self._client = connect(settings)
        self._slots = ThreadPoolExecutor(settings.worker_slots)
        self._session = requests.Session()
        self._session.trust_env = False

    def transfer_one(self, url: str, key: str) -> str:
        """Store what a URL has under a key; return its sha256 in hex."""
        with self._session.get(url, stream=True, timeout=_TIMEOUT_S) as response:
            response.raise_for_status()
            body = _HashingReader(cast("IO[bytes]", response.raw))
            self._client.upload_fileobj(cast("IO[bytes]", body), self._bucket, key)
        return body.digest.hexdigest()

    def transfer_many(self, urls: Sequence[str], keys: Sequence[str]) -> list[str]:
        """Store what many URLs have, each under its key; return the sha256 of each in hex."""
        return list(self._slots.map(self.transfer_one, urls, keys))


class _HashingReader:
    """A file that is hashed while it is read."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._raw = raw

    def read(self, size_bytes: int = -1) -> bytes:
        piece = self._raw.read(size_bytes)
        self.digest.update(piece)
        return piece


def connect(settings: Settings) -> S3Client:
    """Return boto3's client of the store, set up with no more than it needs to find it."""
    key_id, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=None if key_id is None else key_id.get_secret_value(),
        aws_secret_access_key=None if secret is None else secret.get_secret_value(),
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=50, proxies={}),
    )

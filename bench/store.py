"""The object stores that are transferred into, and how each peer is told of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from bench.plain_peer import connect
from bench.processes import LineProcess
from bench.sink.exchange import REPORT_PATH
from ingest.environ import load_settings, make_child_environ, read_operator_environ

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READERS = 4
_PIECE_BYTES = 1024 * 1024
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Store:
    """An S3 server on the loopback.

    Attributes:
        keeps: whether what is stored can be read back; the sink says what arrived instead.
    """

    endpoint: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    keeps: bool

    @property
    def environ(self) -> dict[str, str]:
        """The settings that lead Headrace to it."""
        return {
            "HEADRACE_S3_ENDPOINT": self.endpoint,
            "HEADRACE_S3_BUCKET": self.bucket,
            "HEADRACE_S3_ACCESS_KEY_ID": self.access_key_id,
            "HEADRACE_S3_SECRET_ACCESS_KEY": self.secret_access_key,
        }

    def make_peer_environ(self, source: str) -> dict[str, str]:
        """Return the environment of a Python peer that may fetch from ``source``, an ip:port."""
        return make_child_environ(
            {
                **read_operator_environ(),
                **self.environ,
                # Named since they must be, and never asked.
                "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
                "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
                "HEADRACE_DANGEROUS_ALLOW_ADDRESSES": source,
            }
        )

    def check_sizes(self, prefix: str, sizes: Mapping[str, int]) -> None:
        """Make sure that under a prefix lies what was stored, and nothing else.

        Args:
            sizes: the bytes of each object by key.

        Raises:
            RuntimeError: something is missing, too much, or of another length.
        """
        client = self._connect()
        found: dict[str, int] = {}
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            found |= {one["Key"]: one["Size"] for one in page.get("Contents", [])}
        if found != sizes:
            wrong = sum(found.get(key) != size for key, size in sizes.items())
            raise RuntimeError(f"{wrong} of {len(sizes)} objects did not arrive under {prefix}")

    def hash_objects(self, keys: Iterable[str]) -> dict[str, str | None]:
        """Return the sha256 in hex of what is stored under each key; None where nothing is."""
        if not self.keeps:
            with requests.Session() as session:
                session.trust_env = False
                report = session.get(self.endpoint + REPORT_PATH, timeout=_TIMEOUT_S).json()
            return {key: report.get(key, {}).get("sha256") for key in keys}
        client = self._connect()

        def hash_one(key: str) -> str:
            digest = hashlib.sha256()
            body = client.get_object(Bucket=self.bucket, Key=key)["Body"]
            for piece in body.iter_chunks(_PIECE_BYTES):
                digest.update(piece)
            return digest.hexdigest()

        wanted = list(keys)
        with ThreadPoolExecutor(_READERS) as pool:
            return dict(zip(wanted, pool.map(hash_one, wanted), strict=True))

    def _connect(self) -> S3Client:
        return connect(load_settings(self.make_peer_environ("127.0.0.1:1")))


def describe_sink(sink: LineProcess) -> Store:
    """Return the store that a sink is; it takes whatever keys it is given."""
    return Store(sink.url, "media", "bench", "bench-secret", keeps=False)


def describe_stack(environ: Mapping[str, str]) -> Store:
    """Return the store of a local stack whose settings these are."""
    return Store(
        environ["HEADRACE_S3_ENDPOINT"],
        environ["HEADRACE_S3_BUCKET"],
        environ["HEADRACE_S3_ACCESS_KEY_ID"],
        environ["HEADRACE_S3_SECRET_ACCESS_KEY"],
        keeps=True,
    )

"""The operator's source buckets, and what was sent to the API, as a worker reaches them.

By signed addresses, and a door to each.

Invariants: what a connection may read is judged again whenever it is used, since the operator may
have changed it after the order; its door leads to its own endpoint and nowhere else, and no other
source ever goes through it; a signed address is used once and kept nowhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingest.config import Settings
from ingest.connections import Addressing, Connection, find_connection
from ingest.errors import (
    ConfigError,
    FieldInvalid,
    ServiceError,
    SourceForbidden,
    SourceUnavailable,
)
from ingest.logs import get_logger
from ingest.urls import (
    MAX_URL_BYTES,
    UPLOADS_PREFIX,
    ObjectUrl,
    SourceUrl,
    parse_source_url,
)
from storage.objects import s3
from storage.objects.refusals import CredentialsMissing
from storage.objects.s3_client import S3Models, find_ca_file, make_models
from storage.objects.store import ObjectStore
from workers.bucket_answers import BucketJudge
from workers.egress import Egress, Endpoint, Policy

# A signature is checked when the request begins.
_SIGNED_FOR_S = 600
_DEFAULT_REGION = "us-east-1"
# As no connection is called.
_UPLOADS = ""


@dataclass(frozen=True, slots=True)
class SourceBucket:
    """A connection that is ready to be read from."""

    connection: Connection
    store: ObjectStore
    egress: Egress

    def sign(self, key: str) -> SourceUrl:
        """Return an address that reads an object now.

        Raises:
            SourceUnavailable: the connection has no credentials now, or none that fit.
        """
        return _sign(self.store, self.connection.name, key)


class SourceBuckets:
    """All connections of the settings; each is opened when it is first needed.

    Args:
        pool_size: idle HTTP connections kept for each.
        models: what they share with the store that files land in.
        open_bucket: opens one; by default on what the settings name.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pool_size: int,
        models: S3Models | None = None,
        open_bucket: Callable[[Settings, Connection], SourceBucket] | None = None,
    ) -> None:
        self._settings = settings
        self._pool_size = pool_size
        self._models = models or make_models()
        self._open = open_bucket or self._open_bucket
        # Opening may have to wait for credentials, and no other connection waits for them.
        self._locks = {one.name: threading.Lock() for one in settings.s3_sources}
        self._uploads = Connection.model_validate(
            {"name": "uploads", "bucket": settings.s3_bucket, "prefix": UPLOADS_PREFIX}
        )
        self._locks[_UPLOADS] = threading.Lock()
        self._opened: dict[str, SourceBucket] = {}

    def find(self, project_id: str, url: ObjectUrl) -> SourceBucket:
        """Return the bucket that a project may read an object from; our own for an upload.

        Raises:
            SourceForbidden: there is none, whatever the reason.
            SourceUnavailable: the connection has no credentials now, or cannot be used.
        """
        found, name = self._uploads, _UPLOADS
        if not url.is_upload:
            connected = find_connection(self._settings.s3_sources, project_id, url)
            if connected is None:
                raise SourceForbidden("No connection of this project reads the source any more.")
            # By the bucket's name alone, since one server may have many addresses.
            is_own = connected.bucket.lower() == self._settings.s3_bucket.lower()
            if is_own and url.key.startswith(UPLOADS_PREFIX):
                raise SourceForbidden("The object is what somebody has sent, and no source.")
            found, name = connected, connected.name
        if (opened := self._opened.get(name)) is not None:
            return opened
        with self._locks[name]:
            if (opened := self._opened.get(name)) is None:
                opened = self._opened[name] = self._open(self._settings, found)
            return opened

    def close(self) -> None:
        """Close every door that was opened so far."""
        while self._opened:
            self._opened.popitem()[1].egress.close()

    def _open_bucket(self, settings: Settings, connection: Connection) -> SourceBucket:
        own = describe_store(settings, connection)
        try:
            store = s3.connect(
                own,
                pool_size=self._pool_size,
                models=self._models,
                # It may say where our own store is, and nothing of another.
                ignores_environment=not connection.in_own_store,
            )
        except ConfigError as error:
            get_logger(__name__).error(
                "connection.unusable", connection=connection.name, reason=error.message
            )
            raise _make_unusable(connection.name) from error
        # Any key tells where all are: path or host, AWS's regions, the operator's endpoint.
        sample = _sign(store, connection.name, connection.prefix + "key")
        ca_file = find_ca_file()
        policy = Policy(
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.first_byte_timeout_s,
            # As the store's own certificate is checked: the endpoint is the operator's.
            ca_file=None if ca_file is None else Path(ca_file),
            only=Endpoint(sample.host, sample.port, f"s3://{connection.name}"),
        )
        judge = BucketJudge(
            connection.name, own=connection.bucket.lower() == settings.s3_bucket.lower()
        )
        egress = Egress(policy, pool_size=self._pool_size, judge=judge)
        return SourceBucket(connection, store, egress)


def describe_store(settings: Settings, connection: Connection) -> Settings:
    """Return the settings with a connection's bucket in the place of the one files land in."""
    values: dict[str, object] = {"s3_bucket": connection.bucket, "s3_public_endpoint": None}
    if connection.in_own_store:
        values["s3_region"] = connection.region or settings.s3_region
        values["s3_addressing"] = connection.addressing or settings.s3_addressing
    else:
        values["s3_endpoint"] = connection.endpoint
        values["s3_region"] = connection.region or _DEFAULT_REGION
        values["s3_addressing"] = connection.addressing or Addressing.AUTO
        values["s3_access_key_id"] = connection.access_key_id
        values["s3_secret_access_key"] = connection.secret_access_key
    return settings.model_copy(update=values)


def _sign(store: ObjectStore, name: str, key: str) -> SourceUrl:
    try:
        signed = store.presign(key, _SIGNED_FOR_S, public=False)
    except CredentialsMissing as error:
        raise SourceUnavailable(f"'s3://{name}' has no credentials to sign with.") from error
    except ServiceError as error:
        raise _make_unusable(name) from error
    # Credentials may come with a token of any length.
    if len(signed) > MAX_URL_BYTES:
        raise SourceUnavailable(
            f"'s3://{name}' signs longer addresses than the {MAX_URL_BYTES} bytes that are taken."
        )
    try:
        return parse_source_url(signed)
    except FieldInvalid as error:
        raise _make_unusable(name) from error


def _make_unusable(name: str) -> SourceUnavailable:
    # Why may hold the endpoint, which is no user's business.
    return SourceUnavailable(f"'s3://{name}' cannot be used as it is set up.")

"""The data plane: bodies on their way into the bucket, over a few pooled connections.

boto3 spends more on a request than a small file costs, and copies bodies; so what carries bytes
goes this way. Everything else stays boto3's: the address, the credentials and their refresh.
Invariants:

- A body is sent from the caller's memory as it lies there, and not kept.
- Connecting (each address, each step of TLS) is bounded by ``connect_timeout_s``, each send and
  each read by ``read_timeout_s``.
- Every body carries a checksum that the store verifies; the signature does not cover the body again
  (``UNSIGNED-PAYLOAD``), which would cost as much as hashing the file.
- Each try is signed anew, by one set of credentials: those that were refreshed in the middle of an
  upload are used, and never half of the old with half of the new.
"""

from __future__ import annotations

import random
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, NoCredentialsError

from ingest.urls import DEFAULT_PORTS, write_authority
from storage.http1.bodies import Body
from storage.http1.connection import Connection
from storage.http1.errors import HttpError
from storage.http1.heads import Headers
from storage.http1.pool import Pool
from storage.http1.tls import Tls
from storage.objects.refusals import (
    TRANSIENT_CODES,
    Refusal,
    Verb,
    explain_refusal,
    explain_silence,
)
from storage.objects.sigv4 import Signer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from storage.objects.s3_client import Patience
    from storage.objects.store import Content

_LONGEST_PAUSE_S = 20.0
# What a store says of an error is far shorter; of anything longer nothing is to be learnt.
_MOST_ANSWER_BYTES = 64 * 1024
_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")
_REGION = re.compile(rb"<Region>([a-z0-9-]+)</Region>")
# Any key will do to learn how the bucket is addressed; this one needs no encoding.
_SAMPLE_KEY = "key"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bucket is: its server, the name requests call it by, and what keys stand behind."""

    address: tuple[str, int]
    is_tls: bool
    host: str
    path: str


class Wire:
    """Sends bodies to one bucket. Safe to use from several threads.

    Args:
        client: knows where the bucket is.
        credentials: sign each request; None where there are none, which is told when one is sent.
        ca_file: the certificates that an https endpoint is checked by.
        pool_size: connections that are kept.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        bucket: str,
        client: S3Client,
        credentials: Credentials | None,
        *,
        ca_file: str | None,
        pool_size: int,
        patience: Patience,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._credentials = credentials
        self._signer = Signer(client.meta.region_name)
        self._tls = Tls(ca_file)
        self._idle = Pool(pool_size)
        self._patience = patience
        self._pause = pause

    def put(
        self, verb: Verb, key: str, query: str, body: Content, headers: Mapping[str, str]
    ) -> Mapping[str, str]:
        """PUT a body; return the answer's headers.

        Args:
            verb: what this is for.
            query: of the URL, encoded and in the order of its names; may be empty.
            headers: in lower case; all but those that carry the request itself.

        Raises:
            FileExists, UploadLost: as the store says.
            StorageUnavailable: it refused otherwise, or did not answer in all tries.
        """
        return self._ask(verb, "PUT", key, query, body, headers)

    def check(self) -> None:
        """Ask for the bucket by the way that bodies take.

        Where the bucket is in another region than the settings say, that is told and not mended:
        boto3 follows a store to the bucket's region by itself, and its HeadBucket would say that
        all is well. Taking that region for bodies, too, would leave a wrong setting in every
        address that is signed for downloaders, who follow nobody. A store that names another region
        and takes the request all the same does not mind it, and neither does this.

        Raises:
            StorageUnavailable: no answer, no such bucket, no right to it, or another region.
        """
        self._ask(Verb.READ_BUCKET, "HEAD", "", "", b"", {})

    def freeze_credentials(self) -> ReadOnlyCredentials:
        """Return the credentials as they are now, refreshed where they have to be.

        Raises:
            NoCredentialsError, CredentialRetrievalError: whatever goes wrong with them.
        """
        if self._credentials is None:
            raise NoCredentialsError
        try:
            return self._credentials.get_frozen_credentials()
        except NoCredentialsError:
            raise
        except Exception as error:
            raise _explain_credentials(self._credentials, error) from error

    def close(self) -> None:
        """Close the pooled connections."""
        self._idle.close()

    def _ask(
        self,
        verb: Verb,
        method: str,
        key: str,
        query: str,
        body: Content,
        headers: Mapping[str, str],
    ) -> Mapping[str, str]:
        left = self._patience.attempts
        while True:
            left -= 1
            try:
                status, found, content = self._send(method, key, query, body, headers)
            except (HttpError, OSError, BotoCoreError) as error:
                if not left:
                    raise explain_silence(verb, error) from error
            else:
                if 200 <= status < 300:
                    return found
                refusal = self._read_refusal(status, found, content)
                if not left or not (status >= 500 or refusal.code in TRANSIENT_CODES):
                    raise explain_refusal(refusal, verb, self._bucket)
            doublings = self._patience.attempts - left - 1
            # Spread, not secret.
            self._pause(random.random() * min(_LONGEST_PAUSE_S, 2.0**doublings))  # noqa: S311

    def _send(
        self, method: str, key: str, query: str, body: Content, headers: Mapping[str, str]
    ) -> tuple[int, Headers, bytes]:
        place = self._place
        # The bucket itself has no slash behind it.
        path = (place.path + quote(key, safe="/~")) if key else (place.path.rstrip("/") or "/")
        sent = self._signer.sign(
            self.freeze_credentials(),
            method,
            path,
            query,
            {"host": place.host, **headers},
            datetime.now(UTC),
        )
        # What a proxy may add or change on the way is not signed.
        sent["accept-encoding"] = "identity"
        sent["user-agent"] = "Headrace/0.1"
        sent["content-length"] = str(len(body))
        connection = self._idle.take(place.address) or self._connect(place)
        is_open = False
        try:
            head, content = connection.ask(
                method, f"{path}?{query}" if query else path, sent.items(), memoryview(body)
            )
            said = _read_all(content)
            is_open = head.keeps_open and content.leaves_open
        finally:
            if is_open:
                self._idle.give(place.address, connection)
            else:
                connection.close()
        return head.status, head.headers, said

    def _connect(self, place: _Place) -> Connection:
        connected = socket.create_connection(place.address, self._patience.connect_timeout_s)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if place.is_tls:
                connected = wrapped = self._tls.wrap(connected, place.address[0])
                wrapped.do_handshake()
            connected.settimeout(self._patience.read_timeout_s)
        except BaseException:
            connected.close()
            raise
        return Connection(connected)

    def _read_refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> Refusal:
        code, region = _CODE.search(content), _REGION.search(content)
        return Refusal(
            str(status) if code is None else code[1].decode(),
            signed_for=self._client.meta.region_name,
            region=headers.get("x-amz-bucket-region") or (region and region[1].decode()),
        )

    @cached_property
    def _place(self) -> _Place:
        # botocore decides: path or host, AWS's regions, the operator's endpoint. It signs, too.
        try:
            signed = self._client.generate_presigned_url(
                "put_object", Params={"Bucket": self._bucket, "Key": _SAMPLE_KEY}
            )
        except BotoCoreError:
            raise
        except Exception as error:
            raise _explain_credentials(self._credentials, error) from error
        url = urlsplit(signed)
        port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
        name = url.hostname or ""
        # Without a port that goes without saying, as stores expect it signed.
        host = write_authority(url.scheme, name, port)
        path = url.path.removesuffix(_SAMPLE_KEY)
        return _Place((name.removesuffix("."), port), url.scheme == "https", host, path)


def _explain_credentials(
    credentials: Credentials | None, error: Exception
) -> CredentialRetrievalError:
    # A provider raises what it likes: what STS answered, what is wrong with a file, …
    return CredentialRetrievalError(
        provider="none" if credentials is None else credentials.method,
        error_msg=type(error).__name__,
    )


def _read_all(body: Body) -> bytes:
    said = bytearray()
    buffer = memoryview(bytearray(4096))
    while not body.ended and len(said) < _MOST_ANSWER_BYTES:
        said += buffer[: body.read_into(buffer)]
    return bytes(said)

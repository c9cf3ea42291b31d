"""The data plane: bodies on their way into the bucket, over a few pooled connections.

boto3 spends more on a request than a small file costs, and copies bodies; so what carries bytes
goes this way. Everything else stays boto3's: the address, the credentials and their refresh, and
the signature, which is botocore's own signer. Invariants:

- A body is sent from the caller's memory as it lies there, and not kept.
- Connecting (each address, each step of TLS) is bounded by ``connect_timeout_s``, each send and
  each read by ``read_timeout_s``. Python counts them for each call, so a body goes out in slices.
- Every body carries a checksum that the store verifies; the signature does not cover the body again
  (``UNSIGNED-PAYLOAD``), which would cost as much as hashing the file.
- Each try is signed anew, by one set of credentials: those that were refreshed in the middle of an
  upload are used, and never half of the old with half of the new.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, NoCredentialsError
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from storage.objects.refusals import (
    TRANSIENT_CODES,
    Refusal,
    Verb,
    explain_refusal,
    explain_silence,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from storage.objects.s3_client import Patience
    from storage.objects.store import Content

# Sent at once; a socket's time limit counts for each of these.
_SLICE_BYTES = 256 * 1024
_LONGEST_PAUSE_S = 20.0
_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")
_REGION = re.compile(rb"<Region>([a-z0-9-]+)</Region>")
_UNSIGNED = {"client_config": Config(s3={"payload_signing_enabled": False})}
# Any key will do to learn how the bucket is addressed; this one needs no encoding.
_SAMPLE_KEY = "key"
_NOBODY = Credentials("", "")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bucket is: the pool of its host, its URL, and the path its keys stand behind.

    ``host`` is what requests name it by; botocore would find it out twice for each of them.
    """

    pool: HTTPConnectionPool
    root: str
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
        self._ca_file = ca_file
        self._pool_size = pool_size
        self._patience = patience
        self._pause = pause

    def put(
        self, verb: Verb, key: str, query: str, body: Content, headers: Mapping[str, str]
    ) -> Mapping[str, str]:
        """PUT a body; return the answer's headers.

        Args:
            verb: what this is for.
            query: of the URL, encoded and in the order of its names; may be empty.
            headers: all but those that carry the request itself.

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
        with _telling_of_credentials(self._credentials, but=NoCredentialsError):
            return self._credentials.get_frozen_credentials()

    def close(self) -> None:
        """Close the pooled connections."""
        if "_place" in self.__dict__:
            self._place.pool.close()

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
            except (HTTPError, OSError, BotoCoreError) as error:
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
    ) -> tuple[int, Mapping[str, str], bytes]:
        place = self._place
        # The bucket itself has no slash behind it.
        target = (place.path + quote(key, safe="/~")) if key else (place.path.rstrip("/") or "/")
        if query:
            target += f"?{query}"
        request = AWSRequest(method, place.root + target, headers={"Host": place.host, **headers})
        request.context.update(_UNSIGNED)
        S3SigV4Auth(self.freeze_credentials(), "s3", self._client.meta.region_name).add_auth(
            request
        )
        view = memoryview(body)
        answer = place.pool.urlopen(
            method,
            target,
            # urllib3 hands on whatever a socket takes; only its stubs do not say so.
            body=cast("Iterable[bytes]", _slice(view)) if len(view) else b"",
            headers={**dict(request.headers.items()), "Content-Length": str(len(view))},
            retries=False,
            redirect=False,
            assert_same_host=False,
        )
        return answer.status, answer.headers, answer.data

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
        with _telling_of_credentials(self._credentials, but=BotoCoreError):
            signed = self._client.generate_presigned_url(
                "put_object", Params={"Bucket": self._bucket, "Key": _SAMPLE_KEY}
            )
        url = urlsplit(signed)
        root = f"{url.scheme}://{url.netloc}"
        pool = _open_pool(
            root,
            ca_file=self._ca_file,
            pool_size=self._pool_size,
            patience=self._patience,
        )
        # Without a port that goes without saying, as botocore signs it.
        signer = S3SigV4Auth(_NOBODY, "s3", self._client.meta.region_name)
        host = signer.headers_to_sign(AWSRequest("PUT", root))["host"]
        return _Place(pool, root, host, url.path.removesuffix(_SAMPLE_KEY))


def _open_pool(
    url: str,
    *,
    ca_file: str | None,
    pool_size: int,
    patience: Patience,
) -> HTTPConnectionPool:
    # urllib3 counts its limit to connect for all that is sent as well: a store that takes its time
    # over a body would be given up as if it were not there.

    class Patient(HTTPConnection):
        def connect(self) -> None:
            sending_s, self.timeout = self.timeout, patience.connect_timeout_s
            try:
                super().connect()
            finally:
                self.timeout = sending_s
            if self.sock is not None:
                self.sock.settimeout(sending_s)

    class PatientTls(Patient, HTTPSConnection):
        pass

    tls = url.startswith("https:")
    pool = urllib3.connection_from_url(
        url,
        maxsize=pool_size,
        # What urllib3 takes for the limit to connect is what it sends under.
        timeout=patience.read_timeout_s,
        **({"ca_certs": ca_file} if tls else {}),
    )
    pool.ConnectionCls = PatientTls if tls else Patient
    return pool


@contextmanager
def _telling_of_credentials(
    credentials: Credentials | None, *, but: type[BotoCoreError]
) -> Iterator[None]:
    # A provider raises what it likes: what STS answered, what is wrong with a file, …
    try:
        yield
    except but:
        raise
    except Exception as error:
        raise CredentialRetrievalError(
            provider="none" if credentials is None else credentials.method,
            error_msg=type(error).__name__,
        ) from error


def _slice(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(view), _SLICE_BYTES):
        yield view[start : start + _SLICE_BYTES]

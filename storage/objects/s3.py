"""S3 and what speaks its protocol: boto3 for control, :mod:`storage.objects.wire` for bodies.

``If-None-Match: *`` guards what may not be overwritten (stores that ignore it are covered by the
unique name in the database), ``If-Match`` what may not be deleted. Lists are read page by page; a
store that repeats a page makes no walk endless. What fails after all tries is
``StorageUnavailable``.

Bodies are guarded by what the store checks at once: an object of one piece by its SHA-256, a part
by its CRC32C, and the list of parts at the end by those again. Stores that take neither are sent an
MD5 (``HEADRACE_S3_CHECKSUM``).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING
from urllib.parse import quote

import crc32c
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from ingest.config import S3Checksum
from ingest.errors import StorageUnavailable, UploadLost
from storage.objects.refusals import (
    DENIED_CODES,
    EXISTS_CODES,
    MISSING_CODES,
    NO_COPY_CODES,
    Refusal,
    Verb,
    explain_copy_refusal,
    explain_refusal,
    explain_silence,
)
from storage.objects.s3_client import BRISK, PATIENT, Patience, S3Access, S3Models
from storage.objects.store import (
    Content,
    CopySource,
    ObjectHeaders,
    Part,
    PendingUpload,
    StoredObject,
    StoredPart,
    Upload,
)
from storage.objects.verified import read_whole_sha256
from storage.objects.wire import Wire

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CompletedPartTypeDef,
        CompleteMultipartUploadRequestTypeDef,
        CreateMultipartUploadRequestTypeDef,
        DeleteObjectRequestTypeDef,
        ListMultipartUploadsRequestTypeDef,
    )

    from ingest.config import Settings

__all__ = ["BRISK", "PATIENT", "Patience", "S3ObjectStore", "connect"]


class S3ObjectStore:
    """An :class:`storage.objects.store.ObjectStore` on one bucket.

    Args:
        bucket: the bucket everything lands in, or is read from; it must exist.
        client: talks to the store from here.
        public_client: signs URLs for downloaders, who may know the store by another address.
        wire: carries bodies.
        checksum: what guards them.
    """

    def __init__(
        self,
        bucket: str,
        client: S3Client,
        public_client: S3Client,
        wire: Wire,
        checksum: S3Checksum = S3Checksum.CRC32C,
    ) -> None:
        self._bucket = bucket
        self._client = client
        self._public_client = public_client
        self._wire = wire
        self._checksum = checksum

    @property
    def wants_part_checksums(self) -> bool:
        """Whether parts are guarded by their CRC32C, which completing names again."""
        return self._checksum is S3Checksum.CRC32C

    def check(self) -> None:
        """Ask for the bucket.

        Raises:
            StorageUnavailable: no answer, no such bucket, no right to it, or HEADRACE_S3_REGION is
                not the bucket's; see :meth:`storage.objects.wire.Wire.check`.
        """
        self._wire.check()

    def put(
        self,
        key: str,
        body: Content,
        headers: ObjectHeaders,
        *,
        overwrite: bool,
        sha256: str | None = None,
    ) -> None:
        """Store an object in one request."""
        sent = {
            "content-type": headers.content_type,
            "content-disposition": headers.content_disposition,
            **{f"x-amz-meta-{name}": value for name, value in headers.metadata.items()},
        }
        if not overwrite:
            sent["if-none-match"] = "*"
        if self._checksum is S3Checksum.CRC32C:
            digest = hashlib.sha256(body).digest() if sha256 is None else bytes.fromhex(sha256)
            sent["x-amz-checksum-sha256"] = _encode(digest)
        else:
            sent["content-md5"] = _hash_md5(body)
        self._wire.put(Verb.STORE_OBJECT, key, "", body, sent)

    def begin(self, key: str, headers: ObjectHeaders) -> Upload:
        """Begin a multipart upload."""
        request: CreateMultipartUploadRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": key,
            "ContentType": headers.content_type,
            "ContentDisposition": headers.content_disposition,
            "Metadata": headers.metadata,
        }
        if self.wants_part_checksums:
            request["ChecksumAlgorithm"] = "CRC32C"
        with self._translate(Verb.BEGIN_UPLOAD):
            return Upload(key, self._client.create_multipart_upload(**request)["UploadId"])

    def put_part(
        self, upload: Upload, number: int, body: Content, checksum: int | None = None
    ) -> Part:
        """Store one part."""
        query = f"partNumber={number}&uploadId={quote(upload.upload_id, safe='~')}"
        if self.wants_part_checksums:
            checksum = crc32c.crc32c(body) if checksum is None else checksum
            guard = {"x-amz-checksum-crc32c": _encode_crc32c(checksum)}
        else:
            checksum = None
            guard = {"content-md5": _hash_md5(body)}
        answer = self._wire.put(Verb.STORE_PART, upload.key, query, body, guard)
        if "ETag" not in answer:
            raise StorageUnavailable("The object store took a part and named no ETag.")
        return Part(number, answer["ETag"], checksum)

    def copy_part(
        self, upload: Upload, number: int, source: CopySource, first_byte: int, size_bytes: int
    ) -> Part | None:
        """Have the store read a piece of another object as one part."""
        with self._translate(Verb.COPY_PART):
            try:
                answer = self._client.upload_part_copy(
                    Bucket=self._bucket,
                    Key=upload.key,
                    UploadId=upload.upload_id,
                    PartNumber=number,
                    CopySource={"Bucket": source.bucket, "Key": source.key},
                    CopySourceIfMatch=source.etag,
                    CopySourceRange=f"bytes={first_byte}-{first_byte + size_bytes - 1}",
                )
            except ClientError as error:
                code = _read_code(error)
                if code in NO_COPY_CODES:
                    return None
                raise explain_copy_refusal(Refusal(code), self._bucket) from error
        copied = answer.get("CopyPartResult", {})
        # SeaweedFS leaves out the quotes here, and nowhere else.
        etag, told = copied.get("ETag", "").strip('"'), copied.get("ChecksumCRC32C")
        # What has no checksum cannot be completed where parts need one.
        if not etag or (self.wants_part_checksums and told is None):
            return None
        checksum = None
        if self.wants_part_checksums and told is not None:
            checksum = _decode_crc32c(told)
        return Part(number, f'"{etag}"', checksum)

    def complete(self, upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        """Make the object visible."""
        request: CompleteMultipartUploadRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": upload.key,
            "UploadId": upload.upload_id,
            "MultipartUpload": {"Parts": [_name_part(part) for part in parts]},
        }
        if not overwrite:
            request["IfNoneMatch"] = "*"
        with self._translate(Verb.COMPLETE_UPLOAD):
            self._client.complete_multipart_upload(**request)

    def abort(self, upload: Upload) -> None:
        """Drop an upload and its parts."""
        with self._translate(Verb.ABORT_UPLOAD):
            try:
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id
                )
            except ClientError as error:
                if _read_code(error) not in MISSING_CODES:
                    raise

    def list_parts(self, upload: Upload) -> Sequence[StoredPart] | None:
        """Return the parts of an upload, however many pages they fill."""
        # SeaweedFS lists a part as often as it was put.
        found: set[StoredPart] = set()
        marker = 0
        while True:
            try:
                with self._translate(Verb.LIST_PARTS):
                    page = self._client.list_parts(
                        Bucket=self._bucket,
                        Key=upload.key,
                        UploadId=upload.upload_id,
                        PartNumberMarker=marker,
                    )
                    found |= {
                        StoredPart(part["PartNumber"], part["ETag"], part["Size"])
                        for part in page.get("Parts", [])
                    }
            except UploadLost:
                return None
            following = page.get("NextPartNumberMarker", 0)
            if not page.get("IsTruncated") or following <= marker:
                return sorted(found, key=lambda part: (part.number, part.etag))
            marker = following

    def list_uploads(self, prefix: str = "") -> Iterator[PendingUpload]:
        """Walk through the uploads in the bucket, page by page."""
        request: ListMultipartUploadsRequestTypeDef = {"Bucket": self._bucket, "Prefix": prefix}
        seen = {("", "")}
        while True:
            with self._translate(Verb.LIST_UPLOADS):
                page = self._client.list_multipart_uploads(**request)
                found = [
                    PendingUpload(
                        Upload(one["Key"], one["UploadId"]), one["Initiated"].astimezone(UTC)
                    )
                    for one in page.get("Uploads", [])
                    # A server may take the prefix for a folder.
                    if one["Key"].startswith(prefix)
                ]
            yield from found
            key, upload_id = page.get("NextKeyMarker", ""), page.get("NextUploadIdMarker", "")
            # A page that was there before would come for ever.
            if not page.get("IsTruncated") or (key, upload_id) in seen:
                return
            seen.add((key, upload_id))
            # SeaweedFS names an upload alone, and takes a key for the only one that is wanted.
            request = {"Bucket": self._bucket, "Prefix": prefix}
            if key:
                request["KeyMarker"] = key
            if upload_id:
                request["UploadIdMarker"] = upload_id

    def describe(self, key: str) -> StoredObject | None:
        """Return what the store knows of an object."""
        with self._translate(Verb.DESCRIBE):
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if _read_code(error) in MISSING_CODES:
                    return None
                raise
            metadata = {name.lower(): value for name, value in answer["Metadata"].items()}
            return StoredObject(
                answer["ContentLength"], answer["ContentType"], metadata, answer["ETag"]
            )

    def find_sha256(self, key: str, etag: str) -> str | None:
        """Return the SHA-256 that a body was verified by when the object was put in one piece."""
        with self._translate(Verb.DESCRIBE):
            try:
                answer = self._client.head_object(
                    Bucket=self._bucket, Key=key, ChecksumMode="ENABLED", IfMatch=etag
                )
            except ClientError as error:
                if _read_code(error) in MISSING_CODES | EXISTS_CODES | DENIED_CODES:
                    return None
                raise
        return read_whole_sha256(answer.get("ChecksumSHA256"), answer.get("ChecksumType"), etag)

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Walk through the keys of objects, page by page."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        with self._translate(Verb.LIST_OBJECTS):
            for page in pages:
                yield from (one["Key"] for one in page.get("Contents", []))

    def delete(self, key: str, *, if_etag: str | None = None) -> bool:
        """Delete an object, or only the one with this ETag."""
        request: DeleteObjectRequestTypeDef = {"Bucket": self._bucket, "Key": key}
        if if_etag is not None:
            request["IfMatch"] = if_etag
        with self._translate(Verb.DELETE):
            try:
                self._client.delete_object(**request)
            except ClientError as error:
                code = _read_code(error)
                if code in EXISTS_CODES:
                    # SeaweedFS answers 412 where nothing is, too; AWS answers 404.
                    return self.describe(key) is None
                if code not in MISSING_CODES:
                    raise
        return True

    def presign(
        self,
        key: str,
        ttl_s: int,
        headers: ObjectHeaders | None = None,
        *,
        public: bool = True,
        head: bool = False,
    ) -> str:
        """Return a URL that reads the object for a while; costs no request."""
        params = {"Bucket": self._bucket, "Key": key}
        if headers is not None:
            params["ResponseContentType"] = headers.content_type
            params["ResponseContentDisposition"] = headers.content_disposition
        client = self._public_client if public else self._client
        with self._translate(Verb.SIGN):
            # boto3 lets through what a provider of theirs raises.
            self._wire.freeze_credentials()
            # The method is part of what is signed.
            operation = "head_object" if head else "get_object"
            return client.generate_presigned_url(operation, Params=params, ExpiresIn=ttl_s)

    @contextmanager
    def _translate(self, verb: Verb) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise explain_refusal(Refusal(_read_code(error)), verb, self._bucket) from error
        except (BotoCoreError, ResponseParserError, KeyError) as error:
            raise explain_silence(verb, error) from error


def connect(
    settings: Settings,
    *,
    pool_size: int,
    patience: Patience = PATIENT,
    models: S3Models | None = None,
    ignores_environment: bool = False,
) -> S3ObjectStore:
    """Build the store that the settings describe; opens no connection yet.

    Args:
        pool_size: connections that may be open at once.
        patience: time limits of each operation.
        models: what it shares with other stores, to take less memory.
        ignores_environment: as :class:`storage.objects.s3_client.S3Access` takes it.

    Raises:
        ConfigError: boto3 does not take the endpoint.
    """
    access = S3Access(settings, patience, models, ignores_environment=ignores_environment)
    endpoint = settings.s3_endpoint
    public_endpoint = settings.s3_public_endpoint or endpoint
    client = access.make_client(endpoint, pool_size)
    public = client
    if public_endpoint != endpoint:
        public = access.make_client(public_endpoint, 1)
    wire = access.make_wire(client, pool_size)
    return S3ObjectStore(settings.s3_bucket, client, public, wire, settings.s3_checksum)


def _name_part(part: Part) -> CompletedPartTypeDef:
    named: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
    if part.crc32c is not None:
        named["ChecksumCRC32C"] = _encode_crc32c(part.crc32c)
    return named


def _read_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _encode(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _encode_crc32c(checksum: int) -> str:
    return _encode(checksum.to_bytes(4, "big"))


def _decode_crc32c(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "big")


def _hash_md5(body: Content) -> str:
    return _encode(hashlib.md5(body, usedforsecurity=False).digest())

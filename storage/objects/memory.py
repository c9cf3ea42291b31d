"""An object store in a dictionary, for unit tests of what stands on the protocol."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import crc32c

from ingest.errors import (
    FileExists,
    SourceChanged,
    SourceNotFound,
    StorageUnavailable,
    UploadLost,
)
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


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    headers: ObjectHeaders
    etag: str


@dataclass(slots=True)
class _Upload:
    key: str
    headers: ObjectHeaders
    begun: datetime
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryObjectStore:
    """Keeps every obligation of :class:`storage.objects.store.ObjectStore` but durability.

    Attributes:
        bucket: the only one there is.
        wants_part_checksums: may be set, as an operator changes a setting.
    """

    bucket = "memory"

    def __init__(self) -> None:
        self.wants_part_checksums = True
        self._lock = threading.Lock()
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, _Upload] = {}
        self._begun = 0

    def check(self) -> None:
        """A dictionary is always there."""

    def put(
        self,
        key: str,
        body: Content,
        headers: ObjectHeaders,
        *,
        overwrite: bool,
        sha256: str | None = None,
    ) -> None:
        """Store an object."""
        if sha256 not in {None, hashlib.sha256(body).hexdigest()}:
            raise StorageUnavailable("Other bytes arrived than were hashed.")
        with self._lock:
            found = _Object(bytes(body), headers, _make_etag(bytes(body)))
            self._place(key, found, overwrite=overwrite)

    def begin(self, key: str, headers: ObjectHeaders) -> Upload:
        """Begin a multipart upload."""
        with self._lock:
            self._begun += 1
            upload = Upload(key, f"upload-{self._begun}")
            self._uploads[upload.upload_id] = _Upload(key, headers, datetime.now(UTC))
            return upload

    def put_part(
        self, upload: Upload, number: int, body: Content, checksum: int | None = None
    ) -> Part:
        """Store one part."""
        actual = crc32c.crc32c(body)
        if checksum not in {None, actual}:
            raise StorageUnavailable("Other bytes arrived than were hashed.")
        with self._lock:
            self._get_upload(upload).parts[number] = bytes(body)
            crc = actual if self.wants_part_checksums else None
            return Part(number, _make_etag(bytes(body)), crc)

    def copy_part(
        self, upload: Upload, number: int, source: CopySource, first_byte: int, size_bytes: int
    ) -> Part | None:
        """Store a piece of another object as a part."""
        if source.bucket != self.bucket:
            return None
        with self._lock:
            found = self._objects.get(source.key)
        if found is None:
            raise SourceNotFound("The object is not there.")
        if found.etag != source.etag:
            raise SourceChanged("The object is another one.")
        return self.put_part(upload, number, found.body[first_byte : first_byte + size_bytes])

    def complete(self, upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        """Join the parts into an object."""
        with self._lock:
            found = self._get_upload(upload)
            for part in parts:
                stored = found.parts.get(part.number)
                if stored is None or _make_etag(stored) != part.etag:
                    raise UploadLost(f"Part {part.number} is not what it was.")
            body = b"".join(found.parts[part.number] for part in parts)
            etag = _make_etag("".join(part.etag for part in parts).encode())
            joined = _Object(body, found.headers, f"{etag}-{len(parts)}")
            self._place(upload.key, joined, overwrite=overwrite)
            del self._uploads[upload.upload_id]

    def abort(self, upload: Upload) -> None:
        """Drop an upload."""
        with self._lock:
            if self._find_upload(upload) is not None:
                del self._uploads[upload.upload_id]

    def list_parts(self, upload: Upload) -> Sequence[StoredPart] | None:
        """Return the parts of an upload."""
        with self._lock:
            found = self._find_upload(upload)
            if found is None:
                return None
            return [
                StoredPart(number, _make_etag(body), len(body))
                for number, body in sorted(found.parts.items())
            ]

    def list_uploads(self, prefix: str = "") -> Iterator[PendingUpload]:
        """Walk through the uploads as they are now."""
        with self._lock:
            found = [
                PendingUpload(Upload(one.key, upload_id), one.begun)
                for upload_id, one in self._uploads.items()
                if one.key.startswith(prefix)
            ]
        yield from sorted(found, key=lambda one: (one.upload.key, one.upload.upload_id))

    def describe(self, key: str) -> StoredObject | None:
        """Return what is known of an object."""
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            return None
        headers = found.headers
        return StoredObject(len(found.body), headers.content_type, headers.metadata, found.etag)

    def find_sha256(self, key: str, etag: str) -> str | None:
        """Return the SHA-256 of an object that was put in one piece."""
        with self._lock:
            found = self._objects.get(key)
        if found is None or found.etag != etag or "-" in etag:
            return None
        return hashlib.sha256(found.body).hexdigest()

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Walk through the keys as they are now."""
        with self._lock:
            found = sorted(key for key in self._objects if key.startswith(prefix))
        yield from found

    def delete(self, key: str, *, if_etag: str | None = None) -> bool:
        """Delete an object."""
        with self._lock:
            found = self._objects.get(key)
            if found is not None and if_etag not in {None, found.etag}:
                return False
            self._objects.pop(key, None)
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
        """Return an address that only looks like one."""
        del headers, public, head
        return f"memory://{key}?ttl={ttl_s}"

    def read(self, key: str) -> bytes:
        """Return an object's bytes, for the test that wants to see them."""
        with self._lock:
            return self._objects[key].body

    def _find_upload(self, upload: Upload) -> _Upload | None:
        found = self._uploads.get(upload.upload_id)
        return found if found is not None and found.key == upload.key else None

    def _get_upload(self, upload: Upload) -> _Upload:
        found = self._find_upload(upload)
        if found is None:
            raise UploadLost("There is no such upload.")
        return found

    def _place(self, key: str, found: _Object, *, overwrite: bool) -> None:
        if not overwrite and key in self._objects:
            raise FileExists(f"An object '{key}' is in the bucket already.")
        self._objects[key] = found


def _make_etag(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()

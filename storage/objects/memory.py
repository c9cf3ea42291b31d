"""An object store in a dictionary, for unit tests of what stands on the protocol."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ingest.errors import FileExists
from storage.objects.store import Content, ObjectHeaders, Part, StoredObject, Upload


class MemoryObjectStore:
    """Keeps every obligation of :class:`storage.objects.store.ObjectStore` but durability."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, ObjectHeaders]] = {}
        self._uploads: dict[str, tuple[ObjectHeaders, dict[int, bytes]]] = {}
        self._begun = 0

    def check(self) -> None:
        """A dictionary is always there."""

    def put(self, key: str, body: Content, headers: ObjectHeaders, *, overwrite: bool) -> None:
        """Store an object."""
        with self._lock:
            self._place(key, bytes(body), headers, overwrite=overwrite)

    def begin(self, key: str, headers: ObjectHeaders) -> Upload:
        """Begin a multipart upload."""
        with self._lock:
            self._begun += 1
            upload = Upload(key, f"upload-{self._begun}")
            self._uploads[upload.upload_id] = (headers, {})
            return upload

    def put_part(self, upload: Upload, number: int, body: Content) -> Part:
        """Store one part."""
        with self._lock:
            self._uploads[upload.upload_id][1][number] = bytes(body)
            return Part(number, f"etag-{number}")

    def complete(self, upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        """Join the parts into an object."""
        with self._lock:
            headers, stored = self._uploads[upload.upload_id]
            body = b"".join(stored[part.number] for part in parts)
            self._place(upload.key, body, headers, overwrite=overwrite)
            del self._uploads[upload.upload_id]

    def abort(self, upload: Upload) -> None:
        """Drop an upload."""
        with self._lock:
            self._uploads.pop(upload.upload_id, None)

    def describe(self, key: str) -> StoredObject | None:
        """Return what is known of an object."""
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            return None
        body, headers = found
        return StoredObject(len(body), headers.content_type, headers.metadata)

    def delete(self, key: str) -> None:
        """Delete an object."""
        with self._lock:
            self._objects.pop(key, None)

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
            return self._objects[key][0]

    def list_uploads(self) -> list[str]:
        """Return the ids of uploads neither completed nor aborted."""
        with self._lock:
            return sorted(self._uploads)

    def _place(self, key: str, body: bytes, headers: ObjectHeaders, *, overwrite: bool) -> None:
        if not overwrite and key in self._objects:
            raise FileExists(f"An object '{key}' is in the bucket already.")
        self._objects[key] = (body, headers)

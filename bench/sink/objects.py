"""What the sink remembers: sizes, the first bytes of each object, and hashes if it verifies."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Body:
    """What came as one request's body.

    Attributes:
        size_bytes: without frames.
        head: its first bytes, as many as the sink keeps.
        content: all of it where the sink verifies, else None.
    """

    size_bytes: int
    head: bytes
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as far as it is remembered; ``headers`` are those that a HEAD gives back."""

    size_bytes: int
    head: bytes
    sha256: str | None
    etag: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Upload:
    key: str
    headers: Mapping[str, str]
    sizes: dict[int, int] = field(default_factory=dict)
    head: bytes = b""
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    hashed_parts: int = 0
    ahead: dict[int, bytes] = field(default_factory=dict)
    # Whether what was hashed is what was stored: not if a part came again after it was hashed.
    true: bool = True


class Objects:
    """The bucket; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._stored: dict[str, Stored] = {}
        self._uploads: dict[str, _Upload] = {}

    def find(self, key: str) -> Stored | None:
        """Return what is known of an object."""
        return self._stored.get(key)

    def list(self, prefix: str) -> dict[str, Stored]:
        """Return the objects whose keys begin so, by key."""
        with self._lock:
            return {k: one for k, one in sorted(self._stored.items()) if k.startswith(prefix)}

    def put(self, key: str, body: Body, headers: Mapping[str, str]) -> Stored:
        """Remember an object of one request."""
        sha256 = None if body.content is None else hashlib.sha256(body.content).hexdigest()
        with self._lock:
            stored = Stored(body.size_bytes, body.head, sha256, self._make_etag(), headers)
            self._stored[key] = stored
        return stored

    def begin(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload; return its id."""
        with self._lock:
            upload_id = f"upload-{next(self._numbers)}"
            self._uploads[upload_id] = _Upload(key, headers)
        return upload_id

    def put_part(self, upload_id: str, number: int, body: Body) -> str | None:
        """Remember a part; return its ETag, or None if there is no such upload."""
        with self._lock:
            upload = self._uploads.get(upload_id)
            if upload is None:
                return None
            upload.true &= number > upload.hashed_parts
            upload.sizes[number] = body.size_bytes
            if number == 1:
                upload.head = body.head
            if body.content is not None:
                upload.ahead[number] = body.content
                _hash_in_order(upload)
            return self._make_etag()

    def complete(self, upload_id: str) -> Stored | None:
        """Make an object of all parts; return it, or None if there is no such upload."""
        with self._lock:
            upload = self._uploads.pop(upload_id, None)
            if upload is None:
                return None
            whole = upload.true and upload.hashed_parts == len(upload.sizes)
            stored = Stored(
                sum(upload.sizes.values()),
                upload.head,
                upload.digest.hexdigest() if whole else None,
                f"{self._make_etag()}-{len(upload.sizes)}",
                upload.headers,
            )
            self._stored[upload.key] = stored
        return stored

    def abort(self, upload_id: str) -> None:
        """Forget an upload."""
        with self._lock:
            self._uploads.pop(upload_id, None)

    def delete(self, key: str) -> None:
        """Forget an object."""
        with self._lock:
            self._stored.pop(key, None)

    def _make_etag(self) -> str:
        return f"{next(self._numbers):032x}"


def _hash_in_order(upload: _Upload) -> None:
    # Parts come nearly in order, so few of them wait here for those before them.
    while (content := upload.ahead.pop(upload.hashed_parts + 1, None)) is not None:
        upload.digest.update(content)
        upload.hashed_parts += 1

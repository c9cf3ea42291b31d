"""Digests of a whole file while it streams by: always SHA-256, and whatever else was asked for."""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

import google_crc32c

from ingest.errors import ChecksumMismatch


class _Digest(Protocol):
    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32c:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: memoryview, /) -> None:
        self._value = google_crc32c.extend(self._value, bytes(data))

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


class Checksums:
    """Follows a file from its first byte to its last.

    Args:
        expected: ``algorithm:hex`` as :func:`ingest.checksum.parse_checksum` returns it, or None.
    """

    def __init__(self, expected: str | None) -> None:
        self._sha256 = hashlib.sha256()
        algorithm, _, self._expected = (expected or "").partition(":")
        self._algorithm = algorithm
        self._other: _Digest | None = None
        if algorithm == "md5":
            self._other = hashlib.md5(usedforsecurity=False)
        elif algorithm == "crc32c":
            self._other = _Crc32c()

    def update(self, data: memoryview) -> None:
        """Take in the next bytes."""
        self._sha256.update(data)
        if self._other is not None:
            self._other.update(data)

    @property
    def sha256(self) -> str:
        """SHA-256 of what was taken in so far, in lower-case hex."""
        return self._sha256.hexdigest()

    def verify(self) -> None:
        """Compare with what was expected.

        Raises:
            ChecksumMismatch: they differ.
        """
        if not self._algorithm:
            return
        actual = self.sha256 if self._other is None else self._other.hexdigest()
        if not hmac.compare_digest(actual, self._expected):
            raise ChecksumMismatch(
                f"The source's {self._algorithm} is {actual}, not {self._expected} as expected."
            )

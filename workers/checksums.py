"""Digests of a whole file while it streams by: always SHA-256, and whatever else was asked for."""

from __future__ import annotations

import hmac
import sys

import google_crc32c

from ingest.errors import ChecksumMismatch
from workers.digests import Digest, begin_digest, restore_digest

# Leads each exported state: what follows is laid out as below, in this byte order.
_LAYOUT = b"\x01" + sys.byteorder[:1].encode()


class _Crc32c:
    def __init__(self, value: int = 0) -> None:
        self._value = value

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._value = google_crc32c.extend(self._value, bytes(data))

    def hexdigest(self) -> str:
        return f"{self._value:08x}"

    def export(self) -> bytes:
        return self._value.to_bytes(4, sys.byteorder)


class Checksums:
    """Follows a file from its first byte to its last.

    Args:
        expected: ``algorithm:hex`` as :func:`ingest.checksum.parse_checksum` returns it, or None.
    """

    def __init__(self, expected: str | None) -> None:
        algorithm, _, self._expected = (expected or "").partition(":")
        self._algorithm = algorithm
        self._sha256 = begin_digest("sha256")
        self._other: Digest | None = None
        if algorithm == "md5":
            self._other = begin_digest("md5")
        elif algorithm == "crc32c":
            self._other = _Crc32c()

    @classmethod
    def restore(cls, expected: str | None, state: bytes) -> Checksums | None:
        """Return checksums that go on from a state; None if it does not fit here.

        Args:
            expected: as it was when the state was exported.
            state: from :meth:`export`.
        """
        if not state.startswith(_LAYOUT):
            return None
        restored = cls(expected)
        length = state[len(_LAYOUT)] if len(state) > len(_LAYOUT) else 0
        rest = state[len(_LAYOUT) + 1 :]
        sha256 = restore_digest("sha256", rest[:length])
        if sha256 is None:
            return None
        restored._sha256 = sha256
        rest = rest[length:]
        if restored._algorithm == "md5":
            restored._other = restore_digest("md5", rest)
        elif restored._algorithm == "crc32c":
            restored._other = _Crc32c(int.from_bytes(rest, sys.byteorder)) if rest else None
        elif rest:
            return None
        needs_other = restored._algorithm in {"md5", "crc32c"}
        return None if needs_other and restored._other is None else restored

    def update(self, data: memoryview) -> None:
        """Take in the next bytes."""
        self._sha256.update(data)
        if self._other is not None:
            self._other.update(data)

    def export(self) -> bytes | None:
        """Return the state of all digests, or None where this Python cannot export it."""
        sha256 = self._sha256.export()
        other = b"" if self._other is None else self._other.export()
        if sha256 is None or other is None:
            return None
        return _LAYOUT + bytes([len(sha256)]) + sha256 + other

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

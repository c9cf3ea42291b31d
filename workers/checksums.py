"""Digests of a whole file while it streams by: always SHA-256, and whatever else was asked for.

They can be put aside between two updates, so that a file whose worker died is gone on with by
another. A state says which digests it holds; :meth:`Checksums.restore` takes it only if they are
those that are asked for now, since bytes that are past cannot be taken in again.
"""

from __future__ import annotations

import hmac

import crc32c

from ingest.errors import ChecksumMismatch
from workers.digests import Buffer, Digest, Digests, find_digests

# Leads each exported state. To be raised whenever what follows changes.
_VERSION = b"1"
_CRC32C_BYTES = 4


class _Crc32c:
    def __init__(self, value: int = 0) -> None:
        self._value = value

    def update(self, data: Buffer, /) -> None:
        self._value = crc32c.crc32c(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"

    def export(self) -> bytes:
        return self._value.to_bytes(_CRC32C_BYTES, "big")


class Checksums:
    """Follows a file from its first byte to its last, on one thread at a time.

    Args:
        expected: ``algorithm:hex`` as :func:`ingest.checksum.parse_checksum` returns it, or None.
        digests: where digests come from; None means this process's own.
    """

    def __init__(self, expected: str | None, digests: Digests | None = None) -> None:
        digests = digests or find_digests()
        self._algorithm, _, self._expected = (expected or "").partition(":")
        self._sha256 = digests.begin("sha256")
        self._other: Digest | None = None
        if self._algorithm == "md5":
            self._other = digests.begin("md5")
        elif self._algorithm == "crc32c":
            self._other = _Crc32c()

    @classmethod
    def restore(
        cls, expected: str | None, state: bytes, digests: Digests | None = None
    ) -> Checksums | None:
        """Return checksums that go on from a state; None if they cannot: the file starts again.

        Args:
            expected: as in the constructor. If it asks for digests that the state does not hold,
                or for fewer, the state does not fit.
            state: from :meth:`export`, in whatever process. Of another version it does not fit.
            digests: as in the constructor.
        """
        digests = digests or find_digests()
        restored = cls(expected, digests)
        lead = restored._make_lead()
        # Its length stands before the state of the SHA-256.
        size_bytes, states = state[len(lead) : len(lead) + 1], state[len(lead) + 1 :]
        if not state.startswith(lead) or not size_bytes:
            return None
        sha256 = digests.restore("sha256", states[: size_bytes[0]])
        rest = states[size_bytes[0] :]
        if restored._algorithm == "md5":
            other = digests.restore("md5", rest)
            fits = other is not None
        elif restored._algorithm == "crc32c":
            other = _Crc32c(int.from_bytes(rest, "big"))
            fits = len(rest) == _CRC32C_BYTES
        else:
            other = None
            fits = not rest
        if sha256 is None or not fits:
            return None
        restored._sha256, restored._other = sha256, other
        return restored

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
        return self._make_lead() + bytes([len(sha256)]) + sha256 + other

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

    def _make_lead(self) -> bytes:
        other = b"" if self._other is None else self._algorithm.encode()
        return _VERSION + b":" + other + b":"

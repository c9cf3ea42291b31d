"""Digests that follow a file."""

from __future__ import annotations

import hashlib

import pytest

from ingest.errors import ChecksumMismatch
from workers.checksums import Checksums

CONTENT = b"123456789"
# RFC 3720, B.4 gives CRC32C; this is its check value.
CRC32C = "e3069283"


def take_in(expected: str | None) -> Checksums:
    checksums = Checksums(expected)
    for at in range(0, len(CONTENT), 4):
        checksums.update(memoryview(CONTENT)[at : at + 4])
    return checksums


@pytest.mark.parametrize(
    "expected",
    [
        None,
        f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
        f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}",
        f"crc32c:{CRC32C}",
    ],
)
def test_what_was_expected_is_found_piece_by_piece(expected: str | None) -> None:
    checksums = take_in(expected)
    checksums.verify()
    assert checksums.sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("expected", [f"sha256:{'0' * 64}", f"md5:{'0' * 32}", f"crc32c:{'0' * 8}"])
def test_other_bytes_are_told_with_what_they_are(expected: str) -> None:
    with pytest.raises(ChecksumMismatch, match=expected.partition(":")[0]):
        take_in(expected).verify()

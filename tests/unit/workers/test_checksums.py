"""Digests that follow a file."""

from __future__ import annotations

import hashlib

import pytest

from ingest.errors import ChecksumMismatch
from workers.checksums import Checksums
from workers.digests import Digests

CONTENT = b"123456789"
# RFC 3720, B.4 gives CRC32C; this is its check value.
CRC32C = "e3069283"
EXPECTED = [
    None,
    f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
    f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}",
    f"crc32c:{CRC32C}",
]
WRONG = [f"sha256:{'0' * 64}", f"md5:{'0' * 32}", f"crc32c:{'0' * 8}"]


def take_in(expected: str | None) -> Checksums:
    checksums = Checksums(expected)
    for at in range(0, len(CONTENT), 4):
        checksums.update(memoryview(CONTENT)[at : at + 4])
    return checksums


@pytest.mark.parametrize("expected", EXPECTED)
def test_what_was_expected_is_found_piece_by_piece(expected: str | None) -> None:
    checksums = take_in(expected)
    checksums.verify()
    assert checksums.sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("expected", WRONG)
def test_other_bytes_are_told_with_what_they_are(expected: str) -> None:
    with pytest.raises(ChecksumMismatch, match=expected.partition(":")[0]):
        take_in(expected).verify()


def export(checksums: Checksums) -> bytes:
    state = checksums.export()
    assert state is not None
    return state


@pytest.mark.parametrize("expected", EXPECTED)
def test_a_file_is_gone_on_with_from_any_byte(expected: str | None) -> None:
    for cut in range(len(CONTENT) + 1):
        before = Checksums(expected)
        before.update(memoryview(CONTENT)[:cut])
        after = Checksums.restore(expected, export(before))
        assert after is not None
        after.update(memoryview(CONTENT)[cut:])
        after.verify()
        assert after.sha256 == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("wrong", WRONG)
def test_other_bytes_are_told_after_a_file_was_gone_on_with(wrong: str) -> None:
    restored = Checksums.restore(wrong, export(take_in(wrong)))
    assert restored is not None
    with pytest.raises(ChecksumMismatch, match=wrong.partition(":")[0]):
        restored.verify()


@pytest.mark.parametrize("expected", EXPECTED)
def test_asking_for_the_sha256_on_the_way_changes_nothing(expected: str | None) -> None:
    checksums = Checksums(expected)
    for at in range(len(CONTENT)):
        assert checksums.sha256 == hashlib.sha256(CONTENT[:at]).hexdigest()
        checksums.update(memoryview(CONTENT)[at : at + 1])
    checksums.verify()
    assert export(checksums) == export(take_in(expected))


def test_a_crc32c_of_more_than_is_copied_at_a_time_is_that_of_the_whole() -> None:
    content = bytearray(CONTENT * 300_000)
    pieces, whole = Checksums(f"crc32c:{CRC32C}"), Checksums(f"crc32c:{CRC32C}")
    whole.update(memoryview(content))
    for at in range(0, len(content), 500_000):
        pieces.update(memoryview(content)[at : at + 500_000])
    assert export(whole) == export(pieces)


@pytest.mark.parametrize("before", EXPECTED)
@pytest.mark.parametrize("after", EXPECTED)
def test_a_state_fits_only_those_who_ask_for_its_digests(
    before: str | None, after: str | None
) -> None:
    # SHA-256 is always there, asked for or not.
    always = EXPECTED[:2]
    fits = before == after or (before in always and after in always)
    restored = Checksums.restore(after, export(take_in(before)))
    assert (restored is not None) == fits


@pytest.mark.parametrize("expected", EXPECTED)
def test_what_is_not_a_whole_state_does_not_fit(expected: str | None) -> None:
    state = export(take_in(expected))
    for length in range(len(state)):
        assert Checksums.restore(expected, state[:length]) is None
    assert Checksums.restore(expected, state + b"a") is None
    assert Checksums.restore(expected, b"0" + state[1:]) is None


@pytest.mark.parametrize("expected", EXPECTED)
def test_where_digests_cannot_be_put_aside_a_file_starts_again(expected: str | None) -> None:
    digests = Digests(lambda: None)
    checksums = Checksums(expected, digests)
    checksums.update(memoryview(CONTENT))
    checksums.verify()
    assert checksums.export() is None
    assert Checksums.restore(expected, export(take_in(expected)), digests) is None

"""Digests that are put aside and gone on with."""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.digests import Buffer, Digest, Digests, find_digests, load_openssl

NAMES = ["sha256", "md5"]
CONTENT = bytes((at * 7 + at // 256) % 256 for at in range(1000))
# The first chaining words: FIPS 180-4, 5.3.3 and RFC 1321, 3.3.
FIRST_WORDS = {
    "sha256": "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19",
    "md5": "67452301efcdab8998badcfe10325476",
}
GO_ON = """
import sys
from workers.digests import find_digests
digest = find_digests().restore(sys.argv[1], bytes.fromhex(sys.argv[2]))
digest.update(bytes.fromhex(sys.argv[3]))
print(digest.hexdigest())
"""


def make_expected(name: str, content: bytes) -> str:
    return hashlib.new(name, content, usedforsecurity=False).hexdigest()


def put_aside(digest: Digest, name: str) -> Digest:
    """Return the digest as another process would go on with it."""
    state = digest.export()
    assert state is not None
    restored = find_digests().restore(name, state)
    assert restored is not None
    return restored


def find_library() -> ctypes.CDLL:
    library = load_openssl()
    assert library is not None
    return library


def load_with(*, refusal: str = "", **others: str) -> Callable[[], ctypes.CDLL]:
    """Return a loader of OpenSSL in which some functions are others, and one never succeeds."""

    class Changed:
        def __getitem__(self, name: str) -> object:
            return Refusal() if name == refusal else find_library()[others.get(name, name)]

    return lambda: cast("ctypes.CDLL", Changed())


class Refusal:
    """A function that says it failed."""

    def __call__(self, *_arguments: object) -> int:
        return 0


def test_this_python_can_put_digests_aside() -> None:
    assert find_digests().can_resume


@pytest.mark.parametrize("name", NAMES)
def test_a_digest_put_aside_at_any_byte_comes_out_the_same(name: str) -> None:
    # Three blocks, so that each offset within one is met with and without blocks before it.
    content = CONTENT[:200]
    expected = make_expected(name, content)
    for cut in range(len(content) + 1):
        before = find_digests().begin(name)
        before.update(content[:cut])
        after = put_aside(before, name)
        assert after.hexdigest() == make_expected(name, content[:cut])
        after.update(content[cut:])
        assert after.hexdigest() == expected


@settings(derandomize=True, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    pieces=st.lists(st.binary(max_size=300), max_size=8),
    make=st.sampled_from(
        [bytes, bytearray, memoryview, lambda piece: memoryview(bytearray(piece))]
    ),
)
@example(name="sha256", pieces=[b"", b"a" * 64, b"", b"b" * 63, b"c"], make=bytearray)
@example(name="md5", pieces=[b"a" * 55, b"b" * 9, b"c" * 128], make=memoryview)
def test_digests_put_aside_after_each_piece_are_those_of_hashlib(
    name: str, pieces: list[bytes], make: Callable[[bytes], Buffer]
) -> None:
    digest = find_digests().begin(name)
    for piece in pieces:
        digest.update(make(piece))
        digest = put_aside(digest, name)
    assert digest.hexdigest() == make_expected(name, b"".join(pieces))


@pytest.mark.parametrize("name", NAMES)
def test_another_process_goes_on_where_this_one_ended(name: str) -> None:
    digest = find_digests().begin(name)
    digest.update(CONTENT[:333])
    state = digest.export()
    assert state is not None
    ended = subprocess.run(
        [sys.executable, "-c", GO_ON, name, state.hex(), CONTENT[333:].hex()],
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stdout.strip() == make_expected(name, CONTENT)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_what_the_standard_defines_on_any_machine(name: str) -> None:
    digest = find_digests().begin(name)
    digest.update(b"abc")
    assert digest.export() == bytes.fromhex(FIRST_WORDS[name]) + struct.pack(">Q", 3) + b"abc"


@pytest.mark.parametrize("name", NAMES)
def test_more_bits_are_counted_than_one_word_holds(name: str) -> None:
    words = bytes.fromhex(FIRST_WORDS[name])
    for taken_bytes in (2**29 - 64, 2**32 - 64, 5 * 2**40):
        digest = find_digests().restore(name, words + struct.pack(">Q", taken_bytes))
        assert digest is not None
        digest.update(bytes(65))
        state = digest.export()
        assert state is not None
        assert state[len(words) :] == struct.pack(">Q", taken_bytes + 65) + b"\0"


@pytest.mark.parametrize("name", NAMES)
def test_neither_a_look_at_a_digest_nor_its_export_changes_it(name: str) -> None:
    digest = find_digests().begin(name)
    digest.update(CONTENT[:100])
    state = digest.export()
    assert digest.hexdigest() == digest.hexdigest() == make_expected(name, CONTENT[:100])
    assert digest.export() == state
    digest.update(CONTENT[100:])
    assert digest.hexdigest() == make_expected(name, CONTENT)


def test_two_digests_from_one_state_go_their_own_ways() -> None:
    digest = find_digests().begin("sha256")
    digest.update(CONTENT[:100])
    first, second = put_aside(digest, "sha256"), put_aside(digest, "sha256")
    first.update(b"first")
    second.update(b"second")
    assert first.hexdigest() == make_expected("sha256", CONTENT[:100] + b"first")
    assert second.hexdigest() == make_expected("sha256", CONTENT[:100] + b"second")


def test_a_buffer_can_be_resized_as_soon_as_it_was_taken_in() -> None:
    digest = find_digests().begin("sha256")
    buffer = bytearray(CONTENT)
    digest.update(buffer)
    del buffer[600:]
    with memoryview(buffer) as view, view[10:90] as part:
        digest.update(part)
    del buffer[:]
    digest.update(buffer)
    assert digest.hexdigest() == make_expected("sha256", CONTENT + CONTENT[10:90])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_state_is_refused(name: str) -> None:
    words = bytes.fromhex(FIRST_WORDS[name])
    for state in (
        b"",
        words,
        words + struct.pack(">Q", 0)[:-1],
        words + struct.pack(">Q", 0) + b"a",
        words + struct.pack(">Q", 3) + b"ab",
        words + struct.pack(">Q", 64) + bytes(64),
        # OpenSSL would count it as 0.
        words + struct.pack(">Q", 2**61),
        bytes(4) + words + struct.pack(">Q", 0),
    ):
        assert find_digests().restore(name, state) is None


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(lambda: None, id="no library"),
        pytest.param(lambda: ctypes.CDLL(_ctypes.__file__), id="symbols hidden"),
        pytest.param(load_with(SHA256_Init="SHA224_Init"), id="other digests"),
        pytest.param(
            load_with(
                SHA256_Init="SHA512_Init",
                SHA256_Update="SHA512_Update",
                SHA256_Final="SHA512_Final",
            ),
            id="other layout",
        ),
        pytest.param(load_with(refusal="MD5_Init"), id="init refused"),
        pytest.param(load_with(refusal="MD5_Update"), id="update refused"),
        pytest.param(load_with(refusal="SHA256_Final"), id="final refused"),
    ],
)
def test_without_a_library_that_passes_the_test_digests_are_those_of_hashlib(
    load: Callable[[], ctypes.CDLL | None],
) -> None:
    digests = Digests(load)
    assert not digests.can_resume
    for name in NAMES:
        digest = digests.begin(name)
        digest.update(bytearray(CONTENT[:100]))
        assert digest.export() is None
        digest.update(memoryview(CONTENT)[100:])
        assert digest.hexdigest() == make_expected(name, CONTENT)
        state = find_digests().begin(name).export()
        assert state is not None
        assert digests.restore(name, state) is None


def test_openssl_is_left_alone_in_fips_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("_hashlib.get_fips_mode", lambda: 1)
    assert load_openssl() is None


def test_openssl_is_out_of_reach_in_a_python_that_has_it_built_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("_hashlib.__file__")
    assert load_openssl() is None


def test_openssl_is_out_of_reach_in_a_python_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_hashlib", None)
    assert load_openssl() is None

"""SHA-256 and MD5 that can be put aside and gone on with in another process.

``hashlib`` cannot export the state of a digest, and a file whose worker died at 90 % must not be
read again only to be hashed. OpenSSL, which Python's own hashlib stands on, can: its contexts are
plain structs (``SHA256_CTX``, ``MD5_CTX`` in its public headers), the same on every platform but
for byte order. They are reached through the extension module that Python has loaded anyway.

Invariants: a state is only trusted after a self-test of this very library; where the library cannot
be reached (a Python with OpenSSL linked in statically) digests are hashlib's and export nothing,
so that a file starts again; what is not a state of this layout is refused, not guessed at.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

_PROBE = bytes(range(256)) * 3
# Room for any build's idea of the struct; what is exported is the part in use.
_SPARE_BYTES = 512


class Digest(Protocol):
    """A running digest."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the next bytes."""

    def hexdigest(self) -> str:
        """Return the digest of what was taken in so far; the state goes on."""

    def export(self) -> bytes | None:
        """Return the state, to be given to :func:`restore_digest`; None where that cannot be."""


@dataclass(frozen=True, slots=True)
class _Algorithm:
    """How OpenSSL spells an algorithm; ``state_bytes`` is the size of its context."""

    name: str
    prefix: str
    state_bytes: int
    digest_bytes: int


_ALGORITHMS = {
    # Words of state, length, block and counters: 8 + 2 + 16 + 2 (openssl/sha.h), 4 + 2 + 16 + 1.
    "sha256": _Algorithm("sha256", "SHA256", 28 * 4, 32),
    "md5": _Algorithm("md5", "MD5", 23 * 4, 16),
}


class _OpenDigest:
    """A digest whose context lies in our memory."""

    def __init__(self, library: ctypes.CDLL, algorithm: _Algorithm, state: bytes | None) -> None:
        self._library = library
        self._algorithm = algorithm
        self._context = ctypes.create_string_buffer(_SPARE_BYTES)
        if state is None:
            self._call("Init", self._context)
        else:
            ctypes.memmove(self._context, state, len(state))

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the next bytes, without copying them if they lie in a writable buffer."""
        view = memoryview(data).cast("B")
        if view.readonly:
            content = bytes(view)
            self._call("Update", self._context, content, ctypes.c_size_t(len(content)))
        elif len(view):
            held = (ctypes.c_char * len(view)).from_buffer(view)
            self._call("Update", self._context, held, ctypes.c_size_t(len(view)))

    def hexdigest(self) -> str:
        """Return the digest so far, of a copy: OpenSSL wipes what it finishes."""
        result = ctypes.create_string_buffer(self._algorithm.digest_bytes)
        copy = ctypes.create_string_buffer(self._context.raw, _SPARE_BYTES)
        self._call("Final", result, copy)
        return result.raw.hex()

    def export(self) -> bytes:
        """Return the context."""
        return self._context.raw[: self._algorithm.state_bytes]

    def _call(self, name: str, *arguments: object) -> None:
        function: Callable[..., int] = self._library[f"{self._algorithm.prefix}_{name}"]
        if function(*arguments) != 1:
            raise RuntimeError(f"OpenSSL refused {self._algorithm.prefix}_{name}")


class _ClosedDigest:
    """A digest of hashlib, which keeps its state to itself."""

    def __init__(self, algorithm: _Algorithm) -> None:
        self._digest = hashlib.new(algorithm.name, usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the next bytes."""
        self._digest.update(data)

    def hexdigest(self) -> str:
        """Return the digest of what was taken in so far."""
        return self._digest.hexdigest()

    def export(self) -> None:
        """Return nothing: there is no way."""


def begin_digest(name: str, *, library: ctypes.CDLL | None = None) -> Digest:
    """Return a digest of no bytes yet; ``name`` is "sha256" or "md5"."""
    algorithm = _ALGORITHMS[name]
    found = library or find_library()
    return _ClosedDigest(algorithm) if found is None else _OpenDigest(found, algorithm, None)


def restore_digest(name: str, state: bytes, *, library: ctypes.CDLL | None = None) -> Digest | None:
    """Return a digest that goes on from a state; None if that cannot be done here.

    Args:
        state: from :meth:`Digest.export` on a machine of the same byte order.
    """
    algorithm = _ALGORITHMS[name]
    found = library or find_library()
    if found is None or len(state) != algorithm.state_bytes:
        return None
    return _OpenDigest(found, algorithm, state)


@cache
def find_library() -> ctypes.CDLL | None:
    """Return the OpenSSL this Python runs on, if its digests do what they should; else None."""
    try:
        import _hashlib

        library = ctypes.CDLL(_hashlib.__file__)
    except (ImportError, AttributeError, OSError):
        return None
    return library if does_resume(library) else None


def does_resume(library: ctypes.CDLL) -> bool:
    """Return whether digests of a library, put aside anywhere, come out as hashlib's do."""
    if sys.maxsize < 2**32:
        # The length would be counted in other types.
        return False
    try:
        for algorithm in _ALGORITHMS.values():
            for cut in (0, 1, 55, 56, 63, 64, 65, 300):
                first = _OpenDigest(library, algorithm, None)
                first.update(_PROBE[:cut])
                second = _OpenDigest(library, algorithm, first.export())
                second.update(bytearray(_PROBE[cut:]))
                expected = hashlib.new(algorithm.name, _PROBE, usedforsecurity=False)
                if second.hexdigest() != expected.hexdigest():
                    return False
    except (AttributeError, RuntimeError):
        return False
    return True

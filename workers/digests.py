"""SHA-256 and MD5 that can be put aside at any byte and gone on with in another process.

``hashlib`` keeps the state of a digest to itself, and a file whose worker died at 90 % must not be
read again only to be hashed. OpenSSL, which hashlib stands on, does not: its ``SHA256_CTX`` and
``MD5_CTX`` are plain structs in its public headers (openssl/sha.h, openssl/md5.h). They are reached
through the extension module that Python has loaded anyway.

Invariants:

- What is exported is no struct but what the algorithms themselves define (FIPS 180-4, RFC 1321):
  the chaining words, how many bytes were taken in, and those that do not fill a block yet. So it
  holds on any machine, and a state cannot bring a count that OpenSSL would trust.
- A library is used only after it has passed a self-test in this process. Where none does (OpenSSL
  linked in statically, FIPS mode) digests are hashlib's and export nothing: a file starts again.
- A buffer is never copied if it is writable, and not held once ``update`` has returned.
- OpenSSL's contexts have no lock: a digest belongs to one thread at a time.
"""

from __future__ import annotations

import ctypes
import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Protocol

# For MD5 and SHA-256 alike.
_BLOCK_BYTES = 64
# Room for a library's other idea of the struct: the self-test must outlive what it refuses.
_CONTEXT_BYTES = 512
_RESULT_BYTES = 64
# Made once: a type for each buffer would cost more than a small file's digest.
_Context = ctypes.c_char * _CONTEXT_BYTES
_Result = ctypes.c_char * _RESULT_BYTES
# The structs count bits, in two 32-bit words.
_LIMIT_BYTES = 2**61
_SAMPLE = bytes(range(251)) * 2
_CUTS = (0, 1, 55, 56, 63, 64, 65, 127, 128, 129, 300, len(_SAMPLE))

Buffer = bytes | bytearray | memoryview
_Memory = ctypes.Array[ctypes.c_char]


class Digest(Protocol):
    """A running digest."""

    def update(self, data: Buffer, /) -> None:
        """Take in the next bytes."""

    def hexdigest(self) -> str:
        """Return the digest of what was taken in so far; the digest goes on."""

    def export(self) -> bytes | None:
        """Return the state, for :meth:`Digests.restore`; None where it cannot be had."""


@dataclass(frozen=True, slots=True)
class _Algorithm:
    """How OpenSSL spells an algorithm, and where its state lies.

    Attributes:
        layout: the context: words, bits taken in (low, high), the block begun, its bytes in use.
        portable: the start of what is exported: words, bytes taken in. The bytes of the block
            begun follow.
    """

    prefix: str
    result_bytes: int
    layout: struct.Struct
    portable: struct.Struct


_ALGORITHMS: Mapping[str, _Algorithm] = MappingProxyType(
    {
        "sha256": _Algorithm("SHA256", 32, struct.Struct("=8I2I64sI"), struct.Struct(">8IQ")),
        "md5": _Algorithm("MD5", 16, struct.Struct("=4I2I64sI"), struct.Struct(">4IQ")),
    }
)


class _Functions:
    """OpenSSL's functions for one algorithm.

    Raises:
        AttributeError: the library does not have them.
    """

    def __init__(self, library: ctypes.CDLL, algorithm: _Algorithm) -> None:
        self.algorithm = algorithm
        self._init = library[f"{algorithm.prefix}_Init"]
        self._init.argtypes = [ctypes.c_void_p]
        self._update = library[f"{algorithm.prefix}_Update"]
        self._update.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        self._final = library[f"{algorithm.prefix}_Final"]
        self._final.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        for function in (self._init, self._update, self._final):
            function.restype = ctypes.c_int

    def init(self, context: _Memory) -> None:
        self._check(self._init(context))

    def update(self, context: _Memory, data: bytes | int, size_bytes: int) -> None:
        """Take in bytes, given as they are or by their address."""
        self._check(self._update(context, data, size_bytes))

    def final(self, result: _Memory, context: _Memory) -> None:
        self._check(self._final(result, context))

    def _check(self, done: int) -> None:
        if done != 1:
            raise RuntimeError(f"OpenSSL refused to compute {self.algorithm.prefix}.")


class _OpenDigest:
    """A digest whose context lies in our memory."""

    def __init__(self, functions: _Functions) -> None:
        self._functions = functions
        self._algorithm = functions.algorithm
        self._context = _Context()
        functions.init(self._context)

    def update(self, data: Buffer, /) -> None:
        if isinstance(data, bytes):
            self._functions.update(self._context, data, len(data))
            return
        with memoryview(data) as view:
            if view.readonly:
                self._functions.update(self._context, bytes(view), view.nbytes)
            elif view.nbytes:
                # One char stands for them all: an array type would be made for each length. It
                # holds the buffer, so it must be gone before the view is released.
                first = ctypes.c_char.from_buffer(view)
                try:
                    self._functions.update(self._context, ctypes.addressof(first), view.nbytes)
                finally:
                    del first

    def hexdigest(self) -> str:
        result = _Result()
        # A copy, since OpenSSL wipes what it has finished.
        context = _Context.from_buffer_copy(self._context)
        self._functions.final(result, context)
        return result.raw[: self._algorithm.result_bytes].hex()

    def export(self) -> bytes:
        *words, low, high, block, _ = self._algorithm.layout.unpack_from(self._context)
        taken_bytes = (high << 32 | low) >> 3
        begun: bytes = block[: taken_bytes % _BLOCK_BYTES]
        return self._algorithm.portable.pack(*words, taken_bytes) + begun

    def restore(self, state: bytes) -> bool:
        """Take over an exported state; return whether it was one."""
        portable = self._algorithm.portable
        if len(state) < portable.size:
            return False
        *words, taken_bytes = portable.unpack_from(state)
        begun = state[portable.size :]
        if len(begun) != taken_bytes % _BLOCK_BYTES or taken_bytes >= _LIMIT_BYTES:
            return False
        high, low = divmod(taken_bytes << 3, 2**32)
        self._algorithm.layout.pack_into(self._context, 0, *words, low, high, begun, len(begun))
        return True


class _ClosedDigest:
    """A digest of hashlib."""

    def __init__(self, name: str) -> None:
        self._digest = hashlib.new(name, usedforsecurity=False)

    def update(self, data: Buffer, /) -> None:
        self._digest.update(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()

    def export(self) -> None:
        return None


def load_openssl() -> ctypes.CDLL | None:
    """Return the OpenSSL that Python itself is linked to; None if it is out of reach."""
    try:
        import _hashlib

        # Where FIPS mode forbids these functions they may end the process, not just fail.
        return None if _hashlib.get_fips_mode() else ctypes.CDLL(_hashlib.__file__)
    except (ImportError, AttributeError, OSError):
        return None


class Digests:
    """Makes digests: such as can be put aside if this Python has them, else hashlib's.

    Args:
        load: returns the library to use if it passes the self-test.
    """

    def __init__(self, load: Callable[[], ctypes.CDLL | None] = load_openssl) -> None:
        library = load()
        self._functions = {} if library is None else _find_functions(library)

    @property
    def can_resume(self) -> bool:
        """Whether digests export their state."""
        return bool(self._functions)

    def begin(self, name: str) -> Digest:
        """Return a digest of no bytes yet; ``name`` is "sha256" or "md5"."""
        functions = self._functions.get(name)
        return _ClosedDigest(name) if functions is None else _OpenDigest(functions)

    def restore(self, name: str, state: bytes) -> Digest | None:
        """Return a digest that goes on from a state; None if it does not fit, or not here.

        Args:
            name: as it was when the state was exported.
            state: from :meth:`Digest.export`, in whatever process.
        """
        functions = self._functions.get(name)
        if functions is None:
            return None
        digest = _OpenDigest(functions)
        return digest if digest.restore(state) else None


@cache
def find_digests() -> Digests:
    """Return the digests of this process, tested at the first call."""
    return Digests()


def _find_functions(library: ctypes.CDLL) -> Mapping[str, _Functions]:
    """Return a library's functions by algorithm; none at all if one is missing or fails."""
    try:
        found = {name: _Functions(library, algorithm) for name, algorithm in _ALGORITHMS.items()}
        passed = all(_does_resume(name, functions) for name, functions in found.items())
    except (AttributeError, RuntimeError):
        return {}
    return found if passed else {}


def _does_resume(name: str, functions: _Functions) -> bool:
    """Return whether a digest put aside anywhere comes out as hashlib's does."""
    expected = hashlib.new(name, _SAMPLE, usedforsecurity=False).hexdigest()
    for cut in _CUTS:
        before, after = _OpenDigest(functions), _OpenDigest(functions)
        before.update(_SAMPLE[:cut])
        if not after.restore(before.export()):
            return False
        after.update(bytearray(_SAMPLE[cut:]))
        if after.hexdigest() != expected:
            return False
    return True

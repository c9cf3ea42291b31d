"""The files that are measured with: real media at the head, grown to any size."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from tests.support.media import make_media
from tests.support.origin.bodies import Generated
from tests.support.padding import pad_mp4

# Behind a picture's end nothing is read, so each can say its number there.
_NUMBER_BYTES = 12


class Media:
    """What the source serves; both sides of a comparison read the very same bytes.

    Args:
        folder: where the small originals are kept. Two processes with one folder agree on all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make_mp4(self, size_bytes: int) -> Generated:
        """Return a video of 1 s that is ``size_bytes`` long."""
        return pad_mp4(self._mp4, size_bytes, seed=size_bytes)

    def make_jpeg_prefix(self, size_bytes: int) -> bytes:
        """Return what all pictures of a size begin with."""
        return self._jpeg.ljust(size_bytes - _NUMBER_BYTES, b"\0")

    def hash_jpeg(self, size_bytes: int, number: int) -> str:
        """Return the sha256 of the picture with a number, in hex."""
        whole = self.make_jpeg_prefix(size_bytes) + make_jpeg_end(number)
        return hashlib.sha256(whole).hexdigest()

    def prepare(self) -> None:
        """Make the originals, so that other processes only read them."""
        _ = self._mp4, self._jpeg

    @cached_property
    def _mp4(self) -> bytes:
        return make_media("mp4", self._folder).read_bytes()

    @cached_property
    def _jpeg(self) -> bytes:
        return make_media("jpeg", self._folder).read_bytes()


def make_jpeg_end(number: int) -> bytes:
    """Return the end that tells a picture from all others of its size."""
    return b"%0*d" % (_NUMBER_BYTES, number)

"""A look at a picture of a file, small or as a poster: by Pillow where that does, or by ffmpeg.

Stills of three formats are most of what comes in numbers, and starting an ffmpeg for each costs
more than all else that is done with it. They are decoded by a host of their own, which knows
neither network nor other projects (:mod:`workers.probe_hosts`); what Pillow does not read, ffmpeg
is asked for. A look that cannot be had is no error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ingest.formats import JPEG, PNG, WEBP, Format
from ingest.model import JsonObject
from workers import frames, posters
from workers.ffmpeg import Ffmpeg, find_ffmpeg
from workers.frames import Frame, Picture
from workers.probe_hosts import Duty, HostPool, hold_in_memory

# Not GIF, of which the decoded frame decides whether it is transparent.
_PILLOW_DECODERS = {JPEG: "JPEG", PNG: "PNG", WEBP: "WEBP"}
# Many people's pictures that Pillow has no part in, or not where they are long; and an ffmpeg from
# a wheel may be built without what they need.
_WORTH_A_WORD = ("apng", "av1", "hevc", "h264")


class Looker:
    """Makes frames small; safe to share between threads.

    Args:
        ffmpegs: what decodes, of which the first does that can.
        max_pixels: no larger picture is decoded.
    """

    def __init__(self, ffmpegs: Sequence[Ffmpeg], hosts: HostPool, max_pixels: int) -> None:
        self._ffmpegs = ffmpegs
        self._hosts = hosts
        self._max_pixels = max_pixels

    def look_at_file(
        self, picture: Picture, sniffed: Format, fd: int, project_id: str
    ) -> Frame | None:
        """Return a frame of a file that is at hand whole; None where there is none to be had."""
        if self._is_too_large(picture):
            return None
        decoder = _PILLOW_DECODERS.get(sniffed)
        if decoder is not None:
            order = frames.order_picture(picture, decoder, self._max_pixels)
            frame = frames.read_frame_answer(self._ask(order, fd, _decoding(project_id)))
            if frame is not None:
                return frame
        program = self._choose_program(picture)
        if program is None:
            return None
        order = frames.order_from_descriptor(picture, sniffed.demuxer, program, self._max_pixels)
        return frames.read_frame_answer(self._ask(order, fd, _HANDED))

    def draw_file(
        self, picture: Picture, sniffed: Format, fd: int, project_id: str
    ) -> bytes | None:
        """Return a poster of a file that is at hand whole; None where there is none to be had."""
        if self._is_too_large(picture):
            return None
        # Of a song's cover the sniffed format says nothing.
        decoder = _PILLOW_DECODERS.get(sniffed)
        if decoder is not None:
            order = posters.order_from_picture(picture, decoder, self._max_pixels)
            poster = posters.read_poster_answer(self._ask(order, fd, _decoding(project_id)))
            if poster is not None:
                return poster
        program = self._choose_program(picture)
        if program is None:
            return None
        order = posters.order_from_descriptor(picture, sniffed.demuxer, program, self._max_pixels)
        return posters.read_poster_answer(self._ask(order, fd, _HANDED))

    def look_at_address(
        self, picture: Picture, sniffed: Format, url: str, protocols: str, wait_us: int
    ) -> Frame | None:
        """Return a frame of an object of the store; None where there is none to be had.

        Args:
            url: of the store, signed.
            protocols: those that it needs.
            wait_us: for how long the store may be silent.
        """
        program = self._choose_for_address(picture)
        if program is None:
            return None
        options = _open_address(url, protocols, wait_us)
        order, graph = frames.order_from_address(picture, sniffed.demuxer, program, options)
        return frames.read_frame_answer(self._ask_with(order, graph))

    def draw_address(
        self, picture: Picture, sniffed: Format, url: str, protocols: str, wait_us: int
    ) -> bytes | None:
        """Return a poster of an object of the store; as :meth:`look_at_address`."""
        program = self._choose_for_address(picture)
        if program is None:
            return None
        options = _open_address(url, protocols, wait_us)
        order, graph = posters.order_from_address(picture, sniffed.demuxer, program, options)
        return posters.read_poster_answer(self._ask_with(order, graph))

    def _is_too_large(self, picture: Picture) -> bool:
        return picture.width * picture.height > self._max_pixels

    def _choose_program(self, picture: Picture) -> int | None:
        """Return the place of the ffmpeg that decodes a picture; None if there is none."""
        able = (at for at, one in enumerate(self._ffmpegs) if picture.codec in one.codecs)
        return next(able, None)

    def _choose_for_address(self, picture: Picture) -> int | None:
        program = None if self._is_too_large(picture) else self._choose_program(picture)
        # What opens an address knows no groups, and without files it would show the address.
        if program is None or picture.group is not None or not self._ffmpegs[program].takes_files:
            return None
        return program

    def _ask(self, order: JsonObject, fd: int, duty: Duty) -> bytes | None:
        os.lseek(fd, 0, os.SEEK_SET)
        return self._hosts.ask(order, fd, duty)

    def _ask_with(self, order: JsonObject, graph: str) -> bytes | None:
        with hold_in_memory(graph.encode()) as fd:
            return self._ask(order, fd, _ADDRESSED)


_HANDED, _ADDRESSED = Duty(offline=True), Duty(offline=False)


def _decoding(project_id: str) -> Duty:
    return Duty(offline=True, pictures_of=project_id)


def _open_address(url: str, protocols: str, wait_us: int) -> Mapping[str, str]:
    return {"url": url, "protocol_whitelist": protocols, "rw_timeout": str(wait_us)}


def find_ffmpegs(paths: Sequence[str]) -> tuple[list[Ffmpeg], str | None]:
    """Return what is usable of some ffmpegs, and why some files get no frame, if that is so.

    Args:
        paths: as in the setting; none for no frames, which is no lack.
    """
    found = [find_ffmpeg(path) for path in paths]
    ffmpegs = [one for one in found if isinstance(one, Ffmpeg)]
    reasons = [one for one in found if isinstance(one, str)]
    lacking = [one for one in _WORTH_A_WORD if not any(one in each.codecs for each in ffmpegs)]
    if ffmpegs and lacking:
        reasons.append(f"no ffmpeg here decodes {', '.join(lacking)}")
    return ffmpegs, "; ".join(reasons) or None

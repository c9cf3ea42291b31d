"""What hosts are told, to draw a poster: a JPEG that a page shows before anybody plays a file.

Of a film it is the first frame that is not black of those that are looked at, which are two a
second of its first seconds (:mod:`workers.poster_host`); of a still the still. It is no larger than
what it is of, and bounded in pixels and bytes whatever that is.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from ingest.model import JsonObject
from workers.frames import (
    Picture,
    fit,
    place,
    place_picture,
    read_address,
    read_descriptor,
    turn_tiles,
)

# The longer side: as wide as a player on a page is.
POSTER_SIDE = 1280
MOST_POSTER_BYTES = 1024 * 1024
# Of a film. Who fades in from black does so within these.
_LOOK_S = 10
_EVERY_S = 0.5


def order_from_picture(picture: Picture, decoder: str, max_pixels: int) -> JsonObject:
    """Return what makes a host draw a poster of a picture that it decodes itself."""
    return {"poster": place_picture(picture, decoder, max_pixels, _fit(picture))}


def order_from_descriptor(
    picture: Picture, demuxer: str, program: int, max_pixels: int
) -> JsonObject:
    """Return what makes a host draw a poster of the file that it is handed.

    Args:
        program: which of the host's ffmpegs runs.
    """
    picture = turn_tiles(picture)
    size = _fit(picture)
    arguments = read_descriptor(picture, demuxer, max_pixels, (), _choose(size))
    return _make_order(picture, size, program, [*arguments])


def order_from_address(
    picture: Picture, demuxer: str, program: int, options: Mapping[str, str]
) -> tuple[JsonObject, str]:
    """Return what makes a host draw a poster of an address, and the graph that it is handed; as
    :func:`workers.frames.order_from_address`."""
    size = _fit(picture)
    arguments, graph = read_address(picture, demuxer, options, _choose(size))
    return _make_order(picture, size, program, [*arguments]), graph


def read_poster_answer(answer: bytes | None) -> bytes | None:
    """Return the JPEG that a host answered with; None where it has none, or too long a one."""
    said = {} if answer is None else json.loads(answer)
    drawn = said.get("poster")
    if not isinstance(drawn, str):
        return None
    try:
        jpeg = base64.b64decode(drawn, validate=True)
    except binascii.Error:
        return None
    return jpeg if jpeg[:2] == b"\xff\xd8" and len(jpeg) <= MOST_POSTER_BYTES else None


def _make_order(
    picture: Picture, size: tuple[int, int], program: int, arguments: list[str]
) -> JsonObject:
    # One frame for each that is looked at: none is doubled to fill a gap.
    written = ["-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    placed = place(picture, size)
    return {"poster": {"program": program, "arguments": [*arguments, *written], **placed}}


def _fit(picture: Picture) -> tuple[int, int]:
    return fit(picture, min(POSTER_SIDE, max(picture.width, picture.height)))


def _choose(size: tuple[int, int]) -> str:
    # A cover may have no time at all.
    begun = "if(isnan(PTS)\\,0\\,PTS-STARTPTS)"
    often = f"isnan(prev_selected_t)+gte(t-prev_selected_t\\,{_EVERY_S:g})"
    return (
        f"setpts={begun},trim=end={_LOOK_S},select={often},"
        f"scale={size[0]}:{size[1]}:flags=area,format=rgba"
    )

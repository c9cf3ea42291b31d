"""What a probe's host does with a frame: ffmpeg makes it small and raw, and two words come of it.

Runs inside the sandbox (:mod:`workers.probe_host`), under its limits. Of ffmpeg's output nothing is
parsed: it is so many pixels of four bytes, or it is not taken. Imports next to nothing.
"""

from __future__ import annotations

import base64
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress

from workers.thumbhash import encode_thumbhash

# Steps of each colour that count as one: enough to tell a sky from a shirt.
_STEP = 32
_BOXES = bytes(value // _STEP for value in range(256))
# A pixel that shows less of itself has no say in what the background is.
_VISIBLE = 128


def read_frame(ffmpegs: Sequence[str], asked: object) -> Mapping[str, object] | None:
    """Decode one frame, and say what a page may show in its place.

    Args:
        ffmpegs: their paths.
        asked: which ``program`` of them to run, by its place; ``arguments`` that make it write one
            frame of ``width`` x ``height`` as raw RGBA to its standard output; and how players turn
            what is coded: ``mirrored`` left to right, then by ``rotation`` degrees clockwise.

    Returns:
        ``placeholder``, a ThumbHash in base64; ``background``, ``#rrggbb``, null for a frame that
        shows nothing; ``transparent``, whether a pixel lets something through. None if ffmpeg
        did not write a frame.

    Raises:
        TimeoutError: from the host's alarm.
    """
    if not isinstance(asked, dict):
        return None
    width, height = int(asked["width"]), int(asked["height"])
    # Its standard input is the host's: what was handed over.
    ran = subprocess.run(
        [ffmpegs[int(asked["program"])], *asked["arguments"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if len(ran.stdout) != width * height * 4:
        return None
    return describe_pixels(
        ran.stdout,
        width,
        height,
        rotation=int(asked["rotation"]),
        mirrored=bool(asked["mirrored"]),
    )


def describe_pixels(
    rgba: bytes, width: int, height: int, *, rotation: int, mirrored: bool
) -> Mapping[str, object]:
    """Say what a page may show in place of a raw RGBA picture; see :func:`read_frame`."""
    turned = turn_pixels(rgba, width, rotation=rotation, mirrored=mirrored)
    if rotation in {90, 270}:
        width, height = height, width
    return {
        "placeholder": base64.b64encode(encode_thumbhash(width, height, turned)).decode(),
        "background": find_background(turned),
        "transparent": min(turned[3::4]) < 255,
    }


def turn_pixels(rgba: bytes, width: int, *, rotation: int, mirrored: bool) -> bytes:
    """Return a raw RGBA picture mirrored left to right, then turned clockwise."""
    if rotation == 0 and not mirrored:
        return rgba
    pixels = [rgba[at : at + 4] for at in range(0, len(rgba), 4)]
    rows = [pixels[at : at + width] for at in range(0, len(pixels), width)]
    if mirrored:
        rows = [row[::-1] for row in rows]
    for _ in range(rotation // 90 % 4):
        rows = [list(row) for row in zip(*rows[::-1], strict=True)]
    return b"".join(pixel for row in rows for pixel in row)


def find_background(rgba: bytes) -> str | None:
    """Return the colour that most of a raw RGBA picture has, as ``#rrggbb``.

    The mean of the fullest of 512 equal boxes of the colour cube; None if all of it is transparent.
    """
    colours = [rgba[at::4] for at in range(3)]
    if min(rgba[3::4], default=0) < _VISIBLE:
        shown = [alpha >= _VISIBLE for alpha in rgba[3::4]]
        colours = [bytes(compress(one, shown)) for one in colours]
    boxes = list(zip(*(one.translate(_BOXES) for one in colours), strict=True))
    if not boxes:
        return None
    fullest, count = Counter(boxes).most_common(1)[0]
    inside = [box == fullest for box in boxes]
    mean = [round(sum(compress(one, inside)) / count) for one in colours]
    return "#" + bytes(mean).hex()

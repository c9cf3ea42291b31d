"""What a host that decodes pictures does with one: Pillow makes it small, and two words come of it.

The one place where media is decoded in a process that stays (docs/decisions.md): such a host does
nothing else, and serves one project alone (:mod:`workers.probe_hosts`). Pillow is told which of its
decoders to use, takes no more pixels than a probe may, and what it does not read to the end it does
not read at all. Imported by the probe's fork server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import BinaryIO

from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from workers.frame_host import describe_pixels

# By themselves: ``Image.open`` would try others.
_DECODERS: Mapping[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
# Others, of 16 bits or of print, ffmpeg turns into what a screen shows.
_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
# Samples that Pillow cuts to eight bits, and those that it spreads to them: what a PNG calls
# transparent it compares as it stands in the file, and finds it in neither.
_CUT, _SPREAD = ";16", frozenset({"L;2", "L;4"})
# JPEG's decoder makes a half, a fourth or an eighth of the size at less cost.
_DRAFT_FACTOR = 4


def read_picture(file: BinaryIO, asked: object) -> Mapping[str, object] | None:
    """Decode a picture, and say what a page may show in its place.

    Args:
        file: all of it.
        asked: the name of Pillow's ``decoder``; the size it must have, ``coded_width`` x
            ``coded_height``; ``max_pixels``; and the rest as for
            :func:`workers.frame_host.read_frame`.

    Returns:
        As :func:`workers.frame_host.read_frame`; None for what Pillow cannot read, or not like
        others do.

    Raises:
        TimeoutError: from the host's alarm.
    """
    image = decode_picture(file, asked, draft_factor=_DRAFT_FACTOR, resample=Image.Resampling.BOX)
    if image is None or not isinstance(asked, dict):
        return None
    return describe_pixels(
        image.convert("RGBA").tobytes(),
        image.width,
        image.height,
        rotation=int(asked["rotation"]),
        mirrored=bool(asked["mirrored"]),
    )


def decode_picture(
    file: BinaryIO, asked: object, *, draft_factor: int, resample: Image.Resampling
) -> Image.Image | None:
    """Decode a picture to the size that is asked for, not turned.

    Args:
        draft_factor: how many times that size a JPEG is decoded at.

    Returns:
        An image of mode L, RGB or RGBA; None as for :func:`read_picture`.

    Raises:
        TimeoutError: from the host's alarm.
    """
    if not isinstance(asked, dict):
        return None
    decoder, max_pixels = str(asked["decoder"]), int(asked["max_pixels"])
    size = int(asked["width"]), int(asked["height"])
    coded = int(asked["coded_width"]), int(asked["coded_height"])
    try:
        with _DECODERS[decoder](file) as image:
            if image.size != coded or image.width * image.height > max_pixels:
                return None
            if image.mode not in _MODES or not _is_read_as_it_is(image):
                return None
            if decoder == "JPEG":
                image.draft(None, (size[0] * draft_factor, size[1] * draft_factor))
            shown: Image.Image = image
            if "transparency" in image.info or image.mode in {"LA", "P"}:
                shown = image.convert("RGBA")
            elif image.mode == "1":
                shown = image.convert("L")
            return shown.resize(size, resample)
    except TimeoutError:
        raise
    except Exception:  # noqa: BLE001 - decoders raise anything over broken files, MemoryError too
        return None


def _is_read_as_it_is(image: ImageFile.ImageFile) -> bool:
    raw_modes = {str(tile.args) for tile in image.tile}
    if any(_CUT in mode for mode in raw_modes):
        return False
    return "transparency" not in image.info or not raw_modes & _SPREAD

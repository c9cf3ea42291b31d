"""What a probe's host does for a poster: it chooses a frame, turns it upright, writes a JPEG.

Runs inside the sandbox (:mod:`workers.probe_host`), under its limits. Of ffmpeg's output nothing is
parsed: it is pixels of four bytes, as many as were asked for. Imported by the probe's fork server.
"""

from __future__ import annotations

import base64
import io
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, BinaryIO

from PIL import Image

from workers.picture_host import decode_picture

# Of 255: a frame whose mean is below this shows nothing that could be told apart.
_DARK = 20
# The first that makes it short enough is taken.
_QUALITIES = (82, 60, 35)
MOST_JPEG_BYTES = 1024 * 1024
# What shows through, and JPEG has no way to.
_PAPER = (255, 255, 255)
_TURNS = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


def draw_frame(ffmpegs: Sequence[str], asked: object) -> str | None:
    """Draw the poster of a film.

    Args:
        ffmpegs: their paths.
        asked: as for :func:`workers.frame_host.read_frame`, but for ``arguments``, which make
            ffmpeg write several frames one after the other.

    Returns:
        A JPEG in base64; None if ffmpeg wrote no frame.

    Raises:
        TimeoutError: from the host's alarm.
    """
    if not isinstance(asked, dict):
        return None
    size = int(asked["width"]), int(asked["height"])
    command = [ffmpegs[int(asked["program"])], *asked["arguments"]]
    # Its standard input is the host's: what was handed over.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        try:
            chosen = None if program.stdout is None else choose(_read(program.stdout, size))
        finally:
            # It need not go on to the end.
            program.kill()
    return None if chosen is None else _write(chosen, asked)


def draw_picture(file: BinaryIO, asked: object) -> str | None:
    """Draw the poster of a picture that Pillow decodes.

    Args:
        file: all of it.
        asked: as for :func:`workers.picture_host.read_picture`.

    Returns:
        A JPEG in base64; None for what Pillow cannot read.

    Raises:
        TimeoutError: from the host's alarm.
    """
    image = decode_picture(file, asked, draft_factor=1, resample=Image.Resampling.LANCZOS)
    if image is None or not isinstance(asked, dict):
        return None
    return _write(_lay_on_paper(image), asked)


def choose(frames: Iterable[Image.Image]) -> Image.Image | None:
    """Return the first frame that is not black, or the brightest where all are; None for none."""
    best, most = None, -1
    for frame in frames:
        light = _measure_light(frame)
        if light >= _DARK:
            return frame
        if light > most:
            best, most = frame, light
    return best


def _measure_light(frame: Image.Image) -> int:
    mean = frame.convert("L").resize((1, 1), Image.Resampling.BOX).tobytes()
    return mean[0]


def _read(pipe: IO[bytes], size: tuple[int, int]) -> Iterator[Image.Image]:
    frame_bytes = 4 * size[0] * size[1]
    while len(raw := pipe.read(frame_bytes)) == frame_bytes:
        yield _lay_on_paper(Image.frombytes("RGBA", size, raw))


def _lay_on_paper(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    paper = Image.new("RGB", image.size, _PAPER)
    paper.paste(image, mask=image.getchannel("A"))
    return paper


def _write(image: Image.Image, asked: Mapping[str, object]) -> str | None:
    if asked["mirrored"]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turn = _TURNS.get(int(str(asked["rotation"])))
    if turn is not None:
        image = image.transpose(turn)
    # Nothing of what else the file held goes along.
    image.info.clear()
    for quality in _QUALITIES:
        held = io.BytesIO()
        image.save(held, "JPEG", quality=quality)
        if held.tell() <= MOST_JPEG_BYTES:
            return base64.b64encode(held.getvalue()).decode()
    return None

"""What ffmpeg is told, to make one frame of a file small and raw.

ffmpeg is given one demuxer and one protocol as ffprobe is (:mod:`workers.probe`), one decoder
thread, and no more pixels than a probe may decode. It runs where ffprobe ran. Of a file that is
handed over it reads a descriptor; an address of the store comes to it inside a graph of filters,
since that is read from a file, and everybody on a machine may read what stands among arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ingest.model import JsonObject

# A ThumbHash knows seven waves a side; three pixels for each are plenty.
FRAME_SIDE = 24
# Read at most this far for what a stream is made of; the packets of one frame come on top.
_LOOK_BYTES = 1_000_000
_QUIET = ("-v", "quiet", "-nostdin", "-nostats")
# Their headers tell all that a decoder needs; without a look at packets a frame costs half.
_TELLING = frozenset({"mp4", "mov", "matroska"})
# JPEG's decoder makes a half, a fourth or an eighth of the size at less cost.
_MOST_HALVINGS = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """Which picture of a file is to be shown, as ffprobe told it.

    ``stream`` is its index; ``group`` that of the streams which it is put together of, if it is.
    ``width`` and ``height`` are coded; players mirror it left to right where it is ``mirrored``,
    and then turn it clockwise by ``rotation`` degrees.
    """

    stream: int
    codec: str
    width: int
    height: int
    rotation: int
    mirrored: bool
    group: int | None


@dataclass(frozen=True, slots=True)
class Frame:
    """What a page may show in place of a file, and whether something shows through."""

    placeholder: str
    background: str | None
    transparent: bool


def order_from_descriptor(
    picture: Picture, demuxer: str, program: int, max_pixels: int
) -> JsonObject:
    """Return what makes a host read a frame of the file that it is handed.

    Args:
        program: which of the host's ffmpegs runs.
    """
    picture = turn_tiles(picture)
    size = fit(picture, FRAME_SIDE)
    # What it decodes beyond the first frame, while that is on its way, is for nothing.
    limits = ["-skip_frame", "nokey"]
    if picture.codec == "mjpeg":
        limits += ["-lowres", str(_count_halvings(picture))]
    arguments = read_descriptor(picture, demuxer, max_pixels, limits, _shrink(size))
    return {"frame": _make_order(picture, size, program, arguments)}


def read_descriptor(
    picture: Picture, demuxer: str, max_pixels: int, limits: Sequence[str], chain: str
) -> Sequence[str]:
    """Return the arguments that have a picture of standard input go through some filters.

    Args:
        limits: of the decoder, besides those that all have.
        chain: the filters.
    """
    limits = ["-threads", "1", "-max_pixels", str(max_pixels), "-noautorotate", *limits]
    if demuxer in _TELLING:
        limits.append("-nofind_stream_info")
    source = ["-format_whitelist", demuxer, "-protocol_whitelist", "fd", "-f", demuxer, "-i", "fd:"]
    if picture.group is not None:
        graph = f"[0:g:{picture.group}]{chain}[frame]"
        chosen = ["-filter_complex_threads", "1", "-filter_complex", graph, "-map", "[frame]"]
    else:
        chosen = ["-map", f"0:{picture.stream}", "-vf", chain, "-filter_threads", "1"]
    return [*_QUIET, *limits, *source, *chosen]


def order_picture(picture: Picture, decoder: str, max_pixels: int) -> JsonObject:
    """Return what makes a host decode a picture itself.

    Args:
        decoder: what Pillow calls it.
    """
    return {"picture": place_picture(picture, decoder, max_pixels, fit(picture, FRAME_SIDE))}


def place_picture(
    picture: Picture, decoder: str, max_pixels: int, size: tuple[int, int]
) -> JsonObject:
    """Return what a host has to know of a picture that it decodes itself."""
    return {
        "decoder": decoder,
        "coded_width": picture.width,
        "coded_height": picture.height,
        "max_pixels": max_pixels,
        **place(picture, size),
    }


def order_from_address(
    picture: Picture, demuxer: str, program: int, options: Mapping[str, str]
) -> tuple[JsonObject, str]:
    """Return what makes a host read a frame from an address, but for the graph, and the graph.

    Args:
        program: which of the host's ffmpegs runs.
        options: of the demuxer and the protocol, by name, and ``url``.

    Returns:
        The order, whose arguments want the graph as a file at standard input, and that graph.
    """
    size = fit(picture, FRAME_SIDE)
    arguments, graph = read_address(picture, demuxer, options, _shrink(size))
    return {"frame": _make_order(picture, size, program, arguments)}, graph


def read_address(
    picture: Picture, demuxer: str, options: Mapping[str, str], chain: str
) -> tuple[Sequence[str], str]:
    """Return the arguments that have a picture of an address go through some filters, and the
    graph that they want at standard input; as for :func:`order_from_address`."""
    url = options["url"]
    kept = {name: value for name, value in options.items() if name != "url"}
    kept |= {"format_whitelist": demuxer, "probesize": str(_LOOK_BYTES)}
    opening = {
        "filename": url,
        "format_name": demuxer,
        "streams": str(picture.stream),
        "dec_threads": "1",
        "format_opts": ":".join(f"{name}={_escape(value)}" for name, value in kept.items()),
    }
    source = ":".join(f"{name}={_escape(value)}" for name, value in opening.items())
    graph = f"movie={_escape_graph(source)},{chain}"
    # As an input: what stands among ffmpeg's own filters is opened twice.
    chosen = [
        "-noautorotate",
        "-f",
        "lavfi",
        "-graph_file",
        "/dev/stdin",
        "-i",
        "graph",
        "-map",
        "0:0",
    ]
    return [*_QUIET, *chosen], graph


def read_frame_answer(answer: bytes | None) -> Frame | None:
    """Return what a host answered, None where it has no frame."""
    said = {} if answer is None else json.loads(answer)
    found = said.get("frame")
    return None if found is None else Frame(**found)


def _make_order(
    picture: Picture, size: tuple[int, int], program: int, arguments: Sequence[str]
) -> JsonObject:
    written = ["-frames:v", "1", "-f", "rawvideo", "pipe:1"]
    return {"program": program, "arguments": [*arguments, *written], **place(picture, size)}


def place(picture: Picture, size: tuple[int, int]) -> JsonObject:
    """Return how large a picture comes out of a decoder, and how it is turned then."""
    return {
        "width": size[0],
        "height": size[1],
        "rotation": picture.rotation,
        "mirrored": picture.mirrored,
    }


def turn_tiles(picture: Picture) -> Picture:
    """Return a picture as ffmpeg gives it, which turns those of tiles whatever it is told."""
    if picture.group is None:
        return picture
    width, height = picture.width, picture.height
    if picture.rotation in {90, 270}:
        width, height = height, width
    return replace(picture, width=width, height=height, rotation=0, mirrored=False)


def fit(picture: Picture, longest: int) -> tuple[int, int]:
    """Return the size of a picture whose longer side is to have so many pixels."""
    longer = max(picture.width, picture.height)
    width, height = (
        max(1, round(side * longest / longer)) for side in (picture.width, picture.height)
    )
    return width, height


def _count_halvings(picture: Picture) -> int:
    """Return how often a picture can be halved and still be four times as long as its frame."""
    longer = max(picture.width, picture.height)
    return max(0, min(_MOST_HALVINGS, (longer // (4 * FRAME_SIDE)).bit_length() - 1))


def _shrink(size: tuple[int, int]) -> str:
    return f"scale={size[0]}:{size[1]}:flags=area,format=rgba"


def _escape(value: str) -> str:
    """Escape an option's value (ffmpeg-utils(1), Quoting and escaping)."""
    return "".join(f"\\{one}" if one in "\\':" else one for one in value)


def _escape_graph(value: str) -> str:
    """Escape a filter's options within a graph (ffmpeg-filters(1), on filtergraph escaping)."""
    return "".join(f"\\{one}" if one in "\\'[],;" else one for one in value)

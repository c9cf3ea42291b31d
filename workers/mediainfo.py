"""From ffprobe's JSON to what Headrace says of a file. Pure, so that it can be tested with words.

What neither ffprobe nor the file's own headers say stays None; nothing is guessed. Cover art is a
picture inside a song, not a video stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ingest.errors import ProbeFailed
from ingest.formats import AVIF, GIF, HEIC, WEBP, Format, Kind, resolve
from ingest.model import JsonObject, MediaInfo
from workers.codec_strings import join_codecs
from workers.colours import read_audio, read_color, read_hdr
from workers.frames import Picture
from workers.picture_headers import PictureHeader, read_picture_header
from workers.probed import as_count, as_integer, as_list, as_mapping, as_number, as_text
from workers.streams import (
    is_cover,
    name_stream_codec,
    read_chapters,
    read_language,
    read_rate,
    read_tags,
    show_rate,
    trim_streams,
)
from workers.turning import Turn, read_turn

_ALPHA_FORMATS = ("rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16")
# Of these ffprobe's pixel format says less, or more, than the file: GIF is always BGRA, lossless
# WebP always ARGB, and alpha may be another stream, or stand in a palette.
_PIXELS_MISLEAD = (GIF, WEBP, AVIF, HEIC)
_PALETTE = "pal8"


@dataclass(frozen=True, slots=True)
class Described:
    """A file, and which picture of it is shown; None for sound, which may have a ``cover``."""

    media: MediaInfo
    picture: Picture | None
    cover: Picture | None


@dataclass(frozen=True, slots=True)
class _Tiles:
    """A picture that is put together of streams: the group's index, and its size."""

    group: int
    width: int
    height: int


def describe(
    found: JsonObject,
    sniffed: Format,
    content: memoryview,
    *,
    is_whole: bool,
    private: Mapping[int, str],
) -> Described:
    """Describe a file.

    Args:
        found: ffprobe's ``-show_format -show_streams -show_chapters`` as JSON, and
            ``-show_stream_groups`` where it knows them.
        sniffed: the format its first bytes showed.
        content: those bytes, or all of them.
        is_whole: whether it is all of them.
        private: ffprobe's dumps of decoders' configurations, by the index of their streams.

    Raises:
        ProbeFailed: there is no stream of video, audio or image in it.
    """
    header = read_picture_header(sniffed, content, is_whole=is_whole)
    streams = [_mend_size(as_mapping(stream), header) for stream in as_list(found.get("streams"))]
    container = as_mapping(found.get("format"))
    video = _find_video(streams, sniffed)
    audio = next((s for s in streams if s.get("codec_type") == "audio"), None)
    main = video or audio
    if main is None or (sniffed.kind is Kind.IMAGE and video is None):
        raise ProbeFailed("The file has no video, audio or image in it that ffprobe can read.")
    settled = resolve(sniffed, has_video=video is not None, has_audio=audio is not None)
    still = settled.kind is Kind.IMAGE
    frames = None if video is None else _read_frames(video, header, still=still)
    animated = header.animated or (frames or 0) > 1
    moving = not still or animated
    shown = video if settled.kind is not Kind.AUDIO else None
    turn = None if shown is None else read_turn(shown) or header.turn or Turn()
    tiles = None if shown is None else _find_tiles(found, shown)
    picture = None if shown is None or turn is None else _choose_picture(shown, turn, tiles)
    width, height = _show_size(picture)
    if shown is not None and not (width and height):
        # A decoder that found no picture in what follows a right beginning.
        raise ProbeFailed("The file has a picture of no size; it is broken or cut short.")
    rate = _read_mean_rate(shown, header) if moving else None
    media = MediaInfo(
        kind=settled.kind,
        type=settled.type,
        container=sniffed.container,
        extension=settled.extension,
        codec=as_text(main.get("codec_name")),
        width=width,
        height=height,
        orientation=_name_orientation(width, height),
        rotation=None if turn is None else turn.rotation,
        transparency=_read_transparency(shown, sniffed, header),
        animated=animated if still else None,
        frames=frames,
        duration_s=_read_duration(container, main, header) if moving else None,
        fps=None if rate is None else round(float(rate), 3),
        bitrate_bps=as_integer(container.get("bit_rate")) if moving else None,
        language=read_language(main),
        streams=trim_streams(streams, private),
        codecs=join_codecs(name_stream_codec(one, private) for one in (shown, audio) if one),
        frame_rate=show_rate(rate),
        mirrored=None if turn is None else turn.mirrored,
        color=read_color(shown),
        hdr=read_hdr(shown),
        audio=read_audio(audio),
        chapters=read_chapters(found),
        tags=read_tags(container, main),
    )
    return Described(media, picture, _find_cover(streams) if shown is None else None)


def _mend_size(stream: JsonObject, header: PictureHeader) -> JsonObject:
    """Fill in the size of what ffprobe cannot decode."""
    read = {"width": header.width, "height": header.height}
    return {**stream, **{name: stream.get(name) or value for name, value in read.items() if value}}


def _find_video(streams: Sequence[JsonObject], sniffed: Format) -> JsonObject | None:
    videos = [s for s in streams if s.get("codec_type") == "video" and not is_cover(s)]
    if sniffed in {AVIF, HEIC}:
        # An animation comes with a still picture of itself, in front.
        return max(videos, key=lambda one: as_count(one.get("nb_frames")) or 0, default=None)
    return next(iter(videos), None)


def _find_cover(streams: Sequence[JsonObject]) -> Picture | None:
    cover = next((one for one in streams if is_cover(one)), None)
    return None if cover is None else _choose_picture(cover, Turn(), None)


def _find_tiles(found: JsonObject, shown: JsonObject) -> _Tiles | None:
    for group in as_list(found.get("stream_groups")):
        known = as_mapping(group)
        index = as_integer(known.get("index"))
        members = [as_mapping(one).get("index") for one in as_list(known.get("streams"))]
        if known.get("type") != "Tile Grid" or index is None or shown.get("index") not in members:
            continue
        for component in as_list(known.get("components")):
            size = as_mapping(component)
            width, height = as_count(size.get("width")), as_count(size.get("height"))
            if width and height:
                return _Tiles(index, width, height)
    return None


def _choose_picture(shown: JsonObject, turn: Turn, tiles: _Tiles | None) -> Picture | None:
    width, height = as_count(shown.get("width")), as_count(shown.get("height"))
    if tiles is not None:
        width, height = tiles.width, tiles.height
    if not (width and height):
        return None
    return Picture(
        stream=as_integer(shown.get("index")) or 0,
        codec=as_text(shown.get("codec_name")) or "",
        width=width,
        height=height,
        rotation=turn.rotation,
        mirrored=turn.mirrored,
        group=None if tiles is None else tiles.group,
    )


def _show_size(picture: Picture | None) -> tuple[int | None, int | None]:
    if picture is None:
        return None, None
    if picture.rotation in {90, 270}:
        return picture.height, picture.width
    return picture.width, picture.height


def _name_orientation(width: int | None, height: int | None) -> str | None:
    if not width or not height:
        return None
    if width == height:
        return "square"
    return "landscape" if width > height else "portrait"


def _read_transparency(
    stream: JsonObject | None, sniffed: Format, header: PictureHeader
) -> bool | None:
    if stream is None or header.alpha is not None:
        return None if stream is None else header.alpha
    pixels = as_text(stream.get("pix_fmt"))
    if pixels is None or pixels == _PALETTE or sniffed in _PIXELS_MISLEAD:
        return None
    # WebM keeps its alpha in a second stream of the same track and says so in a tag.
    tagged = as_mapping(stream.get("tags")).get("alpha_mode") == "1"
    return tagged or pixels.startswith(_ALPHA_FORMATS)


def _read_frames(stream: JsonObject, header: PictureHeader, *, still: bool) -> int | None:
    if header.animated:
        # ffprobe takes all of an animated WebP for one packet.
        return header.frames
    counted = as_integer(stream.get("nb_read_packets")) if still else None
    return counted if counted is not None else as_integer(stream.get("nb_frames"))


def _read_mean_rate(shown: JsonObject | None, header: PictureHeader) -> Fraction | None:
    if not header.animated:
        return read_rate(shown)
    if not (header.frames and header.duration_ms):
        return None
    return Fraction(1000 * header.frames, header.duration_ms)


def _read_duration(container: JsonObject, main: JsonObject, header: PictureHeader) -> float | None:
    for seconds in (as_number(container.get("duration")), as_number(main.get("duration"))):
        if seconds is not None:
            return round(seconds, 3)
    return None if header.duration_ms is None else header.duration_ms / 1000

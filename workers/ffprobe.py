"""Which ffprobe is run, and what it can."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from ingest.errors import ConfigError

_MIN_VERSION = (6, 1)


@dataclass(frozen=True, slots=True)
class Ffprobe:
    """A program.

    ``takes_files``: whether it reads an option's value from a file (ffmpeg(1)); ``reads_ahead``:
    whether it has the protocol that keeps what it has read for a while (ffmpeg-protocols(1));
    ``knows_groups``: whether it tells of pictures that are put together of tiles (version 7.0 on).
    """

    path: str
    takes_files: bool
    reads_ahead: bool
    knows_groups: bool


def find_ffprobe(name: str) -> Ffprobe:
    """Return the ffprobe of a setting.

    Args:
        name: a path, or a name to find on PATH.

    Raises:
        ConfigError: there is none, it does not run, or it is older than 6.1.
    """
    path = shutil.which(name)
    hint = "Install ffmpeg 6.1 or newer, or set HEADRACE_FFPROBE_PATH to its ffprobe."
    if path is None:
        raise ConfigError(f"There is no ffprobe at '{name}'. {hint}")
    shown = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"ffprobe version n?(\d+)\.(\d+)", shown)
    if found is not None and (int(found[1]), int(found[2])) < _MIN_VERSION:
        raise ConfigError(f"'{path}' is version {found[1]}.{found[2]}. {hint}")
    if not shown.startswith("ffprobe version"):
        raise ConfigError(f"'{path}' is no ffprobe that runs. {hint}")
    command = [path, "-/select_streams", "/dev/stdin", "-version"]
    takes_files = subprocess.run(command, input=b"v", capture_output=True, check=False)
    command = [path, "-v", "quiet", "-protocols"]
    protocols = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    command = [path, "-v", "quiet", "-sections"]
    sections = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return Ffprobe(
        path,
        takes_files=takes_files.returncode == 0,
        reads_ahead="async" in protocols.split(),
        knows_groups="stream_groups" in sections.split(),
    )

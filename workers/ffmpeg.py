"""Which ffmpeg makes frames small, and what it can."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Set
from dataclasses import dataclass

_MIN_VERSION = (6, 1)
_WAIT_S = 20
# One line of -decoders: flags, name, what it is, and the codec where its name is another one.
_DECODER = re.compile(r"^ V[.A-Z]{5} (\S+) .*?(?:\(codec (\S+)\))?$", re.MULTILINE)
# What only a graphics card decodes stands in the list of every build.
_ON_CARDS_ALONE = frozenset({"av1"})
_CARDS = ("_qsv", "_cuvid", "_v4l2m2m", "_mediacodec", "_amf", "_rkmpp")


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """A program.

    ``codecs`` are those it decodes, as ffprobe calls them; ``takes_files``: whether it reads a
    graph of filters from a file (ffmpeg-devices(1), lavfi).
    """

    path: str
    codecs: Set[str]
    takes_files: bool


def find_ffmpeg(name: str) -> Ffmpeg | str:
    """Return the ffmpeg of a setting, or why there is none that is of use.

    Args:
        name: a path, or a name to find on PATH.
    """
    path = shutil.which(name)
    if path is None:
        return f"there is no ffmpeg at '{name}'"
    try:
        shown = _run(path, "-version")
        found = re.match(r"ffmpeg version n?(\d+)\.(\d+)", shown)
        if not shown.startswith("ffmpeg version"):
            return f"'{path}' is no ffmpeg that runs"
        if found is not None and (int(found[1]), int(found[2])) < _MIN_VERSION:
            return f"'{path}' is version {found[1]}.{found[2]}, and 6.1 is needed"
        codecs = _list_codecs(_run(path, "-v", "quiet", "-decoders"))
        graph = ["-f", "lavfi", "-graph_file", "/dev/stdin", "-i", "graph"]
        takes_files = subprocess.run(
            [path, "-v", "quiet", *graph, "-frames:v", "1", "-f", "null", "-"],
            input=b"color=s=2x2:d=0.04",
            capture_output=True,
            check=False,
            timeout=_WAIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"'{path}' does not run"
    return Ffmpeg(path, codecs, takes_files=takes_files.returncode == 0)


def _run(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=_WAIT_S
    ).stdout


def _list_codecs(shown: str) -> frozenset[str]:
    codecs = set()
    for name, codec in _DECODER.findall(shown):
        if name not in _ON_CARDS_ALONE and not name.endswith(_CARDS):
            codecs.add(codec or name)
    return frozenset(codecs)

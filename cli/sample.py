"""A short real video, so that the first ingest needs no internet: colour bars and a tone.

Invariant: the file appears whole or not at all, and is made once a home.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from cli.binaries import find_ffmpegs
from cli.problems import SetupProblem

SAMPLE_NAME = "sample.mp4"
_DURATION_S = 5
_LIMIT_S = 60


def make_sample(directory: Path) -> Path:
    """Return 5 seconds of 1280x720 H.264 and AAC, made with ffmpeg on the first call.

    Raises:
        SetupProblem: there is no ffmpeg, or none that can encode it.
    """
    target = directory / SAMPLE_NAME
    if target.exists():
        return target
    # Two processes may make it at once; each its own, and the last one stays.
    unfinished = directory / f"sample-{os.getpid()}.new.mp4"
    complaint = ""
    for ffmpeg in find_ffmpegs():
        ran = subprocess.run(
            [ffmpeg.path, *_ARGUMENTS, unfinished],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
        if ran.returncode == 0:
            return unfinished.replace(target)
        complaint = f"{ffmpeg.path}: {ran.stderr.strip()[-500:]}"
    raise SetupProblem(f"ffmpeg could not make the sample. {complaint}")


_ARGUMENTS = [
    *("-hide_banner", "-loglevel", "error", "-y"),
    *("-f", "lavfi", "-i", f"smptehdbars=size=1280x720:rate=30:duration={_DURATION_S}"),
    *("-f", "lavfi", "-i", f"sine=frequency=440:duration={_DURATION_S}"),
    *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"),
    *("-c:a", "aac", "-b:a", "128k", "-shortest", "-movflags", "+faststart"),
]

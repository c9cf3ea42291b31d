"""SeaweedFS as a child of the local stack: `weed mini`, the S3 server.

Invariants: it listens on 127.0.0.1 alone, sends no telemetry, and every port is named, because
those that are not move silently when they are taken.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cli.binaries import Binary
from cli.child import ChildPlan
from cli.home import Home, Secrets
from cli.ports import GRPC_OFFSET, LOOPBACK
from ingest.environ import make_child_environ

BUCKET = "media"
_WITH_SOCKET = ("s3", "filer")


def is_usable(role: str, port: int) -> bool:
    """Return whether a part of SeaweedFS could use a port that is free.

    It could not where another user's SeaweedFS left its gRPC socket behind: the name is fixed, and
    whoever finds the socket talks to nobody.
    """
    socket = Path(f"/tmp/seaweedfs-{role}-grpc-{port + GRPC_OFFSET}.sock")  # noqa: S108
    try:
        return os.geteuid() in {0, socket.stat().st_uid}
    except FileNotFoundError:
        return True


def plan(home: Home, binary: Binary, ports: Mapping[str, int], secrets: Secrets) -> ChildPlan:
    """Return how SeaweedFS runs.

    Args:
        home: where its data goes.
        binary: `weed`.
        ports: one each for ``s3``, ``filer``, ``master``, ``volume`` and ``admin``; the gRPC port
            of each is 10,000 above.
        secrets: the S3 key pair it takes.
    """
    directory = home.path / "seaweedfs"
    directory.mkdir(exist_ok=True)
    named = [f"-{role}.port={port}" for role, port in ports.items()]
    named += [f"-{role}.port.grpc={port + GRPC_OFFSET}" for role, port in ports.items()]
    # By default in /tmp under a name that another user may have left behind, which is fatal. Not in
    # the home, whose path may be longer than a socket's can be.
    sockets = f"{tempfile.gettempdir()}/headrace-{os.geteuid()}"
    named += [f"-{role}.localSocket={sockets}-{role}-{ports[role]}.sock" for role in _WITH_SOCKET]
    return ChildPlan(
        name="seaweedfs",
        arguments=[
            binary.path,
            # Or it leaves files in the temporary directory at every start.
            "-logtostderr",
            "mini",
            f"-dir={directory}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-bucket={BUCKET}",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-volume.preStopSeconds=0",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *named,
        ],
        environ=make_child_environ(
            {
                "AWS_ACCESS_KEY_ID": secrets.s3_access_key_id,
                "AWS_SECRET_ACCESS_KEY": secrets.s3_secret_access_key,
            }
        ),
        log=home.logs / "seaweedfs.log",
        is_ready=lambda _: _serves(ports),
        # After a minute of life its filer waits 10 s for a subscriber that is part of itself. What
        # it has acknowledged is in its files long before; the roles have ended by then.
        grace_s=4,
        # Remembered options of an earlier start would speak against the ones given here.
        before_start=lambda: (directory / "mini.options").unlink(missing_ok=True),
    )


def _serves(ports: Mapping[str, int]) -> bool:
    from cli.client import fetch_json, fetch_status

    s3, filer, master = (f"http://{LOOPBACK}:{ports[role]}" for role in ("s3", "filer", "master"))
    if fetch_status(f"{s3}/healthz") != 200 or fetch_status(f"{filer}/buckets/{BUCKET}/") != 200:
        return False
    # On a busy machine the volume server may report to the master seconds after S3 says it is
    # well; until then every object that is stored already answers 500.
    topology = (fetch_json(f"{master}/dir/status") or {}).get("Topology")
    return isinstance(topology, dict) and bool(topology.get("DataCenters"))

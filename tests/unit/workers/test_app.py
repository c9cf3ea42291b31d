"""What an ingest works with, as it is built: nothing is opened by it."""

from __future__ import annotations

import socket
import subprocess
import threading
from multiprocessing.process import BaseProcess
from typing import cast

import pytest

from ingest.environ import load_settings
from workers.app import build_tools
from workers.probe import Prober

SETTINGS = load_settings(
    {
        "HEADRACE_DATABASE_URL": "postgresql://headrace@127.0.0.1:1/headrace",
        "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
        "HEADRACE_S3_BUCKET": "media",
        "HEADRACE_S3_ENDPOINT": "http://127.0.0.1:1",
        "HEADRACE_S3_ACCESS_KEY_ID": "key",
        "HEADRACE_S3_SECRET_ACCESS_KEY": "secret",
    }
)


def test_tools_with_another_prober_are_built_without_a_connection_or_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    for place, name in (
        (socket.socket, "connect"),
        (subprocess, "Popen"),
        (BaseProcess, "start"),
        (threading.Thread, "start"),
    ):
        monkeypatch.setattr(place, name, refuse)
    prober = cast("Prober", object())
    tools = build_tools(SETTINGS, "worker", prober)
    assert tools.prober is prober
    assert tools.leases.worker == "worker"

"""What the servers are started with: the loopback, every port by name, nothing sent home."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import seaweedfs, valkey
from cli.binaries import Binary
from cli.home import Home

PORTS = {"s3": 8333, "filer": 8888, "master": 9333, "volume": 9340, "admin": 23646}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a space and a quote in its path."""
    made = Home(tmp_path / 'a "home"')
    made.prepare()
    return made


def test_seaweedfs_gets_every_port_by_name(home: Home) -> None:
    plan = seaweedfs.plan(home, _binary("weed"), PORTS, home.load_secrets())
    arguments = [str(argument) for argument in plan.arguments]
    for role, port in PORTS.items():
        assert f"-{role}.port={port}" in arguments
        assert f"-{role}.port.grpc={port + 10_000}" in arguments


def test_seaweedfs_stays_on_the_loopback_and_tells_nobody(home: Home) -> None:
    plan = seaweedfs.plan(home, _binary("weed"), PORTS, home.load_secrets())
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"} <= set(plan.arguments)


def test_secrets_stand_in_no_command_line(home: Home) -> None:
    secrets = home.load_secrets()
    plans = [
        seaweedfs.plan(home, _binary("weed"), PORTS, secrets),
        valkey.plan(home, _binary("valkey-server"), 6379, secrets),
    ]
    shown = " ".join(str(argument) for plan in plans for argument in plan.arguments)
    assert not [secret for secret in secrets.model_dump().values() if secret in shown]


def test_options_that_seaweedfs_remembered_are_forgotten_before_a_start(home: Home) -> None:
    plan = seaweedfs.plan(home, _binary("weed"), PORTS, home.load_secrets())
    remembered = home.path / "seaweedfs" / "mini.options"
    remembered.write_text("s3.port=1\n")
    plan.before_start()
    assert not remembered.exists()


def test_valkey_keeps_everything_behind_a_password(home: Home) -> None:
    secrets = home.load_secrets()
    valkey.plan(home, _binary("valkey-server"), 6379, secrets)
    config = (home.path / "valkey.conf").read_text().splitlines()
    assert {
        "bind 127.0.0.1",
        "appendonly yes",
        "maxmemory-policy noeviction",
        f"requirepass {secrets.valkey_password}",
    } <= set(config)
    assert 'a \\"home\\"' in next(line for line in config if line.startswith("dir"))


def _binary(name: str) -> Binary:
    return Binary(name, Path("/opt") / name, (99,), "on PATH")

"""Every failure is one line that says what to do, and an exit code that a script can use."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from cli.problems import ExitCode


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home where nothing runs, and no settings."""
    for name in ("HEADRACE_URL", "HEADRACE_KEY", "HEADRACE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / ".headrace"))


def run(*arguments: str) -> Result:
    """Run the command line."""
    return CliRunner().invoke(main, list(arguments))


def test_help_lists_every_exit_code() -> None:
    text = run("--help").stdout
    assert [
        line.split()[0] for line in text.split("Exit codes:")[1].split("\n") if line.strip()
    ] == [str(code.value) for code in ExitCode]


@pytest.mark.parametrize("name", main.list_commands(click.Context(main)))
def test_every_command_has_help_of_its_own(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == ExitCode.OK
    assert "Usage: main " + name in result.stdout.replace("headrace", "main")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("up", "--workers", "0"),
        ("tasks", "list", "--status", "done"),
        ("tasks", "get"),
        ("tasks", "cancel"),
        ("tasks", "retry"),
        ("tasks", "redirect", "task_x"),
    ],
)
def test_a_wrong_command_line_exits_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks", "list"),
        ("tasks", "cancel", "task_x"),
        ("tasks", "retry", "task_x"),
        ("tasks", "redirect", "task_x", "https://example.com/a.mp4"),
        ("files", "get", "file_x"),
        ("env",),
        ("status",),
    ],
)
def test_without_a_service_client_commands_exit_4_and_name_headrace_up(
    arguments: tuple[str, ...],
) -> None:
    result = run(*arguments)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert result.stdout == ""
    assert "headrace up" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("keys", "list"), ("keys", "create", "a"), ("projects", "list"), ("migrate",)],
)
def test_without_a_database_its_commands_exit_5_and_name_the_setting(
    arguments: tuple[str, ...],
) -> None:
    result = run(*arguments)
    assert result.exit_code == ExitCode.SETUP
    assert "HEADRACE_DATABASE_URL" in result.stderr


def test_an_address_without_a_key_exits_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_URL", "http://127.0.0.1:1")
    result = run("tasks", "list")
    assert result.exit_code == ExitCode.SETUP
    assert "HEADRACE_KEY" in result.stderr


def test_a_remote_service_has_no_sample_to_ingest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HEADRACE_KEY", "hr_x")
    result = run("ingest")
    assert result.exit_code == ExitCode.USAGE
    assert "Give a URL" in result.stderr


def test_down_where_nothing_runs_is_no_failure() -> None:
    result = run("down")
    assert result.exit_code == ExitCode.OK
    assert "Nothing runs" in result.stderr


def test_status_as_json_is_json_even_where_nothing_runs() -> None:
    result = run("status", "--json")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert '"running": false' in result.stdout

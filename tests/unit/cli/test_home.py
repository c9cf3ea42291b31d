"""A home keeps secrets, state and a lock, each so that nothing is lost or read by others."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cli.home import Home, StackState
from cli.problems import SetupProblem
from cli.processes import ProcessMark


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A fresh home."""
    made = Home(tmp_path / ".headrace")
    made.prepare()
    return made


def test_secrets_are_made_once_and_read_by_their_owner_alone(home: Home) -> None:
    first = home.load_secrets()
    assert home.load_secrets() == first
    assert _mode(home.path / "secrets.json") == 0o600
    assert len({first.postgres_password, first.valkey_password, first.s3_secret_access_key}) == 3


def test_damaged_secrets_are_not_replaced_because_the_data_needs_them(home: Home) -> None:
    (home.path / "secrets.json").write_text("{")
    with pytest.raises(SetupProblem, match="damaged"):
        home.load_secrets()
    assert (home.path / "secrets.json").read_text() == "{"


def test_only_one_holder_at_a_time_has_a_home(home: Home) -> None:
    with (
        home.hold(),
        pytest.raises(SetupProblem, match="already"),
        Home(home.path).hold(),
    ):
        pass
    with home.hold():
        pass


def test_state_is_read_back_as_it_was_written(home: Home) -> None:
    state = StackState(
        supervisor=ProcessMark(pid=7, created=1.5),
        ready=True,
        api_url="http://127.0.0.1:8000",
        ports={"api": 8000},
        environ={"HEADRACE_REDIS_URL": "redis://:secret@127.0.0.1:6379/0"},
        processes={"api": ProcessMark(pid=8, created=2.5)},
    )
    home.write_state(state)
    assert home.read_state() == state
    assert _mode(home.state_file) == 0o600


@pytest.mark.parametrize("text", ["", "{", '{"ports": 7}'])
def test_an_unreadable_state_counts_as_none(home: Home, text: str) -> None:
    home.state_file.write_text(text)
    assert home.read_state() == StackState()


def test_a_home_that_cannot_be_made_says_how_to_choose_another(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupProblem, match="HEADRACE_HOME"):
        Home(tmp_path / "file" / ".headrace").prepare()


def test_a_home_is_closed_to_others(home: Home) -> None:
    assert _mode(home.path) == 0o700


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)

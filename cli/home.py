"""The directory a local stack lives in: data, logs, secrets, and what runs now.

Invariants: one running stack a home (an flock that ends with its holder); secrets are made once and
only their owner reads them; `stack.json` is replaced whole, never half written, and names each
process by pid and time of creation, so that a pid used again by somebody else is not mistaken.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ValidationError

from cli.problems import SetupProblem
from cli.processes import ProcessMark, is_alive
from ingest.environ import read_client_variable

DEFAULT_HOME = ".headrace"


class StackState(BaseModel):
    """What runs in a home, and the ports and addresses it uses."""

    supervisor: ProcessMark | None = None
    ready: bool = False
    api_url: str | None = None
    sample_url: str | None = None
    ports: dict[str, int] = {}
    environ: dict[str, str] = {}
    processes: dict[str, ProcessMark] = {}


class Secrets(BaseModel):
    """What the local servers are locked with."""

    postgres_password: str
    valkey_password: str
    s3_access_key_id: str
    s3_secret_access_key: str
    # Homes of before have none.
    secret_key: str = ""


class Home:
    """Paths and small files of one home.

    Args:
        path: the directory; made on first use, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self.state_file = self.path / "stack.json"

    def prepare(self) -> None:
        """Make the directories. Raises SetupProblem where that is not possible."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise SetupProblem(
                f"{self.path} cannot be used ({error.strerror}). Set HEADRACE_HOME to another."
            ) from None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one stack of this home. Raises SetupProblem if another process is."""
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise SetupProblem(
                    f"A stack runs in {self.path} already. "
                    "See `headrace status`; stop it with `headrace down`."
                ) from None
            yield
        finally:
            os.close(handle)

    def load_secrets(self) -> Secrets:
        """Return the secrets of this home, made on the first call."""
        path = self.path / "secrets.json"
        if path.exists():
            try:
                found = Secrets.model_validate_json(path.read_bytes())
            except ValidationError:
                raise SetupProblem(f"{path} is damaged; the data here needs it.") from None
            if found.secret_key:
                return found
            return self._write_secrets(found.model_copy(update={"secret_key": make_secret_key()}))
        made = Secrets(
            postgres_password=secrets.token_hex(20),
            valkey_password=secrets.token_hex(20),
            s3_access_key_id="headrace" + secrets.token_hex(6),
            s3_secret_access_key=secrets.token_hex(20),
            secret_key=make_secret_key(),
        )
        return self._write_secrets(made)

    def _write_secrets(self, made: Secrets) -> Secrets:
        self.write_private("secrets.json", made.model_dump_json(indent=2))
        return made

    def read_key(self) -> str | None:
        """Return the API key kept here, or None."""
        try:
            return (self.path / "key").read_text().strip() or None
        except FileNotFoundError:
            return None

    def write_private(self, name: str, text: str) -> Path:
        """Write a file that only its owner reads, whole or not at all."""
        target = self.path / name
        unfinished = self.path / f"{name}.new"
        unfinished.unlink(missing_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        unfinished.replace(target)
        return target

    def read_state(self) -> StackState:
        """Return what was last written about the stack; empty if nothing readable was."""
        try:
            return StackState.model_validate_json(self.state_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return StackState()

    def write_state(self, state: StackState) -> None:
        """Replace `stack.json`."""
        self.write_private(self.state_file.name, json.dumps(state.model_dump(), indent=2))

    def find_running(self) -> StackState | None:
        """Return the state if its supervisor lives, else None."""
        state = self.read_state()
        return state if state.supervisor is not None and is_alive(state.supervisor) else None


def make_secret_key() -> str:
    """Return a new key for ``HEADRACE_SECRET_KEYS``."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def find_home() -> Home:
    """Return the home that `HEADRACE_HOME` names, or `.headrace` in the current directory."""
    return Home(Path(read_client_variable("HEADRACE_HOME") or DEFAULT_HOME))

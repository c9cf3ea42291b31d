"""PostgreSQL as a child of the local stack, from making its data directory to its database.

Invariants: it listens on 127.0.0.1 alone and wants a password; fsync stays on; it never runs as
root, and nobody's permissions are loosened for that.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from cli.binaries import Binary
from cli.child import ChildPlan
from cli.home import Home
from cli.ports import LOOPBACK
from cli.problems import SetupProblem
from ingest.environ import make_child_environ

DATABASE = "headrace"
# initdb makes it; it is there before our own.
ADMIN_DATABASE = "postgres"
_USER = "headrace"
_INITDB_TIMEOUT_S = 120
# The user PostgreSQL runs as when root starts it; it refuses to run as root.
_UNPRIVILEGED = "nobody"


def make_url(password: str, port: int, database: str = DATABASE) -> str:
    """Return the URL of a database of the stack's own PostgreSQL."""
    return f"postgresql://{_USER}:{password}@{LOOPBACK}:{port}/{database}"


def read_major(home: Home) -> int | None:
    """Return the PostgreSQL major that made this home's data, or None if there is none yet."""
    try:
        return int((_directory(home) / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def init_data(home: Home, binary: Binary, password: str) -> None:
    """Make the data directory unless it is there; a half-made one is made anew.

    Raises:
        SetupProblem: initdb failed, or root has no way to step down to another user.
    """
    target = _directory(home)
    if target.exists():
        return
    unfinished = home.path / "postgres.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if os.geteuid() == 0:
        user = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(unfinished, user.pw_uid, user.pw_gid)
    password_file = home.write_private("postgres-password", password)
    try:
        ran = subprocess.run(
            [
                *_step_down(),
                binary.path.parent / "initdb",
                f"--pgdata={unfinished}",
                f"--username={_USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
            ],
            env=make_child_environ({}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_INITDB_TIMEOUT_S,
            check=False,
        )
    finally:
        password_file.unlink()
    if ran.returncode != 0:
        raise SetupProblem(f"initdb failed:\n{(ran.stderr or ran.stdout).strip()}")
    unfinished.rename(target)


def plan(home: Home, binary: Binary, port: int, database_url: str) -> ChildPlan:
    """Return how PostgreSQL runs. ``database_url`` is of a database that always exists."""
    return ChildPlan(
        name="postgres",
        arguments=[
            *_step_down(),
            binary.path,
            "-D",
            _directory(home),
            *_settings(port=str(port), listen_addresses=LOOPBACK, unix_socket_directories=""),
        ],
        environ=make_child_environ({}),
        log=home.logs / "postgres.log",
        is_ready=lambda _: _accepts_connections(database_url),
        # Fast shutdown. SIGTERM would wait for every client to leave.
        stop_signal=signal.SIGINT,
        grace_s=20,
    )


def create_database(admin_url: str, name: str = DATABASE) -> None:
    """Create a database unless it exists.

    Args:
        admin_url: of a database that exists.
        name: the database to make.
    """
    import psycopg
    from psycopg import errors, sql

    with psycopg.connect(admin_url, autocommit=True, connect_timeout=5) as connection:
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except errors.DuplicateDatabase:
            return


def _directory(home: Home) -> Path:
    return home.path / "postgres"


def _step_down() -> list[str]:
    """Return the command prefix that leaves root; empty for anybody else.

    The capability lets PostgreSQL through directories that only root may enter, such as a home
    under /root, so that nobody's permissions have to be loosened.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise SetupProblem(
            "PostgreSQL refuses to run as root, and `setpriv` (util-linux) is not here to run it "
            "as another user. Run headrace as an ordinary user, or set HEADRACE_DATABASE_URL."
        )
    group = grp.getgrgid(pwd.getpwnam(_UNPRIVILEGED).pw_gid).gr_name
    return [
        setpriv,
        f"--reuid={_UNPRIVILEGED}",
        f"--regid={group}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]


def _settings(**values: str) -> list[str]:
    return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


def _accepts_connections(database_url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(database_url, connect_timeout=2).close()
    except psycopg.OperationalError as error:
        # It went as far as the password, so it is neither down nor still starting.
        if error.pgconn is not None and error.pgconn.used_password:
            raise SetupProblem(
                "PostgreSQL refuses the password in this home's secrets.json: it belongs to other "
                "data. Put the right one back, or move the home's postgres directory away."
            ) from None
        return False
    return True

"""The local stack: real servers and Headrace's own roles on one machine, no root and no Docker.

``start`` returns when everything answers; ``stop`` ends the roles first and then the servers, each
in good order. The tests start the same stack. Invariants: a server that the settings name is used
and none is started in its place; what an earlier supervisor left behind is stopped before anything
new starts; ports, secrets and data outlive the stack.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cli import postgres, roles, seaweedfs, valkey
from cli.child import Child, ChildPlan
from cli.home import Home, StackState
from cli.layout import (
    WEED_ROLES,
    Layout,
    draw_layout,
    find_binaries,
    name_worker,
    take_metrics_port,
)
from cli.leftovers import stop_leftovers
from cli.origin import SampleOrigin
from cli.ports import LOOPBACK, PortLedger
from cli.problems import SetupProblem
from cli.processes import mark_process
from cli.project import ensure_key
from cli.supervisor import Supervisor
from ingest.environ import read_operator_environ
from ingest.errors import DatabaseUnavailable

_READY_S = 60.0
_GLANCE_S = 0.2
_SERVER_NAMES = frozenset({"seaweedfs", "valkey", "postgres"})


class LocalStack:
    """Everything that `headrace up` runs; a context manager that starts and stops it, once.

    Args:
        home: the directory of data, logs and secrets.
        extra_environ: settings on top of this process's own, as HEADRACE_ variables.
        allow_addresses: private `ip:port` sources that workers may fetch from.
        workers: how many workers run; they are called worker, worker-2, …
        with_roles: whether API, workers, sender and beat run, or the migrated servers alone.
        say: takes one line for a person.
    """

    def __init__(
        self,
        home: Path,
        *,
        extra_environ: Mapping[str, str] | None = None,
        allow_addresses: Iterable[str] = (),
        workers: int = 1,
        with_roles: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.home = Home(home)
        self._extra_environ = dict(extra_environ or {})
        self._allow_addresses = tuple(allow_addresses)
        self._worker_count = workers
        self._with_roles = with_roles
        self._say = say
        self._supervisor = Supervisor(say, self._write_state)
        self._held = ExitStack()
        self._ledger = PortLedger()
        self._layout: Layout | None = None
        self._origin: SampleOrigin | None = None
        self._metrics_ports: dict[str, int] = {}
        self._key: str | None = None
        self._ready = False
        self._state_lock = threading.Lock()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def environ(self) -> dict[str, str]:
        """The settings of the running services, as HEADRACE_ variables."""
        return dict(self._drawn.environ)

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return self._drawn.api_url

    @property
    def api_key(self) -> str:
        """A key that the API takes."""
        if self._key is None:
            raise SetupProblem("The stack is not up.")
        return self._key

    @property
    def sample_url(self) -> str:
        """Where the stack serves a sample video that its workers may fetch."""
        if self._origin is None:
            raise SetupProblem("The stack is not up.")
        return self._origin.url

    @property
    def stop_asked(self) -> bool:
        """Whether :meth:`ask_stop` was called."""
        return self._supervisor.stop_asked

    @property
    def processes(self) -> dict[str, int]:
        """The pids of the children that run now, by name."""
        children = self._supervisor.children.items()
        return {name: child.pid for name, child in children if child.pid is not None}

    def start(self) -> None:
        """Start everything and return when all of it answers.

        Raises:
            SetupProblem: something is missing, taken or broken; the message says what to do.
            Interrupted: :meth:`ask_stop` was called meanwhile.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop what runs, roles before servers. Does nothing if nothing does."""
        self._held.close()

    def ask_stop(self) -> None:
        """End :meth:`start` or :meth:`wait`; once more, and children get no grace.

        Safe in a signal handler; :meth:`stop` still has to be called.
        """
        self._supervisor.ask_stop()

    def wait(self) -> None:
        """Return when a stop was asked for. Raises SetupProblem when a child was given up."""
        while not self._supervisor.stop_asked:
            self._supervisor.check()
            self._supervisor.wait_for_news(_GLANCE_S)

    def kill(self, name: str) -> None:
        """Kill a child's process group; returns when it is dead. Supervision starts it again."""
        pid = self.processes.get(name)
        self._find(name).kill()
        self._supervisor.wait_ended(name, pid, _READY_S)

    def restart(self, name: str) -> None:
        """End a child in good order and return when its successor answers."""
        pid = self.processes.get(name)
        self._find(name).restart()
        self.wait_ready(name, after_pid=pid)

    def stop_child(self, name: str) -> None:
        """End a child and leave it so, until :meth:`start_child`."""
        self._supervisor.stop([name])

    def start_child(self, name: str) -> None:
        """Start a child that :meth:`stop_child` ended; returns when it answers."""
        self._find(name).start()
        self._supervisor.wait_ready([name], _READY_S)

    def wait_ready(self, name: str, *, after_pid: int | None = None) -> None:
        """Return when a child answers; with ``after_pid``, when its successor does."""
        self._supervisor.wait_ended(name, after_pid, _READY_S)
        self._supervisor.wait_ready([name], _READY_S)

    def add_worker(self) -> str:
        """Start one more worker; returns its name when it answers."""
        self._worker_count += 1
        plan = self._plan_worker(self._worker_count)
        self._supervisor.start([plan])
        self._supervisor.wait_ready([plan.name], _READY_S)
        return plan.name

    @property
    def _drawn(self) -> Layout:
        if self._layout is None:
            raise SetupProblem("The stack is not up.")
        return self._layout

    def _start(self) -> None:
        self._held.callback(self._ledger.close)
        self.home.prepare()
        self._held.enter_context(self.home.hold())
        stop_leftovers(self.home.read_state(), self._say)
        given = {**read_operator_environ(), **self._extra_environ}
        binaries = find_binaries(self.home, given)
        for line in binaries.describe():
            self._say(line)
        self._layout = draw_layout(self.home, given, binaries, self._ledger, self._allow_addresses)
        self._held.callback(self._shut_down)
        # What takes long to import, here and in the API, does so while the servers start.
        threading.Thread(target=_import_early, daemon=True).start()
        self._start_api(self._layout)
        self._start_servers(self._layout)
        self._migrate(self._layout)
        self._start_origin(self._layout)
        self._start_workers(self._layout)
        self._supervisor.wait_ready(self._supervisor.children, _READY_S)
        self._ready = True
        self._write_state()

    def _start_servers(self, layout: Layout) -> None:
        binaries, secrets, ports = layout.binaries, layout.secrets, layout.ports
        plans: list[ChildPlan] = []
        if binaries.weed is not None:
            weed_ports = {role: ports[role] for role in WEED_ROLES}
            plans.append(seaweedfs.plan(self.home, binaries.weed, weed_ports, secrets))
        if binaries.valkey is not None:
            plans.append(valkey.plan(self.home, binaries.valkey, ports["valkey"], secrets))
        self._supervisor.start(plans)
        if binaries.postgres is not None:
            postgres.init_data(self.home, binaries.postgres, secrets.postgres_password)
            admin_url = postgres.make_url(
                secrets.postgres_password, ports["postgres"], postgres.ADMIN_DATABASE
            )
            plan = postgres.plan(self.home, binaries.postgres, ports["postgres"], admin_url)
            self._supervisor.start([plan])
            self._supervisor.wait_ready([plan.name], _READY_S)
            postgres.create_database(admin_url)
        self._supervisor.wait_ready([plan.name for plan in plans], _READY_S)

    def _migrate(self, layout: Layout) -> None:
        from storage.migrations import migrate

        try:
            migrate(layout.settings.sqlalchemy_url)
            self._key = ensure_key(self.home, layout.settings)
        except DatabaseUnavailable as error:
            raise SetupProblem(f"{error.message} Check HEADRACE_DATABASE_URL.") from error

    def _start_api(self, layout: Layout) -> None:
        if self._with_roles:
            grace_s = layout.settings.shutdown_grace_s
            plan = roles.plan_api(self.home, layout.environ, layout.api_url, grace_s)
            self._supervisor.start([plan])

    def _start_workers(self, layout: Layout) -> None:
        if self._with_roles:
            numbers = range(1, self._worker_count + 1)
            self._supervisor.start(self._plan_worker(number) for number in numbers)
            self._supervisor.start([self._plan_sender()])
            self._supervisor.start([roles.plan_beat(self.home, layout.environ)])

    def _start_origin(self, layout: Layout) -> None:
        self._origin = SampleOrigin(self.home.path, layout.sample_port)
        self._held.callback(self._origin.close)

    def _plan_worker(self, number: int) -> ChildPlan:
        name = name_worker(number)
        layout = self._drawn
        return roles.plan_worker(
            self.home,
            name,
            self._add_metrics(name, "HEADRACE_WORKER_METRICS_BIND", is_first=number == 1),
            layout.settings.redis_url.get_secret_value(),
            layout.settings.shutdown_grace_s,
        )

    def _plan_sender(self) -> ChildPlan:
        layout = self._drawn
        return roles.plan_sender(
            self.home,
            self._add_metrics("sender", "HEADRACE_SENDER_METRICS_BIND", is_first=True),
            layout.settings.redis_url.get_secret_value(),
            layout.settings.shutdown_grace_s,
        )

    def _add_metrics(self, name: str, variable: str, *, is_first: bool) -> dict[str, str]:
        """Return the settings of a child with a place for its metrics: one of its own, unless it is
        the first of its role and the settings name one."""
        environ = dict(self._drawn.environ)
        if not is_first or variable not in environ:
            port = take_metrics_port(self._ledger, name, self.home.read_state().ports)
            environ[variable] = f"{LOOPBACK}:{port}"
            self._metrics_ports[f"{name}-metrics"] = port
        return environ

    def _shut_down(self) -> None:
        names = list(reversed(self._supervisor.children))
        self._ready = False
        self._supervisor.stop(name for name in names if name not in _SERVER_NAMES)
        self._supervisor.stop(name for name in names if name in _SERVER_NAMES)
        self._write_state()
        self._supervisor.children.clear()

    def _find(self, name: str) -> Child:
        try:
            return self._supervisor.children[name]
        except KeyError:
            known = ", ".join(self._supervisor.children) or "none"
            raise SetupProblem(f"No child is called {name}. There are: {known}.") from None

    def _write_state(self) -> None:
        layout = self._drawn
        with self._state_lock:
            marks = {name: mark_process(pid) for name, pid in self.processes.items()}
            self.home.write_state(
                StackState(
                    supervisor=mark_process(os.getpid()) if marks else None,
                    ready=self._ready,
                    api_url=layout.api_url if marks else None,
                    sample_url=self._origin.url if marks and self._origin is not None else None,
                    ports={**layout.ports, **self._metrics_ports},
                    environ=dict(layout.environ) if marks else {},
                    processes={name: mark for name, mark in marks.items() if mark is not None},
                )
            )


def _import_early() -> None:
    import cli.client  # noqa: F401
    import storage.migrations
    import storage.signals  # noqa: F401

"""Several children as one: started together, waited for, stopped in order.

Invariant: whoever waits for readiness is woken by a child that was given up, and hears why with the
last lines of its log, instead of waiting for a time limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from cli.child import Child, ChildPlan, Stage
from cli.problems import Interrupted, SetupProblem

_POLL_S = 0.04


class Supervisor:
    """The children of one stack, in the order they were started.

    Args:
        say: takes one line for a person.
        changed: called after each start and end of a child, from any thread.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._news = threading.Event()
        # A plain number: a signal handler may interrupt the very lock that an Event would take.
        self._stops_asked = 0
        self.children: dict[str, Child] = {}

    def start(self, plans: Iterable[ChildPlan]) -> None:
        """Start children without waiting for them. Raises SetupProblem if one cannot be run."""
        for plan in plans:
            child = Child(plan, self._say, self._notice)
            self.children[plan.name] = child
            try:
                child.start()
            except OSError as error:
                raise SetupProblem(f"{plan.arguments[0]} cannot be run: {error}") from None

    def wait_ready(self, names: Iterable[str], timeout_s: float) -> None:
        """Return once each of these children answers.

        Raises:
            SetupProblem: one was given up, or does not answer in time.
            Interrupted: :meth:`ask_stop` was called meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        waiting = [self.children[name] for name in names]
        while waiting:
            self._news.clear()
            self.check()
            if self.stop_asked:
                raise Interrupted("Stopped before it was up.")
            waiting = [child for child in waiting if not child.is_ready()]
            if waiting and time.monotonic() > deadline:
                raise SetupProblem(_explain(waiting[0], f"does not answer after {timeout_s:g} s"))
            if waiting:
                self._news.wait(_POLL_S)

    def wait_ended(self, name: str, pid: int | None, timeout_s: float) -> None:
        """Return once a child no longer runs under ``pid``.

        Raises:
            SetupProblem: it still does when the time is over.
        """
        deadline = time.monotonic() + timeout_s
        child = self.children[name]
        while pid is not None and child.pid == pid:
            if time.monotonic() > deadline:
                raise SetupProblem(_explain(child, f"did not end within {timeout_s:g} s"))
            self._news.clear()
            self._news.wait(_POLL_S)

    def check(self) -> None:
        """Raise SetupProblem if a child was given up."""
        for child in self.children.values():
            if child.stage is Stage.GIVEN_UP:
                raise SetupProblem(_explain(child, "ends as soon as it is started"))

    def wait_for_news(self, timeout_s: float) -> None:
        """Return when a child started or ended, or the time is over."""
        self._news.wait(timeout_s)
        self._news.clear()

    def ask_stop(self) -> None:
        """Make waits end; a second call takes away every grace. Safe in a signal handler."""
        self._stops_asked += 1

    @property
    def stop_asked(self) -> bool:
        """Whether :meth:`ask_stop` was called."""
        return self._stops_asked > 0

    def stop(self, names: Iterable[str]) -> None:
        """Stop these children: each is asked, in this order, then all are waited for."""
        chosen = [self.children[name] for name in names if name in self.children]
        for child in chosen:
            child.begin_stop()
        for child in chosen:
            child.finish_stop(lambda: self._stops_asked > 1)

    def _notice(self) -> None:
        self._news.set()
        self._changed()


def _explain(child: Child, what: str) -> str:
    tail = child.read_log_tail()
    return f"{child.plan.name} {what}. The last lines of {child.plan.log}:\n{tail or '(empty)'}"

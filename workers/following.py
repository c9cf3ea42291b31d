"""A slot that is done takes the next message itself, for as long as there is one.

What lies between two messages in Celery (its loop, kombu's channel, the tap, the pool, the trace)
costs as much as everything else that a worker does for a small file. From here it is one RPOP of
the same list, and what is to be said of the task that has ended goes the same way. Invariants:
messages are taken one at a time, in their order, by a slot that is free, as Celery would; what is
stopping takes none.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.errors import RedisUnavailable, ServiceError
from ingest.logs import get_logger
from storage.signals import End
from storage.wakes import CARRIES, read_wake


class Following:
    """Runs what a message names, and what the messages behind it do.

    Args:
        take: says that a task has ended, if one has, and takes the message that has waited longest,
            if one waits; raises RedisUnavailable.
        announce: says that a task has ended; raises RedisUnavailable.
        name: what they ask for: :data:`storage.wakes.RUN` or :data:`storage.wakes.DELIVER`.
        run: does it, by id, and returns what is to be said then; raises a ServiceError where
            nothing was done.
        is_stopping: whether no more is to be taken.
    """

    def __init__(
        self,
        take: Callable[[End | None], str | None],
        announce: Callable[[End], None],
        name: str,
        run: Callable[[str], End | None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._take = take
        self._announce = announce
        self.name = name
        self._run = run
        self._is_stopping = is_stopping

    def run(self, wanted_id: str) -> None:
        """Run one, and then what waits. Raises nothing that another message would mend."""
        wanted: str | None = wanted_id
        while wanted is not None:
            try:
                ended = self._run(wanted)
            except ServiceError as error:
                # It is pending still, and is woken again. Others would fare no better now.
                get_logger(__name__).warning(
                    "wake.not_claimed",
                    reason=error.code,
                    told=error.message,
                    **{CARRIES[self.name]: wanted},
                )
                return
            except Exception:
                # Celery would name the message that this slot began with.
                get_logger(__name__).exception("wake.broke", **{CARRIES[self.name]: wanted})
                raise
            wanted = self._take_next(ended)

    def _take_next(self, ended: End | None) -> str | None:
        try:
            while not self._is_stopping():
                said, ended = ended, None
                try:
                    message = self._take(said)
                    return None if message is None else read_wake(message, self.name)
                except ValueError:
                    get_logger(__name__).warning("wake.unreadable", asked=self.name)
            if ended is not None:
                self._announce(ended)
        except RedisUnavailable:
            # Whoever waits looks at the row now and then, so a lost word costs only time; Celery's
            # own connection is made anew when Redis is back.
            return None
        return None

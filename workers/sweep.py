"""Clean-up after workers that fell silent. Any number of sweepers may run at once."""

from __future__ import annotations

from contextlib import suppress

from ingest.errors import RedisUnavailable
from ingest.logs import get_logger
from ingest.states import ENDED
from storage.records import leases
from storage.records.database import Database
from storage.signals import Signals


class Sweeper:
    """Takes tasks back whose lease has run out."""

    def __init__(self, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    def sweep(self) -> int:
        """Release every expired lease; return how many there were.

        Raises:
            DatabaseUnavailable: nothing was changed; the next call does it.
        """
        with self._database.transaction() as connection:
            released = leases.release_expired(connection)
        for task_id, status in released.items():
            get_logger(__name__).warning("sweep.lease_expired", task_id=task_id, status=status)
            if status in ENDED:
                with suppress(RedisUnavailable):
                    self._signals.announce_end(task_id)
        return len(released)

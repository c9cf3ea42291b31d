"""Host names become addresses within a time limit.

``getaddrinfo`` has no deadline and cannot be interrupted: with a silent name server it holds its
thread for half a minute and more. So it runs in a thread of its own, and who asked waits no longer
than they want to. Threads that nobody waits for any more end by themselves; they are counted, so
that names which never resolve cannot pile them up.
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future

from ingest.errors import SourceDns

# Several times the slots of a worker, since one slot after the other may leave a thread behind.
MOST_LOOKUPS = 64


class Resolver:
    """Looks names up, for all threads of a process.

    Args:
        most: lookups at once, those included that nobody waits for any more.
    """

    def __init__(self, most: int = MOST_LOOKUPS) -> None:
        self._free = threading.BoundedSemaphore(most)

    def resolve(self, host: str, port: int, limit_s: float) -> list[str]:
        """Return the addresses of a host, each once, in the resolver's order.

        A lookup that is late is ``source_dns`` and no timeout of the source: the source was never
        asked, and whoever looks for the reason has to look at the name.

        Raises:
            SourceDns: the host does not resolve, or not within ``limit_s``.
        """
        deadline = time.monotonic() + limit_s
        if not self._free.acquire(timeout=limit_s):
            raise SourceDns(f"The host name '{host}' waited too long for others to resolve.")
        found: Future[list[str]] = Future()
        # No executor: those join their threads when the process ends.
        thread = threading.Thread(
            target=self._look_up, args=(host, port, found), name="resolver", daemon=True
        )
        try:
            thread.start()
        except BaseException:
            self._free.release()
            raise
        try:
            return found.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise SourceDns(f"The host name '{host}' did not resolve in {limit_s:g} s.") from None
        except (OSError, UnicodeError) as error:
            raise SourceDns(f"The host name '{host}' does not resolve.") from error

    def _look_up(self, host: str, port: int, found: Future[list[str]]) -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            found.set_exception(error)
        else:
            found.set_result(addresses)
        finally:
            self._free.release()

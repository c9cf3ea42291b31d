"""Files that are there already, where an order asks not to make them again.

One that others may read than are to is another file: whoever asks for `signed` is not given what
is public. Two orders of one new file that run in the same moment do not know of each other, and
make it twice.
"""

from __future__ import annotations

from ingest.logs import get_logger
from ingest.model import Dedupe, File
from storage.records import files
from workers.attempt import Attempt
from workers.filing import digest_source


def find_by_source(attempt: Attempt, etag: str | None) -> File | None:
    """Return the file that came from the same URL, as long as its source had the same strong ETag.

    One whose checksum is not known to be the order's is none.

    Args:
        etag: of the source as it is now; None where it has no strong one.
    """
    order = attempt.lease.task.order
    if order.dedupe is not Dedupe.URL or etag is None:
        return None
    with attempt.tools.database.transaction() as connection:
        found = files.find_by_source(
            connection, attempt.lease.task.project_id, digest_source(order.url), etag, order.access
        )
    if found is None or order.checksum not in {None, f"sha256:{found.sha256}"}:
        return None
    get_logger(__name__).info("ingest.known_source", file_id=found.id)
    return found


def find_by_content(attempt: Attempt, sha256: str) -> File | None:
    """Return the file that has the same bytes."""
    task = attempt.lease.task
    if task.order.dedupe is not Dedupe.CONTENT:
        return None
    with attempt.tools.database.transaction() as connection:
        found = files.find_by_content(connection, task.project_id, sha256, task.order.access)
    if found is not None:
        get_logger(__name__).info("ingest.known_content", file_id=found.id)
    return found

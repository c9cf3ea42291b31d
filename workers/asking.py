"""A source as whoever ordered it named it: a URL, a share link, or an object of a connection.

Invariants: an object is asked for by an address that is signed for that one request, through the
door of its connection alone, and no redirect of its store is followed; headers go to the origin
that they were given for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ingest.share_links import find_direct_url
from ingest.source_headers import load_headers
from ingest.urls import ObjectUrl, SourceUrl, parse_stored_url
from storage.sealing import Sealer
from workers.answers import Resume
from workers.connections import SourceBuckets
from workers.egress import Egress
from workers.fetch import Limits, Source, open_source
from workers.watchdog import Cancellation


def find_source_url(url: str) -> SourceUrl | ObjectUrl:
    """Return where to fetch an order's URL from: of a share link, the file behind it."""
    parsed = parse_stored_url(url)
    return find_direct_url(parsed) if isinstance(parsed, SourceUrl) else parsed


def open_headers(sealer: Sealer, url: str, sealed_headers: bytes | None) -> Mapping[str, str]:
    """Return the headers that go with an order's URL.

    Raises:
        SecretUnreadable: they cannot be opened.
    """
    if sealed_headers is None:
        return {}
    asked, fetched = parse_stored_url(url), find_source_url(url)
    # Of a share link, the file behind it is asked for at once, which may be elsewhere.
    if not (
        isinstance(asked, SourceUrl)
        and isinstance(fetched, SourceUrl)
        and asked.origin == fetched.origin
    ):
        return {}
    return load_headers(sealer.open(sealed_headers))


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks sources for one project."""

    egress: Egress
    sources: SourceBuckets
    project_id: str
    clock: Callable[[], float] = time.monotonic

    def ask(
        self,
        url: SourceUrl | ObjectUrl,
        limits: Limits,
        *,
        headers: Mapping[str, str],
        cancellation: Cancellation,
        deadline: float,
        resume: Resume | None = None,
        head_bytes: int | None = None,
    ) -> Source:
        """Open a source; as :func:`workers.fetch.open_source`.

        Raises:
            SourceForbidden: no connection of the project reads it (any more).
            IngestError: as there.
        """
        egress = self.egress
        if isinstance(url, ObjectUrl):
            bucket = self.sources.find(self.project_id, url)
            egress, url = bucket.egress, bucket.sign(url.key)
            limits = replace(limits, max_redirects=0)
        return open_source(
            egress,
            url,
            limits,
            self.clock,
            headers=headers,
            resume=resume,
            head_bytes=head_bytes,
            cancellation=cancellation,
            deadline=deadline,
        )

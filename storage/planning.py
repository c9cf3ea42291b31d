"""Orders before they are written down: what can be judged of them without fetching anything.

For whoever makes tasks: one of a request, or those of a list. Invariants: nothing secret leaves
this module unsealed; no order names a place, or a connection, that is not its project's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ingest.config import Settings
from ingest.connections import find_connection
from ingest.errors import FieldInvalid
from ingest.formats import FORMATS
from ingest.ids import Prefix, make_id
from ingest.model import FileAccess, Order, Project
from ingest.naming import make_key
from ingest.order_requests import OrderRequest
from ingest.source_headers import dump_headers
from ingest.urls import UPLOADS_PREFIX, ObjectUrl, SourceUrl, parse_order_url, parse_stored_url
from ingest.webhooks import parse_webhook_url
from storage.sealing import Sealer

_LONGEST_OWN_NAME = f"{make_id(Prefix.FILE)}.{max((one.extension for one in FORMATS), key=len)}"


class Planner:
    """Judges orders by the operator's settings. Safe to use from several threads."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings = settings
        self._sealer = sealer

    def make_order(self, asked: OrderRequest) -> Order:
        """Return what is asked for, with its headers sealed.

        Raises:
            FieldInvalid: they cannot be sealed, or the source takes none; or a ``webhook_url`` is
                not let through; or the file cannot be kept from whoever has its address.
        """
        order = asked.to_order()
        self.check_file_access(order.access)
        if order.webhook_url is not None:
            told = self.check_receiver(order.webhook_url, "webhook_url")
            order = replace(order, webhook_url=told)
        if asked.headers:
            order = replace(order, sealed_headers=self.seal_headers(asked.url, asked.headers))
        return order

    def change_headers(
        self, before: Order, url: str, headers: Mapping[str, str] | None, *, are_given: bool
    ) -> bytes | None:
        """Return the sealed headers that go with a task's new URL.

        Those it had were meant for the origin they were given for, and go nowhere else.

        Args:
            are_given: whether ``headers`` are to take the place of those before.

        Raises:
            FieldInvalid: as for :meth:`make_order`.
        """
        if are_given:
            return self.seal_headers(url, headers)
        old, new = parse_stored_url(before.url), parse_order_url(url)
        is_same = (
            isinstance(old, SourceUrl) and isinstance(new, SourceUrl) and old.origin == new.origin
        )
        return before.sealed_headers if is_same else None

    def check_file_access(self, access: FileAccess) -> None:
        """Make sure that a file can be kept to signed URLs, where that is asked for.

        Raises:
            FieldInvalid: nothing can be signed; or whoever knows its key can read every object.
        """
        if access is FileAccess.PUBLIC:
            return
        if not self._settings.secret_keys:
            raise FieldInvalid(
                "'access' cannot be 'signed' here: the operator has set no HEADRACE_SECRET_KEYS to "
                "sign with.",
                param="access",
            )
        if self._settings.delivery_url is not None:
            raise FieldInvalid(
                "'access' cannot be 'signed' here: HEADRACE_DELIVERY_URL hands every object to "
                "whoever knows its key.",
                param="access",
            )

    def check_connection(
        self, project: Project, found: SourceUrl | ObjectUrl, param: str = "url"
    ) -> None:
        """Make sure that a project may read a URL that names an object.

        Raises:
            FieldInvalid: no connection reads it. The message is the same for one that is not there,
                one of other projects and a key that it does not open, or users could find out
                names.
        """
        if not isinstance(found, ObjectUrl) or found.is_upload:
            return
        if find_connection(self._settings.s3_sources, project.id, found) is None:
            refusal = "'url' names nothing that a connection of this project reads."
            raise FieldInvalid(refusal.replace("url", param, 1), param=param)

    def plan_name(
        self, project: Project, order: Order, is_place_of_another: Callable[[str], bool]
    ) -> str | None:
        """Return the key to be reserved for an order; None where the file is named by its id.

        Args:
            is_place_of_another: whether a key lies under another project's prefix.

        Raises:
            FieldInvalid: folder and filename make a key that is too long, in another's place or
                where sources lie.
        """
        filename = order.filename or _LONGEST_OWN_NAME
        key = self.plan_key(project, order.folder, filename, is_place_of_another)
        return None if order.filename is None else key

    def plan_key(
        self,
        project: Project,
        folder: str | None,
        filename: str,
        is_place_of_another: Callable[[str], bool],
    ) -> str:
        """Return the key of a file that is to be called so.

        Raises:
            FieldInvalid: as for :meth:`plan_name`.
        """
        param = "filename" if folder is None else "folder"
        too_long = "folder" if filename == _LONGEST_OWN_NAME else "filename"
        key = make_key(project.key_prefix, folder, filename, param=too_long)
        # An id of ours at the top is no other's prefix.
        if key != _LONGEST_OWN_NAME and is_place_of_another(key):
            raise FieldInvalid(
                f"'{key}' lies in the place of another project; choose another folder or filename.",
                param=param,
            )
        # Who may use the connection need not be who may read the file.
        if self._settings.is_read_by_connection(key) or key.startswith(UPLOADS_PREFIX):
            raise FieldInvalid(
                f"'{key}' lies in a place for sources; choose another folder or filename.",
                param=param,
            )
        return key

    def check_receiver(self, url: str, param: str = "url") -> str:
        """Return the URL of a receiver of webhooks as it is kept.

        Raises:
            FieldInvalid: the operator's rules do not let it through, or nothing can be signed.
        """
        parsed = parse_webhook_url(url, self._settings.webhook_rules, param=param)
        if not self._sealer.can_seal:
            raise FieldInvalid(
                f"'{param}' cannot be told anything: the operator has set no HEADRACE_SECRET_KEYS "
                "to keep secrets with.",
                param=param,
            )
        return str(parsed)

    def seal_headers(
        self, url: str, headers: Mapping[str, str] | None, param: str = "headers"
    ) -> bytes | None:
        """Return headers for a source as they are kept; None where there are none.

        Raises:
            FieldInvalid: they cannot be sealed, or the source takes none.
        """
        if not headers:
            return None
        if not isinstance(parse_order_url(url), SourceUrl):
            raise FieldInvalid(f"'{param}' go to http and https URLs alone.", param=param)
        if not self._sealer.can_seal:
            raise FieldInvalid(
                f"'{param}' cannot be kept safe here: the operator has set no "
                "HEADRACE_SECRET_KEYS.",
                param=param,
            )
        return self._sealer.seal(dump_headers(headers))

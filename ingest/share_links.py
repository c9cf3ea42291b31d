"""Share links: the page that a person copies, and the file behind it.

Dropbox, Google Drive and OneDrive hand out links to a page that shows a file. Each has an address
for the file itself, which follows from the link. Nothing is asked of anybody here. Hosts are exact,
and only https is looked at: a link that merely looks like one goes out as it was written.

Sources:

- Dropbox: "Force a file or folder to download or render on dropbox.com" in its help centre:
  ``dl=1`` in place of ``dl=0``. Both generations of links take it, ``/s/`` and ``/scl/fi/``; the
  latter needs its ``rlkey``.
- Google Drive: "Access link-shared Drive files using resource keys" in the Drive API's guides for
  ``resourcekey``. The host that serves the bytes, and ``confirm=t`` in place of the page that warns
  of a file too large to be scanned, are documented nowhere; the form of that page sends them.
- OneDrive, personal: "Access shared items" in the OneDrive API's reference, encoding of sharing
  URLs. Microsoft has moved most accounts to servers that answer 401 to strangers there.
- OneDrive, SharePoint: ``/download`` for links with their key in the query, and ``download=1``,
  both as Microsoft's own download buttons use them; documented nowhere.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from ingest.urls import SourceUrl

_DROPBOX_FILE = re.compile(r"/s/[^/]+(/[^/]*)?|/scl/fi/[^/]+(/[^/]*)?")
_DRIVE_FILE = re.compile(r"(/a/[^/]+)?/file(/u/[0-9]+)?/d/(?P<id>[\w-]+)(/[a-z]*)?", re.ASCII)
_DRIVE_QUERY = re.compile(r"(/a/[^/]+)?(/u/[0-9]+)?/(open|uc)")
_DRIVE_WORD = re.compile(r"[\w-]+", re.ASCII)
# The letter says what is shared; "f" is a folder.
_SHORT_FILE = re.compile(r"/[a-eg-z]/.+")
_SHAREPOINT_FILE = re.compile(r"/:[a-eg-z]:/.+")
_SHAREPOINT_HOST = re.compile(r"[a-z0-9-]+\.sharepoint\.com")
_LIVE_PAGES = frozenset({"/", "/redir", "/redir.aspx", "/embed", "/view.aspx"})


def find_direct_url(url: SourceUrl) -> SourceUrl:
    """Return where the file behind a share link is; any other URL comes back as it is."""
    if (url.scheme, url.port) != ("https", 443):
        return url
    if _SHAREPOINT_HOST.fullmatch(url.host):
        return _find_sharepoint(url)
    find = _HOSTS.get(url.host)
    return url if find is None else find(url)


def _find_dropbox(url: SourceUrl) -> SourceUrl:
    # raw=1 shows the file itself, too.
    if _DROPBOX_FILE.fullmatch(url.path) is None or _read(url, "raw") == "1":
        return url
    return _set(url, "dl", "1")


def _find_drive(url: SourceUrl) -> SourceUrl:
    found = _DRIVE_FILE.fullmatch(url.path)
    file_id = found["id"] if found else None
    if found is None and _DRIVE_QUERY.fullmatch(url.path):
        file_id = _read(url, "id")
    if file_id is None or _DRIVE_WORD.fullmatch(file_id) is None:
        return url
    key = _read(url, "resourcekey") or ""
    kept = f"&resourcekey={key}" if _DRIVE_WORD.fullmatch(key) else ""
    target = f"/download?id={file_id}&export=download&confirm=t{kept}"
    return SourceUrl("https", "drive.usercontent.google.com", 443, target)


def _find_short(url: SourceUrl) -> SourceUrl:
    if _SHORT_FILE.fullmatch(url.path) is None:
        return url
    # Without the query, which is no part of the link: in a path it would stand in logs.
    link = f"https://{url.host}{url.path}"
    token = base64.urlsafe_b64encode(link.encode()).decode().rstrip("=")
    return SourceUrl("https", "api.onedrive.com", 443, f"/v1.0/shares/u!{token}/root/content")


def _find_live(url: SourceUrl) -> SourceUrl:
    has_key = _read(url, "resid") and _read(url, "authkey")
    is_folder = (_read(url, "ithint") or "").startswith("folder")
    if url.path not in _LIVE_PAGES or not has_key or is_folder:
        return url
    return replace(url, target="/download" + url.target.removeprefix(url.path))


def _find_sharepoint(url: SourceUrl) -> SourceUrl:
    if _SHAREPOINT_FILE.fullmatch(url.path) is None:
        return url
    return _set(url, "download", "1")


_HOSTS: Mapping[str, Callable[[SourceUrl], SourceUrl]] = {
    "dropbox.com": _find_dropbox,
    "www.dropbox.com": _find_dropbox,
    "drive.google.com": _find_drive,
    "docs.google.com": _find_drive,
    "1drv.ms": _find_short,
    "onedrive.live.com": _find_live,
}


def _split(url: SourceUrl) -> list[str]:
    # Not parse_qsl(), which would lose how the rest of the query is written.
    return [pair for pair in url.target.partition("?")[2].split("&") if pair]


def _read(url: SourceUrl, name: str) -> str | None:
    """Return a parameter as it is written, or None where it is missing or there are several."""
    values = [
        value for one, _, value in (pair.partition("=") for pair in _split(url)) if _is(one, name)
    ]
    return values[0] if len(values) == 1 else None


def _set(url: SourceUrl, name: str, value: str) -> SourceUrl:
    kept = [pair for pair in _split(url) if not _is(pair.partition("=")[0], name)]
    return replace(url, target=f"{url.path}?{'&'.join([*kept, f'{name}={value}'])}")


def _is(written: str, name: str) -> bool:
    # Microsoft itself writes authkey and authKey.
    return written.lower() == name

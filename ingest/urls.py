"""Source URLs: what is taken, in which form, and what may be said of them in a log.

The parser is strict where browsers mend (WHATWG URL) because every mended byte is a place where two
parsers can disagree about the host. What is accepted comes out in one form: scheme and host in
lower case, IDN as A-labels (IDNA 2008 with UTS 46 mapping), non-ASCII of path and query
percent-encoded (RFC 3986, 3987), no fragment.

An order may also name an object, ``s3://<connection>/<key>``; a redirect never may, so the two have
types and parsers of their own. What somebody has sent is an object too, ``upload:<file id>``, which
nobody but Headrace itself can order.

Whether the host may be connected to is not decided here but at the socket, in ``workers.egress``.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

import idna

from ingest.errors import FieldInvalid
from ingest.ids import Prefix, is_id

MAX_URL_BYTES = 8192
# Where in our own bucket lies what somebody has sent, until its task has ended.
UPLOADS_PREFIX = ".headrace/uploads/"
_UPLOAD_SCHEME = "upload:"
# What no connection is called.
_UPLOADS = ""
CONNECTION_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_MAX_OBJECT_KEY_BYTES = 1024
DEFAULT_PORTS = {"http": 80, "https": 443}
_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(
    r"//(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# White space of every kind, controls, lone surrogates, what nobody sees, and what RFC 3986 forbids.
_BAD_CHARACTER = re.compile(r"""[\s\x00-\x20\x7f-\x9f\ud800-\udfff\u200b\\<>"{}^`]""")
_UNENCODED = re.compile(r"""[ "<>^`{}]|%(?![0-9A-Fa-f]{2})""")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
# RFC 3986: what may stand bare in a path or query, and "%" because it is checked apart.
_PATH_SAFE = "/:@!$&'()*+,;=~-._%[]|"
_QUERY_SAFE = _PATH_SAFE + "?"
_KEY_SAFE = _PATH_SAFE.replace("%", "")


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """A URL that passed :func:`parse_source_url`.

    ``host`` is an A-label name or a bare IP literal (no brackets); ``target`` is path and query.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as they stand in the URL: the port only if it is not the scheme's own."""
        return write_authority(self.scheme, self.host, self.port)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what a secret for this URL is meant for (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def path(self) -> str:
        """The path alone, without the query."""
        return self.target.partition("?")[0]

    @property
    def redacted(self) -> str:
        """The URL without its query, fit for logs and errors: signatures live in queries."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """An object in a bucket that the operator has connected; ``key`` is decoded."""

    connection: str
    key: str

    @classmethod
    def of_upload(cls, file_id: str) -> ObjectUrl:
        """Return where the bytes lie that somebody has sent for a file."""
        return cls(_UPLOADS, UPLOADS_PREFIX + file_id)

    @property
    def is_upload(self) -> bool:
        """Whether it is what somebody has sent, and not of a connection."""
        return self.connection == _UPLOADS

    @property
    def path(self) -> str:
        """The key as it stands in the URL: encoded, a slash before it."""
        return f"/{quote(self.key, safe=_KEY_SAFE)}"

    @property
    def redacted(self) -> str:
        """The URL as it is: it holds no secret."""
        return str(self)

    def __str__(self) -> str:
        if self.is_upload:
            return _UPLOAD_SCHEME + self.key.removeprefix(UPLOADS_PREFIX)
        return f"s3://{self.connection}{self.path}"


def write_authority(scheme: str, host: str, port: int) -> str:
    """Return a host without brackets, and its port if it is not the scheme's, as in a URL."""
    host = f"[{host}]" if ":" in host else host
    return host if port == DEFAULT_PORTS[scheme] else f"{host}:{port}"


def parse_stored_url(text: str) -> SourceUrl | ObjectUrl:
    """Parse the URL of an order that was made already: one that somebody wrote, or of an upload.

    Raises:
        FieldInvalid: it is neither.
    """
    file_id = text.removeprefix(_UPLOAD_SCHEME)
    if file_id != text and is_id(Prefix.FILE, file_id):
        return ObjectUrl.of_upload(file_id)
    return parse_order_url(text)


def parse_order_url(text: str, *, param: str = "url") -> SourceUrl | ObjectUrl:
    """Parse and normalise a URL as somebody orders it: of a source, or of a connection's object.

    Whether there is such a connection is not decided here (:mod:`ingest.connections`).

    Raises:
        FieldInvalid: as :func:`parse_source_url`.
    """
    return _parse_order_url(text, param)


# An order's URL is checked, then judged, then asked for its host: three times within a millisecond.
@lru_cache(maxsize=64)
def _parse_order_url(text: str, param: str) -> SourceUrl | ObjectUrl:
    shape = _SHAPE.fullmatch(text)
    scheme = "" if shape is None else shape["scheme"].lower()
    if shape is not None and scheme == "s3":
        _check_text(text, param)
        return _parse_object_url(shape["rest"], param)
    if shape is not None and scheme not in DEFAULT_PORTS:
        _check_text(text, param)
        raise _refuse(param, f"has the scheme '{scheme[:32]}'; it takes http, https or s3")
    return parse_source_url(text, param=param)


def parse_source_url(text: str, *, param: str = "url") -> SourceUrl:
    """Parse and normalise a source URL.

    Args:
        text: the URL as the user or a redirect wrote it.
        param: the field to name in the error.

    Raises:
        FieldInvalid: the URL is not one Headrace takes; the message says why.
    """
    _check_text(text, param)
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise _refuse(param, "has no scheme; it takes an absolute http or https URL")
    scheme = shape["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise _refuse(param, f"has the scheme '{scheme[:32]}'; it takes http or https")
    parts = _AUTHORITY.fullmatch(shape["rest"])
    if parts is None:
        raise _refuse(param, f"has no '//' after '{scheme}:'; it takes an absolute URL")
    if "@" in parts["authority"]:
        raise _refuse(param, "carries a user name or password; send credentials another way")
    host_port = _HOST_PORT.fullmatch(parts["authority"])
    if host_port is None or not host_port["host"]:
        raise _refuse(param, "has no valid host")
    host = _parse_host(host_port["host"], param)
    port = _parse_port(host_port["port"], scheme, param)
    path = _encode(parts["path"], _PATH_SAFE, param) or "/"
    query = "" if parts["query"] is None else _encode(parts["query"], _QUERY_SAFE, param)
    url = SourceUrl(scheme, host, port, path + query)
    if len(str(url)) > MAX_URL_BYTES:
        raise _refuse(param, f"is longer than {MAX_URL_BYTES} bytes once percent-encoded")
    return url


def resolve_redirect(base: SourceUrl, location: str) -> SourceUrl:
    """Return the target of a redirect, relative to ``base``, under the same rules.

    Servers send Locations as they stand in their databases, and browsers and curl follow them. So
    raw spaces, other bare characters and UTF-8 are percent-encoded here; what leaves the host in
    doubt (backslashes, control characters) is refused as in any URL.

    Args:
        base: the URL that answered.
        location: the header, each byte a character, as HTTP libraries give it.

    Raises:
        FieldInvalid: the target is not a URL Headrace takes.
    """
    try:
        text = location.encode("latin-1").decode()
    except UnicodeError:
        text = location
    text = _UNENCODED.sub(lambda found: f"%{ord(found[0]):02X}", text.strip(" \t"))
    return parse_source_url(_join(base, text), param="Location")


def _join(base: SourceUrl, reference: str) -> str:
    # RFC 3986, 5.2.2. Not urljoin(), which drops an empty query or parameter and so breaks
    # signatures, and raises errors of its own.
    if _SHAPE.fullmatch(reference):
        return reference
    if reference.startswith("//"):
        return f"{base.scheme}:{reference}"
    path, mark, query = reference.partition("#")[0].partition("?")
    if path == "":
        target = base.path + mark + query if mark else base.target
    else:
        folder = "" if path.startswith("/") else base.path.rpartition("/")[0] + "/"
        target = _remove_dot_segments(folder + path) + mark + query
    return f"{base.scheme}://{base.authority}{target}"


def _remove_dot_segments(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _parse_object_url(rest: str, param: str) -> ObjectUrl:
    parts = _AUTHORITY.fullmatch(rest)
    if parts is None or CONNECTION_NAME.fullmatch(parts["authority"]) is None:
        raise _refuse(param, "names no connection; it takes s3://connection/key")
    for mark, meaning in (("query", "?"), ("fragment", "#")):
        if parts[mark] is not None:
            raise _refuse(param, f"has a '{meaning}', which a key holds percent-encoded")
    if _BAD_PERCENT.search(parts["path"]):
        raise _refuse(param, "has a '%' that no two hexadecimal digits follow")
    try:
        key = unquote_to_bytes(parts["path"][1:]).decode()
    except UnicodeDecodeError:
        raise _refuse(param, "has a key that is not UTF-8") from None
    if not key:
        raise _refuse(param, "names no key; it takes s3://connection/key")
    if len(key.encode()) > _MAX_OBJECT_KEY_BYTES:
        raise _refuse(param, f"has a key longer than {_MAX_OBJECT_KEY_BYTES} bytes")
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in key):
        raise _refuse(param, "has a control character in its key")
    # A server that takes keys for paths would leave the connection's prefix.
    if any(segment in {".", ".."} for segment in re.split(r"[/\\]", key)):
        raise _refuse(param, "has a '.' or '..' for a part of its key")
    return ObjectUrl(parts["authority"], key)


def _check_text(text: str, param: str) -> None:
    # Not encoded where its length says enough: it may be a megabyte.
    if len(text) > MAX_URL_BYTES or len(text.encode(errors="surrogatepass")) > MAX_URL_BYTES:
        raise _refuse(param, f"is longer than {MAX_URL_BYTES} bytes")
    _check_characters(text, param)


def _check_characters(text: str, param: str) -> None:
    found = _BAD_CHARACTER.search(text)
    if found is not None:
        char = found[0]
        if char.isspace() or ord(char) < 0x21 or ord(char) == 0x7F:
            raise _refuse(param, f"contains white space or a control character (U+{ord(char):04X})")
        if 0x80 <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 or char == "\u200b":
            raise _refuse(param, f"contains U+{ord(char):04X}, which no URL holds")
        raise _refuse(param, f"contains {char!r}; percent-encode it")


def _parse_host(host: str, param: str) -> str:
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise _refuse(param, "has a host that is not an IPv6 address in brackets") from None
        if address.scope_id is not None:
            raise _refuse(param, "has an IPv6 zone id, which means nothing to another machine")
        return str(address)
    if "%" in host:
        raise _refuse(param, "has a percent-encoded host; write it plainly")
    # IDNA 2008 has no '_', which real host names (buckets, CDNs) do have: what is ASCII stays as it
    # is, which is all that IDNA would do to it.
    name = host.lower()
    if not name.isascii():
        with suppress(idna.IDNAError, UnicodeError):
            name = idna.encode(host, uts46=True, std3_rules=False).decode().lower()
    labels = name.removesuffix(".").split(".")
    if (
        len(name) > 254
        or _HOST_NAME.fullmatch(name) is None
        or not all(1 <= len(label) <= 63 for label in labels)
    ):
        raise _refuse(param, "has a host that is no valid name or address")
    return name


def _parse_port(port: str | None, scheme: str, param: str) -> int:
    if not port:
        return DEFAULT_PORTS[scheme]
    if not port.isascii() or not port.isdigit() or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise _refuse(param, "has a port that is not a number from 1 to 65535")
    return int(port)


def _encode(text: str, safe: str, param: str) -> str:
    if _BAD_PERCENT.search(text):
        raise _refuse(param, "has a '%' that no two hexadecimal digits follow")
    return quote(text, safe=safe)


def _refuse(param: str, reason: str) -> FieldInvalid:
    return FieldInvalid(f"'{param}' {reason}.", param=param)

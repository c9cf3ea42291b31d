"""Where a file lands: folder, filename and the object's key.

Two doors. What a person wrote is taken as it is or refused with the reason, never mended: the
object must be where they will look for it. What a source claims (its URL, its headers) is nobody's
promise and is cleaned until it is harmless.

Invariants: a key never starts with ``/``, never has an empty, ``.`` or ``..`` segment, never a
control, format or surrogate character, is NFC, and is at most 1,024 bytes of UTF-8 (S3's limit).
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from urllib.parse import quote, unquote

from ingest.errors import FieldInvalid
from ingest.ids import Prefix, is_id

MAX_KEY_BYTES = 1024
MAX_SEGMENT_BYTES = 255
_MAX_EXTENSION_BYTES = 16
_TAKEN_OUT = dict.fromkeys(map(ord, ':*?"<>|\ufffd'))
# Cc control, Cf format (bidi overrides, zero width), Cs surrogate, Co private, Cn unassigned,
# Zl and Zp line and paragraph separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_NOT_PLAIN = re.compile(r'[^ -~]|["\\%]')
# Zero-width joiner: part of many emoji, and visible in none.
_JOINER = "\u200d"


def check_folder(folder: str) -> str:
    """Return the folder as it goes into the key: NFC, no slash at the end.

    Raises:
        FieldInvalid: with ``param="folder"`` and the reason.
    """
    text = unicodedata.normalize("NFC", folder)
    if text == "":
        raise _refuse("folder", "is empty; leave the field out to store at the top")
    if text.startswith("/"):
        raise _refuse("folder", "starts with '/'; folders are relative to the project")
    trimmed = text.removesuffix("/")
    for segment in trimmed.split("/"):
        _check_segment("folder", segment)
    _check_length("folder", trimmed)
    return trimmed


def check_filename(filename: str, *, may_be_own: bool = False) -> str:
    """Return the filename as it goes into the key: NFC, one segment.

    Args:
        may_be_own: whether it may be what Headrace calls a file that nobody named: its id, with an
            extension or without.

    Raises:
        FieldInvalid: with ``param="filename"`` and the reason.
    """
    text = unicodedata.normalize("NFC", filename)
    if text == "":
        raise _refuse("filename", "is empty; leave the field out to name the file by its id")
    if "/" in text:
        raise _refuse("filename", "contains '/'; put the path into 'folder'")
    _check_segment("filename", text)
    if not may_be_own and is_id(Prefix.FILE, text.split(".", 1)[0]):
        raise _refuse("filename", "has the shape of a file id, which Headrace keeps for itself")
    return text


def make_key(key_prefix: str, folder: str | None, filename: str, *, param: str = "filename") -> str:
    """Join project prefix, folder and filename into an object key.

    Args:
        param: the field to name in the error.

    Raises:
        FieldInvalid: the whole is longer than 1,024 bytes.
    """
    key = "/".join(part for part in (key_prefix, folder, filename) if part)
    if len(key.encode()) > MAX_KEY_BYTES:
        raise _refuse(
            param,
            f"makes a key of {len(key.encode())} bytes; it takes at most {MAX_KEY_BYTES}",
        )
    return key


POSTER_TYPE = "image/jpeg"


def name_poster(file_id: str) -> str:
    """Return what a file's poster is called: nothing that somebody names begins with a file's id,
    so no name of theirs can be in its way."""
    return f"{file_id}.poster.jpg"


def find_poster_owner(name: str) -> str | None:
    """Return the id of the file whose poster is called so; None if it is no poster's name."""
    file_id = name.partition(".")[0]
    is_posters = is_id(Prefix.FILE, file_id) and name == name_poster(file_id)
    return file_id if is_posters else None


def number_name(filename: str, number: int) -> str:
    """Return a filename with a number before its extension (``a-2.mp4``), cut short if need be."""
    stem, extension = posixpath.splitext(filename)
    end = f"-{number}{extension}"
    room = MAX_SEGMENT_BYTES - len(end.encode())
    if room < 1:
        # All of it is what looks like an extension.
        return _shorten(filename[: MAX_SEGMENT_BYTES // 4]) + f"-{number}"
    return stem.encode()[:room].decode(errors="ignore").rstrip() + end


def clean_name(text: str) -> str | None:
    """Return a harmless file name from the last part of what a source claims, or None.

    For display and for Content-Disposition; a key is never made from it.

    Args:
        text: decoded; it may be a path of whatever system.
    """
    name = text.replace("\\", "/").rpartition("/")[2]
    kept = name.translate(_TAKEN_OUT)
    # What can be printed is of none of them.
    if not kept.isprintable():
        kept = "".join(
            char for char in kept if unicodedata.category(char) not in _REFUSED_CATEGORIES
        )
    # Composed last: what was taken out may have kept a letter and its accent apart.
    return _shorten(_trim(unicodedata.normalize("NFC", kept))) or None


def clean_source_name(path: str) -> str | None:
    """Return a harmless file name from the last segment of a source's URL, or None.

    Args:
        path: of the URL, encoded.
    """
    return clean_name(unquote(path, errors="replace"))


def make_disposition(name: str, *, saves: bool = False) -> str:
    """Return a Content-Disposition that shows a file in place, or ``saves`` it at once.

    Whenever it is saved it is called ``name``: RFC 6266, with the name in RFC 8187's form next to a
    plain ASCII one.
    """
    plain = _NOT_PLAIN.sub("_", name)
    shown = "attachment" if saves else "inline"
    return f"{shown}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _trim(name: str) -> str:
    trimmed = name.strip().strip(".")
    while trimmed != name:
        name, trimmed = trimmed, trimmed.strip().strip(".")
    return trimmed


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_SEGMENT_BYTES:
        return name
    stem, extension = posixpath.splitext(name)
    if len(extension.encode()) > _MAX_EXTENSION_BYTES:
        stem, extension = name, ""
    room = MAX_SEGMENT_BYTES - len(extension.encode())
    return _trim(stem.encode()[:room].decode(errors="ignore")) + extension


def _check_segment(param: str, segment: str) -> None:
    if segment == "":
        raise _refuse(param, "has an empty part ('//')")
    if segment in {".", ".."}:
        raise _refuse(param, f"contains the part {segment!r}, which would leave its place")
    if "\\" in segment:
        raise _refuse(param, "contains a backslash; the separator is '/'")
    for char in segment:
        if char != _JOINER and unicodedata.category(char) in _REFUSED_CATEGORIES:
            raise _refuse(param, f"contains U+{ord(char):04X}, a character that cannot be shown")
    if segment != segment.strip():
        raise _refuse(param, "starts or ends a part with white space")
    size = len(segment.encode())
    if size > MAX_SEGMENT_BYTES:
        raise _refuse(
            param, f"has a part of {size} bytes; one part takes at most {MAX_SEGMENT_BYTES}"
        )


def _check_length(param: str, text: str) -> None:
    size = len(text.encode())
    if size > MAX_KEY_BYTES:
        raise _refuse(param, f"is {size} bytes long; it takes at most {MAX_KEY_BYTES}")


def _refuse(param: str, reason: str) -> FieldInvalid:
    return FieldInvalid(f"'{param}' {reason}.", param=param)

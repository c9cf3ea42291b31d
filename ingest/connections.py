"""Connections: buckets of the operator's that users may name as sources.

A source is then ``s3://<connection>/<key>``. A connection is a setting, so it holds secrets; a user
sees its name alone. Invariants: a key is read only where the connection's prefix and projects allow
it; a connection that is not there, one of other projects and a key outside the prefix cannot be
told apart by whoever asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from ingest.errors import FieldInvalid
from ingest.ids import Prefix, is_id
from ingest.urls import CONNECTION_NAME, ObjectUrl, parse_source_url

# No query or fragment, since paths are put behind; no user, since links are shown to everybody.
BASE_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")
# What boto3 takes; compose names with an underscore are none of it.
_HOST_NAME = re.compile(r"((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9-]{1,63}(?<!-)\.?")
_REGION = re.compile(r"(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
# SeaweedFS drops a slash that comes first or behind another, and takes backslashes for slashes.
_AMBIGUOUS = re.compile(r"^/|//|\\")


class Addressing(StrEnum):
    """Where the bucket stands in an S3 URL."""

    AUTO = "auto"
    PATH = "path"
    VIRTUAL = "virtual"


class CopyWay(StrEnum):
    """How what lies in our own store gets to its place: copied there, or through the worker."""

    SERVER = "server"
    STREAM = "stream"


class Connection(BaseModel):
    """One source bucket. Without endpoint and keys it is in the very store that files land in.

    ``projects`` are the ids of those that may use it, None for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    name: str = Field(pattern=rf"^{CONNECTION_NAME.pattern}$")
    bucket: str = Field(min_length=3, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    prefix: str = Field("", max_length=1024)
    endpoint: str | None = Field(None, max_length=2048)
    region: str | None = None
    access_key_id: SecretStr | None = Field(None, min_length=1)
    secret_access_key: SecretStr | None = Field(None, min_length=1)
    addressing: Addressing | None = Field(None, strict=False)
    projects: frozenset[str] | None = None
    copy_way: CopyWay = Field(CopyWay.SERVER, alias="copy", strict=False)

    @field_validator("prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        if _AMBIGUOUS.search(value) or not {".", ".."}.isdisjoint(value.split("/")):
            raise ValueError(
                "must not begin with a slash, hold a backslash, or have a part that is empty, '.' "
                "or '..'"
            )
        return value

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None and BASE_URL.fullmatch(value) is None:
            raise ValueError(
                "must start with http:// or https:// and a host, and have no user, query or '#'"
            )
        if value is not None and not _names_server(value):
            raise ValueError(
                "has a host or port that S3 clients do not take; a host is an address, or labels "
                "of a-z, 0-9 and '-'"
            )
        return value if value is None else value.rstrip("/")

    @field_validator("region")
    @classmethod
    def _check_region(cls, value: str | None) -> str | None:
        if value is not None and _REGION.fullmatch(value) is None:
            raise ValueError("must be of a-z, 0-9 and '-'")
        return value

    @field_validator("projects", mode="before")
    @classmethod
    def _check_projects(cls, value: object) -> object:
        if value is None or isinstance(value, frozenset):
            return value
        # A typing error would lock a project out without a word.
        if not isinstance(value, list) or not all(_is_project_id(one) for one in value):
            raise ValueError("must be a list of project ids, prj_…")
        return frozenset(value)

    @model_validator(mode="after")
    def _check(self) -> Connection:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("set both 'access_key_id' and 'secret_access_key', or neither")
        return self

    @property
    def in_own_store(self) -> bool:
        """Whether the bucket is in the store, and the account, that files land in."""
        return self.endpoint is None and self.access_key_id is None

    def allows(self, project_id: str, key: str) -> bool:
        """Return whether a project may read an object.

        In our own store, a key that the store may take for another is none.
        """
        known = self.projects is None or project_id in self.projects
        if self.in_own_store and _AMBIGUOUS.search(key):
            return False
        return known and key.startswith(self.prefix)


def find_server(endpoint: str | None) -> tuple[str, int | None]:
    """Return the host and port of an endpoint, alike for two that are plainly one server.

    Names are not resolved, so two that differ may lead to one server all the same.

    Args:
        endpoint: None for AWS, where all names lead to the same buckets.
    """
    if endpoint is None:
        return "amazonaws.com", None
    url = urlsplit(endpoint)
    host = (url.hostname or "").removesuffix(".")
    if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return "amazonaws.com", None
    with suppress(ValueError):
        host = "localhost" if ip_address(host).is_loopback else str(ip_address(host))
    return host, url.port or {"http": 80, "https": 443}[url.scheme]


# What the operator may write of one.
CONNECTION_FIELDS = frozenset(
    field.alias or name for name, field in Connection.model_fields.items()
) - {"name"}


def parse_connections(text: str) -> tuple[Connection, ...]:
    """Return the connections that the setting's JSON names.

    Raises:
        ValueError: the message names the connection and the field, and no value of either.
    """
    try:
        found = json.loads(text, object_pairs_hook=_build_object)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"is no JSON (line {error.lineno}, column {error.colno}: {error.msg})"
        ) from None
    if not isinstance(found, dict):
        raise ValueError("must be a JSON object of connections by name")  # noqa: TRY004
    return tuple(_parse_one(name, value) for name, value in found.items())


def find_connection(
    connections: Iterable[Connection], project_id: str, url: ObjectUrl
) -> Connection | None:
    """Return the connection through which a project may read an object, or None.

    None says no more than that: a caller must not tell why either.
    """
    for one in connections:
        if one.name == url.connection and one.allows(project_id, url.key):
            return one
    return None


def _names_server(endpoint: str) -> bool:
    try:
        host = parse_source_url(endpoint).host
    except FieldInvalid:
        return False
    return endpoint.isascii() and (":" in host or _HOST_NAME.fullmatch(host) is not None)


def _is_project_id(value: object) -> bool:
    return isinstance(value, str) and is_id(Prefix.PROJECT, value)


def _build_object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("names a connection or a field twice")
    return built


def _parse_one(name: str, value: object) -> Connection:
    if CONNECTION_NAME.fullmatch(name) is None:
        raise ValueError(
            f"has the connection {name[:32]!r}; a name takes 1 to 63 of a-z, 0-9, '.' and '-', and "
            "begins with a letter or digit"
        )
    where = f"has a mistake in the connection '{name}': "
    if not isinstance(value, dict):
        raise ValueError(where + "it must be a JSON object")  # noqa: TRY004
    # The name stands before it, and how we call a field is none of the operator's business.
    for unknown in value.keys() - CONNECTION_FIELDS:
        raise ValueError(where + f"'{unknown[:32]}' is no field of it")
    try:
        return Connection.model_validate({"bucket": name, **value, "name": name})
    except ValidationError as error:
        raise ValueError(where + _explain(error)) from None


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    return f"'{first['loc'][0]}' {message[0].lower()}{message[1:]}"

"""Projects and keys as JSON objects (docs/api.md); the OpenAPI document is written from these."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ingest.access import ApiKey, Scope
from ingest.model import Limits, Project, Usage
from ingest.resources import show_time, show_time_or_none


class KeyResource(BaseModel):
    """A key, without its secret."""

    id: str = Field(examples=["key_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["key"] = "key"
    name: str
    prefix: str = Field(description="How its secret begins.", examples=["hr_k3x7q2"])
    scopes: list[Scope]
    created: str
    last_used: str | None = Field(description="To a minute.")
    expires: str | None
    revoked: str | None


class NewKeyResource(KeyResource):
    """A key with its secret, which is shown this once."""

    secret: str


class ProjectLimits(BaseModel):
    """What a project may take; null: any number."""

    running: int | None = Field(description="How many of its tasks run at once.")
    stored_bytes: int | None = Field(description="How many bytes its files may have.")


class ProjectUsage(BaseModel):
    """What a project takes now."""

    running: int
    pending: int = Field(description="Tasks that wait: for their turn, or for their next attempt.")
    files: int
    stored_bytes: int


class ProjectResource(BaseModel):
    """The project that the key belongs to."""

    id: str = Field(examples=["prj_01k9x3v5w8r2m4n6p7q8s9t0v1"])
    object: Literal["project"] = "project"
    name: str
    prefix: str = Field(description="What the keys of its files in the bucket begin with.")
    limits: ProjectLimits
    usage: ProjectUsage


def show_project(project: Project, limits: Limits, usage: Usage) -> ProjectResource:
    """Return a Project object."""
    return ProjectResource(
        id=project.id,
        name=project.name,
        prefix=project.key_prefix,
        limits=ProjectLimits(running=limits.max_running, stored_bytes=limits.max_stored_bytes),
        usage=ProjectUsage(
            running=usage.running,
            pending=usage.pending,
            files=usage.files,
            stored_bytes=usage.stored_bytes,
        ),
    )


def show_key(key: ApiKey) -> KeyResource:
    """Return a key as an object."""
    return KeyResource(
        id=key.id,
        name=key.name,
        prefix=key.shown_prefix,
        scopes=list(key.scopes),
        created=show_time(key.created),
        last_used=show_time_or_none(key.last_used),
        expires=show_time_or_none(key.expires),
        revoked=show_time_or_none(key.revoked),
    )


def show_new_key(key: ApiKey, secret: str) -> NewKeyResource:
    """Return a key that was made now."""
    return NewKeyResource(**show_key(key).model_dump(), secret=secret)

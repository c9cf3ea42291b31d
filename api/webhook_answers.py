"""What only the API shows of webhooks: secrets, to who may see them, and how much is replayed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ingest.webhook_resources import EndpointResource, show_endpoint
from ingest.webhooks import Endpoint


class NewEndpointResource(EndpointResource):
    """An endpoint with the secret that signs what is sent to it."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class SecretResource(BaseModel):
    """A secret that signs."""

    object: Literal["secret"] = "secret"
    secret: str = Field(
        description="`whsec_` and Base64, as the libraries of Standard Webhooks take it.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    old_secret_until: str | None = Field(
        description="After a rotation: until when the secret before signs as well."
    )


class ReplayResource(BaseModel):
    """How much is sent again."""

    object: Literal["replay"] = "replay"
    endpoint_id: str
    deliveries: int
    complete: bool = Field(
        description="False if one call sends no more: ask again once these have ended."
    )


def show_new_endpoint(endpoint: Endpoint, secret: str) -> NewEndpointResource:
    """Return an endpoint whose secret was made now."""
    return NewEndpointResource(**show_endpoint(endpoint).model_dump(), secret=secret)

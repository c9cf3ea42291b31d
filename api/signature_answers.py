"""A signed URL as a JSON object (docs/api.md); the OpenAPI document is written from it."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, Field

from ingest.url_signatures import Grant, SignedMethod


class SignatureResource(BaseModel):
    """A URL that lets its holder read or send one file."""

    domain: str = Field(examples=["api.example.com"])
    filename: str
    folder: str | None
    expiry: int = Field(description="When it ends, in seconds since 1970.")
    method: SignedMethod
    signature: str
    url: str


def show_signature(
    grant: Grant, folder: str | None, filename: str, address: str, signature: str
) -> SignatureResource:
    """Return a signature as an object.

    Args:
        address: the URL that is signed, without a query.
    """
    terms = {"expiry": str(grant.expiry)}
    if grant.method is SignedMethod.PUT:
        terms |= {"if_exists": grant.if_exists.value, "access": grant.access.value}
    return SignatureResource(
        domain=urlsplit(address).netloc,
        filename=filename,
        folder=folder,
        expiry=grant.expiry,
        method=grant.method,
        signature=signature,
        url=f"{address}?{urlencode(terms | {'signature': signature})}",
    )

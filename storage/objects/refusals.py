"""What a refusal of S3 means: its code becomes an error of ours, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from ingest.errors import (
    FileExists,
    HeadraceError,
    SourceChanged,
    SourceNotFound,
    StorageUnavailable,
    UploadLost,
)

# "409" and "412" are what a HEAD, which has no body, leaves of a code.
EXISTS_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
MISSING_CODES = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
# A store, or a policy of its owner's, that copies nothing, or nothing of this kind. The numbers are
# what botocore makes of an answer without a body, the empty one what it makes of a page of HTML.
NO_COPY_CODES = frozenset(
    {
        "",
        "403",
        "405",
        "501",
        "AccessDenied",
        "InvalidArgument",
        "InvalidRequest",
        "MethodNotAllowed",
        "NotImplemented",
    }
)
DENIED_CODES = frozenset({"403", "AccessDenied"})
_LOST_CODES = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})
_NO_BUCKET_CODES = frozenset({"NoSuchBucket"})
# What AWS says where a request was signed for, or sent to, another region than the bucket's.
_MISPLACED_CODES = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
        "301",
        "307",
    }
)
# Worth another try at once: the server is busy or slow, or the body was damaged on its way.
TRANSIENT_CODES = frozenset(
    {
        "BadDigest",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)


class CredentialsMissing(StorageUnavailable):
    """Whatever is to give out credentials gave none; to whoever asks for no more, a store away."""


class Verb(StrEnum):
    """What a store is asked for, in the words of an error."""

    READ_BUCKET = "read the bucket"
    STORE_OBJECT = "store an object"
    BEGIN_UPLOAD = "begin an upload"
    STORE_PART = "store a part"
    COPY_PART = "copy a part"
    COMPLETE_UPLOAD = "complete an upload"
    ABORT_UPLOAD = "abort an upload"
    LIST_PARTS = "list the parts of an upload"
    LIST_UPLOADS = "list uploads"
    DESCRIBE = "look at an object"
    LIST_OBJECTS = "list objects"
    DELETE = "delete an object"
    SIGN = "sign an address"


# What an upload may be refused that was begun under another checksum than its parts or its end come
# with: AWS answers both with InvalidRequest, whatever else that may mean.
_UPLOAD_VERBS = frozenset({Verb.STORE_PART, Verb.COMPLETE_UPLOAD})
_UNFIT_CODES = frozenset({"InvalidRequest"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a store said instead of doing what it was asked.

    Attributes:
        code: in its error document, or the status where there was none.
        signed_for: the region of the request, where it matters.
        region: where the store says that the bucket is, if it does.
    """

    code: str
    signed_for: str | None = None
    region: str | None = None


def explain_refusal(refusal: Refusal, verb: Verb, bucket: str) -> HeadraceError:
    """Return the error that a refusal stands for."""
    code = refusal.code
    if code in EXISTS_CODES:
        return FileExists("An object with this key is in the bucket already.")
    if code in _LOST_CODES:
        return UploadLost("The object store no longer has the upload.")
    if verb in _UPLOAD_VERBS and code in _UNFIT_CODES:
        return UploadLost(
            f"The object store refused to {verb}: {code}. "
            "If every upload ends so, HEADRACE_S3_CHECKSUM may not be for this store."
        )
    if code in _NO_BUCKET_CODES:
        return StorageUnavailable(f"There is no bucket '{bucket}'.")
    # A HEAD, which has no body, leaves no more of a signature for the wrong region than "400".
    if code in _MISPLACED_CODES or code == "400":
        here, there = refusal.signed_for, refusal.region
        if here is not None and there is not None and here != there:
            return StorageUnavailable(
                f"The bucket '{bucket}' is in the region '{there}', "
                f"and HEADRACE_S3_REGION is '{here}'."
            )
    asking = ""
    if code in _MISPLACED_CODES:
        asking = " Are HEADRACE_S3_REGION and HEADRACE_S3_ENDPOINT right?"
    return StorageUnavailable(f"The object store refused to {verb}: {code}.{asking}")


def explain_copy_refusal(refusal: Refusal, bucket: str) -> HeadraceError:
    """Return the error that a refusal to copy from an object stands for."""
    if refusal.code == "NoSuchKey":
        return SourceNotFound("The object is not in its bucket any more.")
    if refusal.code in EXISTS_CODES:
        return SourceChanged("The object was replaced while it was copied.")
    # The upload was begun in the other one.
    if refusal.code in _NO_BUCKET_CODES:
        return SourceNotFound("The bucket of the object is not there any more.")
    return explain_refusal(refusal, Verb.COPY_PART, bucket)


def explain_silence(verb: Verb, error: Exception) -> StorageUnavailable:
    """Return the error for a request that was not answered, or could not be sent."""
    name = type(error).__name__
    if isinstance(error, NoCredentialsError | CredentialRetrievalError):
        return CredentialsMissing(f"There are no credentials to {verb} with ({name}).")
    return StorageUnavailable(f"The object store did not answer a request to {verb} ({name}).")

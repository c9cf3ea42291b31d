"""What a refusal of S3 means: its code becomes an error of ours, in one place."""

from __future__ import annotations

from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from ingest.errors import FileExists, HeadraceError, StorageUnavailable, UploadLost

# "409" and "412" are what a HEAD, which has no body, leaves of a code.
EXISTS_CODES = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
MISSING_CODES = frozenset({"404", "NoSuchKey", "NotFound", "NoSuchUpload"})
_LOST_CODES = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder"})
_NO_BUCKET_CODES = frozenset({"NoSuchBucket"})
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


def explain_refusal(code: str, verb: str, bucket: str) -> HeadraceError:
    """Return the error that a refusal stands for.

    Args:
        code: the code in S3's error document, or the status where there was none.
        verb: what was asked for, as in "refused to store a part".
    """
    if code in EXISTS_CODES:
        return FileExists("An object with this key is in the bucket already.")
    if code in _LOST_CODES:
        return UploadLost("The object store no longer has the upload.")
    if code in _NO_BUCKET_CODES:
        return StorageUnavailable(f"There is no bucket '{bucket}'.")
    return StorageUnavailable(f"The object store refused to {verb}: {code}.")


def explain_silence(verb: str, error: Exception) -> StorageUnavailable:
    """Return the error for a request that was not answered, or could not be sent."""
    name = type(error).__name__
    if isinstance(error, NoCredentialsError | CredentialRetrievalError):
        return StorageUnavailable(f"There are no credentials to {verb} with ({name}).")
    return StorageUnavailable(f"The object store did not answer a request to {verb} ({name}).")

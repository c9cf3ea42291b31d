"""What Headrace asks of an object store.

Obligations of every implementation (tests/contract checks each on all of them):

- An object is visible whole or not at all; parts are invisible until :meth:`ObjectStore.complete`.
- ``overwrite=False`` never replaces an object: it raises ``FileExists`` and changes nothing. Two
  that complete uploads of one key in the same moment may both be told that they won (SeaweedFS).
- ``delete`` and ``abort`` of what is not there succeed, so that clean-up can be repeated.
- ``delete`` with an ETag leaves every object that has another. It tells bytes apart, not writes: of
  two objects alike in every byte (and, from parts, in every cut) the ETag is the same. A store that
  ignores ``If-Match`` deletes whatever is there; AWS and SeaweedFS obey it.
- A part that is put again under its number is the one that its ETag names when the upload is
  completed. SeaweedFS keeps the earlier one beside it, which its own ETag names.
- ``list_parts`` gives what ``complete`` would take, by number: each part with the ETag that
  ``put_part`` returned. A number comes more than once where the store keeps more than one.
- ``list_uploads`` gives every upload that is there from its start to its end, in an order of the
  store's own, and asks for a page when one is needed. What is begun, completed or aborted meanwhile
  may be in it or not. A store that leads back to a page it gave before does not keep it going.
- ``put_part`` to an upload that is gone raises ``UploadLost``, and so does ``complete`` of one that
  is gone or that has not got the parts named. Where an object is in the way as well, ``complete``
  with ``overwrite=False`` may raise ``FileExists`` instead; what was completed already may be
  completed again while its object is there (SeaweedFS).
- An upload stays with the checksums it was begun with: its parts carry a CRC32C if the store it was
  begun by ``wants_part_checksums``, and none if not. One that is set up the other way, as after a
  change of settings, may refuse to go on with it or to complete it, with ``UploadLost``.
- ``copy_part`` reads an object of this store, in whatever bucket the account may read, only while
  it has the ETag that was named; what it stores is a part like any other. ``SourceChanged`` and
  ``SourceNotFound`` say that the object is another, or gone. None says that the store, or its
  rules, copy nothing of the kind, or tell too little of the part: then the bytes have to be sent.
- ``find_sha256`` tells only what the store itself has verified of the whole object, never what
  somebody wrote into its metadata.
- Each body is checked on its way: a store that received other bytes than the checksum is of refuses
  them, which is ``StorageUnavailable`` like any other failure of the way.
- What fails for want of the server raises ``StorageUnavailable`` (retryable).
- Every method may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

# A buffer is stored as it is; whoever calls keeps it unchanged until the call returns.
Content = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ObjectHeaders:
    """What an object carries: its type, how a browser should name it, and our own metadata.

    Metadata keys and values are ASCII.
    """

    content_type: str
    content_disposition: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object. ``metadata`` keys are in lower case."""

    size_bytes: int
    content_type: str
    metadata: Mapping[str, str]
    etag: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was begun."""

    key: str
    upload_id: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part the store has accepted; ``number`` counts from 1.

    ``crc32c`` is what the store guards it by and compares when it completes; None where it is
    guarded otherwise.
    """

    number: int
    etag: str
    crc32c: int | None = None


@dataclass(frozen=True, slots=True)
class CopySource:
    """An object to be copied: where it is, and the ETag it has to have."""

    bucket: str
    key: str
    etag: str


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of an upload, as the store lists it."""

    number: int
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """An upload that is neither completed nor aborted; ``begun`` is UTC by the store's clock."""

    upload: Upload
    begun: datetime


class ObjectStore(Protocol):
    """The operations; see the module for what they must hold."""

    @property
    def wants_part_checksums(self) -> bool:
        """Whether parts carry a CRC32C, without which their upload cannot be completed."""

    def check(self) -> None:
        """Ask for a sign of life of the bucket."""

    def put(
        self,
        key: str,
        body: Content,
        headers: ObjectHeaders,
        *,
        overwrite: bool,
        sha256: str | None = None,
    ) -> None:
        """Store an object in one request; ``sha256`` is the body's, in hex, where it is known."""

    def begin(self, key: str, headers: ObjectHeaders) -> Upload:
        """Begin a multipart upload."""

    def put_part(
        self, upload: Upload, number: int, body: Content, checksum: int | None = None
    ) -> Part:
        """Store one part; every part but the last is at least 5 MiB.

        Args:
            checksum: the CRC32C of the body as it arrived here, so that damage in between is seen.
        """

    def copy_part(
        self, upload: Upload, number: int, source: CopySource, first_byte: int, size_bytes: int
    ) -> Part | None:
        """Store a piece of another object as one part, without its bytes passing here.

        Returns:
            The part; None where the store does not copy this.
        """

    def complete(self, upload: Upload, parts: Sequence[Part], *, overwrite: bool) -> None:
        """Make the object visible from all its parts, in order of number."""

    def abort(self, upload: Upload) -> None:
        """Drop an upload and its parts."""

    def list_parts(self, upload: Upload) -> Sequence[StoredPart] | None:
        """Return the parts the store has, by number; None where there is no such upload."""

    def list_uploads(self, prefix: str = "") -> Iterator[PendingUpload]:
        """Walk through all uploads in the bucket whose keys begin so, whoever began them.

        A failure comes when the walk reaches it, not from this call.
        """

    def describe(self, key: str) -> StoredObject | None:
        """Return what the store knows of an object, or None where there is none."""

    def find_sha256(self, key: str, etag: str) -> str | None:
        """Return the SHA-256 of a whole object, in hex, if it has this ETag and the store knows."""

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Walk through the keys of all objects that begin so; it fails as :meth:`list_uploads`."""

    def delete(self, key: str, *, if_etag: str | None = None) -> bool:
        """Delete an object, or only the one with an ETag that :meth:`describe` told.

        Returns:
            Whether nothing is there any more; False where an object with another ETag was left.
        """

    def presign(
        self,
        key: str,
        ttl_s: int,
        headers: ObjectHeaders | None = None,
        *,
        public: bool = True,
        head: bool = False,
    ) -> str:
        """Return a URL that reads the object for ``ttl_s`` seconds; with ``head``, by HEAD.

        ``headers`` replace the type and disposition the object was stored with. ``public`` chooses
        the address that downloaders use over the one that Headrace itself uses.
        """

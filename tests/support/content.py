"""What a server has stored, asked of the folder or the bucket itself, and what must be in order there after a crash."""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tests.support.driver import DRIVER
from tests.support.objectstore import Bucket

BLOBS: Final = "docker/registry/v2/blobs/"
OURS: Final = "holdfast/"
TEMPORARY: Final = "holdfast/uploads/"
COPIES: Final = "holdfast/catalog/"


class Stored(Protocol):
    """A blob's bytes, where they lie."""

    @property
    def key(self) -> str: ...

    def read_bytes(self) -> bytes: ...

    def write_bytes(self, content: bytes) -> None:
        """Damage it."""
        ...


@dataclass(frozen=True)
class InFolder:
    """A file of the storage folder."""

    root: Path
    key: str

    def read_bytes(self) -> bytes:
        return (self.root / self.key).read_bytes()

    def write_bytes(self, content: bytes) -> None:
        (self.root / self.key).write_bytes(content)


@dataclass(frozen=True)
class InBucket:
    """An object."""

    bucket: Bucket
    key: str

    def read_bytes(self) -> bytes:
        return self.bucket.read(self.key)

    def write_bytes(self, content: bytes) -> None:
        self.bucket.write(self.key, content)


def stored_blobs(data: Path, root: Path | None = None) -> list[Stored]:
    """The bytes of every blob: what lies under digests, and, on S3, what is not there yet where it lies meanwhile."""
    bucket = DRIVER.bucket(data)
    if bucket is None:
        below = root or data
        found = sorted(below.glob(f"{BLOBS}*/*/*/data"))
        return [InFolder(below, path.relative_to(below).as_posix()) for path in found]
    unsettled = {digest: key for digest, key in rows(data, "SELECT digest, storage_key FROM blob") if key}
    settled = set(bucket.objects(BLOBS)) - {key_of(digest) for digest in unsettled}
    return [InBucket(bucket, key) for key in sorted(settled | set(unsettled.values()))]


def key_of(digest: str) -> str:
    """Where a blob's bytes come to lie; ARCHITECTURE.md promises it, so it is written down here once more."""
    algorithm, _, hexadecimal = digest.partition(":")
    return f"{BLOBS}{algorithm}/{hexadecimal[:2]}/{hexadecimal}/data"


def digest_in(key: str) -> str:
    """The digest that a key speaks of."""
    algorithm, _, hexadecimal = key.removeprefix(BLOBS).removesuffix("/data").split("/")
    return f"{algorithm}:{hexadecimal}"


def rows(data: Path, question: str) -> list[tuple[Any, ...]]:
    """What the catalog says, asked behind the server's back."""
    with closing(sqlite3.connect(f"file:{data / 'catalog.sqlite3'}?mode=ro", uri=True)) as catalog:
        return catalog.execute(question).fetchall()


def check_whole(content: bytes, digest: str) -> None:
    """The bytes are those of the digest."""
    algorithm, _, hexadecimal = digest.partition(":")
    assert hashlib.new(algorithm, content).hexdigest() == hexadecimal, f"{digest} holds other bytes"


def check_catalog(data: Path) -> None:
    """The catalog is sound."""
    assert rows(data, "PRAGMA integrity_check") == [("ok",)]
    assert rows(data, "PRAGMA foreign_key_check") == []


def check_folder(data: Path) -> None:
    """Every file under a digest is whole, and every blob that can be seen has one."""
    visible = {digest for (digest,) in rows(data, "SELECT digest FROM repository_blob")}
    there = {digest_in(stored.key): stored for stored in stored_blobs(data)}
    for digest, stored in there.items():
        check_whole(stored.read_bytes(), digest)
    assert visible <= there.keys(), f"visible blobs without bytes: {visible - there.keys()}"


def check_bucket(data: Path, bucket: Bucket) -> None:
    """The same of a bucket, where work goes on meanwhile; and there is nothing in it that the catalog does not know."""
    before = bucket.listing()
    unfinished = bucket.uploads()
    known = {key for (key,) in rows(data, "SELECT key FROM store_object")}
    blobs = {digest: key or key_of(digest) for digest, key in rows(data, "SELECT digest, storage_key FROM blob")}
    visible = {digest for (digest,) in rows(data, "SELECT digest FROM repository_blob")}
    after = bucket.listing()
    for key, listed in before.items() & after.items() - bucket.known_whole:
        if key.startswith(BLOBS):
            check_whole(bucket.read(key), digest_in(key))
            bucket.known_whole.add((key, listed))
    lost = {digest for digest in visible if blobs[digest] not in before.keys() | after.keys()}
    assert not lost, f"visible blobs without bytes: {lost}"
    temporary = {key for key in before.keys() & after.keys() if not key.startswith((BLOBS, COPIES))}
    strange = temporary - known - set(blobs.values())
    assert not strange, f"objects that the catalog does not know: {strange}"
    forgotten = {upload for upload in unfinished if upload.key not in known} & set(bucket.uploads())
    assert not forgotten, f"multipart uploads that the catalog does not know: {forgotten}"


def stored_keys(data: Path) -> set[str]:
    """The keys under which the bytes of all blobs come to lie."""
    return {key_of(digest) for (digest,) in rows(data, "SELECT digest FROM blob")}


def left_over(data: Path, bucket: Bucket) -> list[str]:
    """What is in the bucket beside the blobs under their digests and copies of the catalog: keys and uploads.

    Empty when everything has been settled and discarded. A blob that is in the bucket and not in the catalog is whole
    (`check_bucket`), and taken when it is pushed again; that is no rest.
    """
    unsettled = {f"unsettled {key}" for (key,) in rows(data, "SELECT storage_key FROM blob") if key}
    objects = {key for key in bucket.objects() if not key.startswith((BLOBS, COPIES))}
    making = {f"row {key}" for (key,) in rows(data, "SELECT key FROM store_object")}
    return sorted(objects | unsettled | making | {f"multipart upload of {each.key}" for each in bucket.uploads()})

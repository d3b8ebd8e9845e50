"""Objects that become blobs on a real S3 server: visible at once, settled behind that, and the bucket is tidy."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.base import FileSlice, Multipart, ShortRead
from model.clock import SystemClock
from model.digests import Digest
from model.errors import BlobUnknown
from model.units import MIB
from store import store_objects, uploads
from store.discarding import Discarder
from store.layout import blob_key, temporary_key
from store.settling import Settler
from store.store_objects import ObjectRow
from store.uploads import UploadRow
from store.values import StreamedBlob
from stores import open_object_store
from tests.support.inside import config_of
from tests.support.objectstore import NOWHERE, Bucket
from tests.unit.store.shop import Shop, shop

CONTENT = bytes(range(256)) * (24 * MIB // 256) + b"the end"
DIGEST = Digest.of(CONTENT)
KEY = temporary_key("upload-1", "0123456789abcdef")


@asynccontextmanager
async def opened(folder: Path, bucket: Bucket) -> AsyncIterator[tuple[Shop, Settler, Discarder]]:
    """A store on the bucket, and what works behind it; nothing does yet."""
    config = config_of(folder, **bucket.settings(s3_external_endpoint=NOWHERE))
    async with open_object_store(config, SystemClock()) as backend, shop(folder, backend=backend) as store:
        discarder = Discarder(store.catalog, backend)
        settler = Settler(store.catalog, backend, store.blobs)
        store.blobs.tell(discarder.poke)
        await discarder.settle()
        yield store, settler, discarder


@asynccontextmanager
async def working(settler: Settler, discarder: Discarder) -> AsyncIterator[None]:
    """Let both work, and end when nothing is left to do."""
    tasks = [asyncio.create_task(settler.run()), asyncio.create_task(discarder.run())]
    try:
        yield
        await settler.settled()
        await discarder.done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def made(store: Shop, *, complete: bool = True) -> None:
    """An object of two parts under the temporary key, recorded as `multipart/` does."""
    backend, run = store.backend, store.catalog.run
    assert isinstance(backend, Multipart)
    await run(uploads.insert, UploadRow("upload-1", "a", "sha256", 1.0, 2.0))
    await run(store_objects.intend, ObjectRow(KEY, "upload-1", "", 1.0))
    store_upload_id = await backend.begin(KEY)
    await run(store_objects.begun, KEY, "upload-1", store_upload_id)
    source = store.folder / "spool" / "parts"
    source.write_bytes(CONTENT)
    half = 16 * MIB
    parts = [
        await backend.send_part(KEY, store_upload_id, 1, FileSlice(source, 0, half)),
        await backend.send_part(KEY, store_upload_id, 2, FileSlice(source, half, len(CONTENT) - half)),
    ]
    if complete:
        await backend.assemble(KEY, store_upload_id, parts)
        await run(store_objects.whole, KEY, "upload-1")


async def read(store: Shop, start: int = 0, length: int = len(CONTENT)) -> bytes:
    """Bytes of the blob."""
    blob = await store.blobs.content("a", DIGEST)
    assert isinstance(blob, StreamedBlob)
    return b"".join([piece async for piece in blob.read(start, length)])


async def test_h078_an_object_is_a_blob_at_once_and_the_store_moves_it_to_its_digest(
    tmp_path: Path, bucket: Bucket
) -> None:
    """H078: the bytes do not pass through here again; H077: they end up under the digest's path."""
    async with opened(tmp_path, bucket) as (store, settler, discarder):
        await made(store)
        await store.blobs.commit_object("a", DIGEST, KEY, len(CONTENT), "upload-1")
        assert list(bucket.objects()) == [KEY]
        assert await read(store) == CONTENT
        assert await read(store, 5, 17 * MIB) == CONTENT[5 : 5 + 17 * MIB]
        asked = len(bucket.requests())
        async with working(settler, discarder):
            pass
        assert bucket.objects() == {blob_key(DIGEST): len(CONTENT)}
        moving = bucket.requests()[asked:]
        assert moving
        assert sum(each.in_bytes + each.out_bytes for each in moving) < MIB
        assert await store.catalog.read(store_objects.all_rows) == []
        assert await read(store) == CONTENT


async def test_a_stream_that_began_before_settling_goes_on_behind_it(tmp_path: Path, bucket: Bucket) -> None:
    async with opened(tmp_path, bucket) as (store, settler, discarder):
        await made(store)
        await store.blobs.commit_object("a", DIGEST, KEY, len(CONTENT), "upload-1")
        blob = await store.blobs.content("a", DIGEST)
        assert isinstance(blob, StreamedBlob)
        stream = aiter(blob.read(0, len(CONTENT)))
        first = await anext(stream)
        async with working(settler, discarder):
            pass
        assert list(bucket.objects()) == [blob_key(DIGEST)]
        assert first + b"".join([piece async for piece in stream]) == CONTENT


async def test_what_a_process_left_unsettled_is_settled_by_the_next(tmp_path: Path, bucket: Bucket) -> None:
    async with opened(tmp_path, bucket) as (store, _, _):
        await made(store)
        await store.blobs.commit_object("a", DIGEST, KEY, len(CONTENT), "upload-1")
    async with opened(tmp_path, bucket) as (store, settler, discarder):
        assert store.blobs.is_unsettled(DIGEST)
        assert await read(store) == CONTENT
        async with working(settler, discarder):
            pass
        assert bucket.objects() == {blob_key(DIGEST): len(CONTENT)}


@pytest.mark.parametrize("complete", [False, True])
async def test_a_session_that_ends_leaves_neither_object_nor_upload(
    tmp_path: Path, bucket: Bucket, complete: bool
) -> None:
    async with opened(tmp_path, bucket) as (store, settler, discarder):
        await made(store, complete=complete)
        await store.catalog.run(uploads.remove, "upload-1")
        async with working(settler, discarder):
            discarder.poke()
        assert (bucket.objects(), bucket.uploads()) == ({}, [])


async def test_a_blob_whose_object_somebody_took_away_is_unknown_and_healed_by_pushing_it_again(
    tmp_path: Path, bucket: Bucket
) -> None:
    async with opened(tmp_path, bucket) as (store, _, _):
        await store.push_blob("a", CONTENT)
        assert await read(store) == CONTENT
        bucket.remove(blob_key(DIGEST))
        with pytest.raises(BlobUnknown):
            await read(store)
        await store.push_blob("a", CONTENT)
        bucket.write(blob_key(DIGEST), CONTENT[:-1])
        with pytest.raises(ShortRead):
            await read(store)
        with pytest.raises(BlobUnknown):
            await store.blobs.size("a", DIGEST)
        await store.push_blob("a", CONTENT)
        assert await read(store) == CONTENT

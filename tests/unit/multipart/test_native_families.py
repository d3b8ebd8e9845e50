"""Uploads in parts against a store that verifies signatures, in each family: native and buffered, right and wrong."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, get_args

import aiohttp
import pytest
from yarl import URL

from backends.s3.backend import S3Backend
from model.digests import Digest
from model.errors import BlobUnknown, DigestMismatch
from multipart.parts import ListedPart
from tests.support.objectstore import Rule
from tests.unit.backends.looking import opened as opened_store
from tests.unit.backends.looking import settings_of
from tests.unit.multipart.harness import REPOSITORY, PlayedBody
from tests.unit.multipart.parting import OWNER, TEMP, files, listed
from tests.unit.multipart.storehouse import StoreHouse, storehouse

RULES = pytest.mark.parametrize("rule", get_args(Rule))
WHOLE = os.urandom(700)
PARTS = [WHOLE[a:b] for a, b in pairwise([0, 300, 600, 700])]
DIGEST = Digest.of(WHOLE)


@asynccontextmanager
async def over(tmp_path, store, **how: Any) -> AsyncIterator[tuple[StoreHouse, S3Backend, aiohttp.ClientSession, Any]]:
    bucket = store.new_bucket()
    async with (
        opened_store(settings_of(bucket)) as backend,
        aiohttp.ClientSession() as client,
        storehouse(tmp_path, backend=backend, patience_s=20.0, **how) as h,
    ):
        backend.smallest_part_bytes = 1  # the stores of the tests take such parts
        yield h, backend, client, bucket


async def put(client, presigned, content):
    """A client's PUT to a URL that it was given: the status and the ETag."""
    async with client.put(URL(presigned.url, encoded=True), data=content, headers=presigned.headers) as answer:
        return answer.status, answer.headers.get("ETag", "")


@pytest.mark.parametrize(("rule", "hashed"), [*((rule, True) for rule in get_args(Rule)), ("header", False)])
async def test_parts_go_straight_to_a_store_of_each_family_and_become_the_blob(tmp_path, object_store_of, rule, hashed):
    """H017, H170, H179, H189-H191, M07-M10, D8."""
    async with over(tmp_path, object_store_of(rule)) as (h, backend, client, bucket):
        session = await h.parted.open(
            REPOSITORY, owner=OWNER, target=TEMP, size_bytes=700, part_size_bytes=300, native=True
        )
        assert session.mode == "native", session.why_buffered
        etags = []
        for number, content in enumerate(PARTS, 1):
            sha256 = hashlib.sha256(content).hexdigest() if hashed else None
            url = h.parted.part_url(session.id, OWNER, number, sha256=sha256, lifetime_s=900)
            if hashed and backend.checks_hashes:
                assert (await put(client, url, bytes(len(content))))[0] in (400, 403)
            status, etag = await put(client, url, content)
            assert status == 200
            etags.append(etag)
        await h.parted.complete(
            session.id, OWNER, [ListedPart(number, etag) for number, etag in enumerate(etags, 1)], DIGEST
        )
        assert await h.stored(WHOLE)
        await h.discarder.done()
        assert bucket.uploads() == []
        assert sorted(bucket.objects().values()) == [700]
        assert files(h) == []


async def test_wrong_bytes_leave_nothing_in_the_store(tmp_path, object_store_of):
    """C07, T01, T10."""
    async with over(tmp_path, object_store_of()) as (h, _, client, bucket):
        session = await h.parted.open(REPOSITORY, owner=OWNER, target=TEMP, native=True)
        url = h.parted.part_url(session.id, OWNER, 1, lifetime_s=900)
        _, etag = await put(client, url, WHOLE)
        with pytest.raises(DigestMismatch):
            await h.parted.complete(session.id, OWNER, [ListedPart(1, etag)], Digest.of(b"something else"))
        with pytest.raises(BlobUnknown):
            await h.blobs.size(REPOSITORY, Digest.of(b"something else"))
        await h.discarder.done()
        assert (bucket.uploads(), bucket.objects()) == ([], {})


@RULES
async def test_a_whole_that_was_signed_with_its_digest_is_taken_at_its_word_where_the_family_checks_it(
    tmp_path, monkeypatch, object_store_of, rule
):
    """H031, s3-sigv4 4, option a."""
    async with over(tmp_path, object_store_of(rule)) as (h, backend, client, _):
        url = await h.parted.whole_url(REPOSITORY, TEMP, OWNER, DIGEST.hex, 900)
        assert (await put(client, url, WHOLE))[0] == 200
        reads: list[str] = []
        real = backend.get

        def reading(key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
            reads.append(key)
            return real(key, start, length)

        monkeypatch.setattr(backend, "get", reading)
        await h.parted.publish(OWNER, TEMP, DIGEST)
        assert bool(reads) != backend.checks_hashes
        assert await h.stored(WHOLE)


@pytest.mark.parametrize("native", [True, False])
async def test_parts_that_come_through_us_are_sent_on_to_the_store(tmp_path, object_store_of, native):
    """H048, H171, H181, H206."""
    async with over(tmp_path, object_store_of()) as (h, _, _, bucket):
        session = await h.parted.open(
            REPOSITORY, owner=OWNER, target=TEMP, size_bytes=700, part_size_bytes=300, native=native
        )
        for number, content in enumerate(PARTS, 1):
            await h.parted.receive(session.id, OWNER, number, PlayedBody([content]))
        await h.seen()
        assert files(h) == []
        await h.parted.complete(session.id, OWNER, listed(PARTS), DIGEST)
        assert await h.stored(WHOLE)
        await h.discarder.done()
        assert bucket.uploads() == []


async def test_an_abort_leaves_nothing_in_the_store(tmp_path, object_store_of):
    """H028, H067, H180, H192: the store's own listing says so."""
    async with over(tmp_path, object_store_of()) as (h, _, client, bucket):
        session = await h.parted.open(REPOSITORY, owner=OWNER, target=TEMP, native=True)
        await put(client, h.parted.part_url(session.id, OWNER, 1, lifetime_s=900), WHOLE)
        await h.parted.receive(session.id, OWNER, 2, PlayedBody([WHOLE]))
        await h.seen()
        assert len(bucket.uploads()) == 1
        await h.parted.abort(session.id, OWNER)
        await h.discarder.done()
        assert (bucket.uploads(), bucket.objects()) == ([], {})

"""A look at a real store: each family is known for what it is, everything is tried, and nothing is left behind."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.s3.backend import open_store
from backends.s3.findings import Aspect
from backends.s3.outside import Reply, ask
from backends.s3.ownprobe import PROBES
from backends.s3.probing import look
from certs.trust import client_context
from model.clock import SystemClock
from sigv4.places import Style
from sigv4.presigning import Form
from tests.support.faultproxy import FaultProxy
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.storefaults import Call, Held, Lost, Refusal, Reset
from tests.support.stores import StoreOf
from tests.unit.backends.looking import host_changer, looked, opened, session, settings_of, tls_front, told, works
from tests.unit.clients.steps import self_signed, tls_context


def assert_clean(bucket: Bucket) -> None:
    assert (bucket.objects(), bucket.uploads()) == ({}, [])


@pytest.mark.parametrize(
    ("rule", "family", "hashed", "checks"),
    [
        ("header", "header or minio", Form.HASH, True),
        ("minio", "header or minio", Form.HASH, True),
        ("query", "query", Form.HASH, True),
        ("literal", "literal", Form.HEADER_UNHASHED, False),
    ],
)
async def test_each_family_is_known_and_clients_can_be_sent_to_it(
    object_store_of: StoreOf, rule: str, family: str, hashed: Form, checks: bool
) -> None:
    """H041, H042, H046, H125: found by trying, on a server that verifies every signature."""
    bucket = object_store_of(rule).new_bucket()
    found = await looked(settings_of(bucket))
    assert (found.family, found.hashed, found.checks_hashes) == (family, hashed, checks)
    assert (found.native, found.why_not) == (True, "")
    assert (found.multipart, found.copy, found.reachable) == (True, True, True)
    assert_clean(bucket)


async def test_an_old_store_of_the_literal_kind_is_known_as_one(debian_store: ObjectStore) -> None:
    """H125: no emulation; Debian's Swift 2.30 really refuses form C and takes form G."""
    bucket = debian_store.new_bucket()
    found = await looked(settings_of(bucket))
    assert (found.family, found.hashed, found.checks_hashes) == ("literal", Form.HEADER_UNHASHED, False)
    assert found.native
    assert found.server.startswith("OpenStack Swift 2.30")
    assert works(found)[Aspect.CLEAN]
    assert_clean(bucket)


async def test_everything_is_tried_below_a_prefix_too(object_store: ObjectStore) -> None:
    """H124: nothing is outside the prefix, not even for a moment, and nothing stays."""
    store = object_store
    bucket = store.new_bucket(prefix="lab/one")
    found = await looked(settings_of(bucket))
    assert set(works(found)) == set(Aspect)
    paths = {each.path for each in bucket.requests() if each.method not in ("GET", "HEAD")}
    assert len(paths) > 3
    assert all(path.startswith(f"/{bucket.name}/lab/one/{PROBES}") for path in paths - {f"/{bucket.name}"})
    assert_clean(bucket)


async def test_a_store_tells_its_name_and_version(bucket: Bucket) -> None:
    """G12."""
    assert (await looked(settings_of(bucket))).server == "OpenStack Swift 2.38.3"


async def test_what_a_store_cannot_do_is_no_failure_of_the_look(bucket: Bucket) -> None:
    """Swift tells no SHA-256 of a copy and takes no form G; both have a way around."""
    found = await looked(settings_of(bucket))
    assert works(found)[Aspect.COPY_SHA256] is False
    assert works(found)[Aspect.UNHASHED] is False
    assert not found.copy_sha256
    assert found.reachable


async def test_with_signed_urls_switched_off_none_is_made(bucket: Bucket) -> None:
    """H044, H045: also not to try whether one would work."""
    found = await looked(replace(settings_of(bucket), direct=False))
    assert found.why_not == "DISABLE_PRESIGNED_URLS is set"
    assert found.multipart
    assert works(found)[Aspect.PLAIN] is None
    assert not [each for each in bucket.requests() if "X-Amz-Signature" in each.query]
    assert_clean(bucket)


async def test_an_external_address_that_nobody_answers_at_means_buffered(bucket: Bucket) -> None:
    """H047, M11: signing for it is possible, so only trying shows that it is of no use."""
    found = await looked(replace(settings_of(bucket), external_endpoint="http://127.0.0.1:9"))
    assert not found.native
    assert "nobody answers at http://127.0.0.1:9" in found.why_not
    assert (found.copy, found.multipart) == (True, True)
    assert_clean(bucket)


async def test_an_external_address_whose_host_differs_from_ours_is_signed_for(object_store: ObjectStore) -> None:
    """M11, G07: two host names of one store, each with its own signatures."""
    bucket = object_store.new_bucket()
    outside = f"http://localhost:{object_store.port}"
    found = await looked(replace(settings_of(bucket), external_endpoint=outside))
    assert (found.native, found.external) == (True, f"reached at {outside}")


async def test_a_proxy_that_changes_the_host_is_named_as_the_reason(object_store: ObjectStore) -> None:
    """G19, M11: the store only says that the signature is wrong; the remedy is the proxy's line about Host."""
    bucket = object_store.new_bucket()
    async with host_changer(object_store.netloc) as proxy:
        found = await looked(replace(settings_of(bucket), external_endpoint=f"http://{proxy}"))
    assert not found.native
    assert f"we signed {proxy}, the store saw {object_store.netloc}" in found.why_not
    assert "Host" in found.why_not
    assert_clean(bucket)


async def test_buckets_in_the_host_name_work_where_the_store_knows_its_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """M12's other style; DNS has to lead every name below the store's to it."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("s3.test") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    with ObjectStore(min_part=1024, domain="s3.test") as store:
        bucket = store.new_bucket()
        outside = f"http://s3.test:{store.port}"
        found = await looked(replace(settings_of(bucket), endpoint=outside, style=Style.VIRTUAL))
        assert (found.native, found.external) == (True, f"reached at {outside}")
        assert_clean(bucket)


async def test_a_store_behind_tls_is_trusted_by_its_own_authority(bucket: Bucket, tmp_path: Path) -> None:
    """M22, G14, G15: by control calls, bytes and signed URLs alike; without the file nothing is sent there."""
    certificate = self_signed(tmp_path)
    async with tls_front(bucket.store.netloc, tls_context(certificate)) as netloc:
        url = f"https://{netloc}".replace("127.0.0.1", "localhost")
        settings = replace(settings_of(bucket), endpoint=url)
        async with open_store(settings, SystemClock(), lambda: session(client_context(certificate))) as backend:
            assert (backend.findings.native, backend.findings.external) == (True, f"reached at {url}")
        async with opened(settings) as backend:
            found = await look(backend.calls, settings, SystemClock(), backend.calls.session)
        assert "S3_CA_FILE" in found.why_not


async def test_a_dead_store_is_found_dead_and_says_why(own_store: ObjectStore) -> None:
    """H047."""
    settings = settings_of(own_store.bucket_of_its_own)
    async with opened(settings) as backend:
        own_store.kill()
        found = await look(backend.calls, settings, SystemClock(), backend.calls.session)
        assert (found.reachable, found.native) == (False, False)
        assert "nobody answers at" in found.why_not
        own_store.start()
        assert own_store.objects() == {}


@pytest.mark.parametrize("dying", [Call.PUT, Call.LIST, Call.CREATE, Call.PART, Call.COMPLETE, Call.COPY])
async def test_a_store_that_dies_in_the_middle_ends_the_look_within_bounds(bucket: Bucket, dying: Call) -> None:
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = replace(settings_of(bucket), endpoint=proxy.url)
        async with opened(settings) as backend:
            proxy.on(Reset(), dying, skip=1 if dying is Call.LIST else 0)
            found = await look(backend.calls, settings, SystemClock(), backend.calls.session)
    assert works(found)[Aspect.CLEAN] is True
    assert not found.native or dying is Call.COPY
    assert_clean(bucket)


async def test_an_upload_whose_id_got_lost_is_found_and_aborted(bucket: Bucket) -> None:
    """The store began it, and its answer never came."""
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = replace(settings_of(bucket), endpoint=proxy.url)
        async with opened(settings) as backend:
            proxy.on(Lost(), Call.CREATE)
            found = await look(backend.calls, settings, SystemClock(), backend.calls.session)
    assert not found.multipart
    assert_clean(bucket)


async def test_one_bad_moment_does_not_send_everything_through_us(bucket: Bucket) -> None:
    """H046: what a look finds counts for ten minutes, so each question is asked again before it is answered no."""
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = replace(settings_of(bucket), endpoint=proxy.url)
        for call in (Call.CREATE, Call.LIST_PARTS, Call.COMPLETE, Call.COPY, Call.HEAD):
            proxy.on(Refusal(503, "ServiceUnavailable"), call, times=1)
        proxy.on(Refusal(503, "ServiceUnavailable"), Call.PART, query="X-Amz-Signature", times=1)
        found = await looked(settings)
    assert (found.native, found.copy, found.checks_hashes) == (True, True, True)
    assert_clean(bucket)


async def test_a_store_without_multipart_is_said_to_have_none(bucket: Bucket) -> None:
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = replace(settings_of(bucket), endpoint=proxy.url)
        proxy.on(Refusal(501, "NotImplemented"), Call.CREATE)
        found = await looked(settings)
    assert (found.multipart, found.native, found.reachable) == (False, False, True)
    assert found.why_not == "the store does no multipart uploads"
    assert_clean(bucket)


async def test_a_store_that_is_ill_for_one_thing_only_is_not_dead(bucket: Bucket) -> None:
    """Some stores answer 500 to what they cannot do."""
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = replace(settings_of(bucket), endpoint=proxy.url)
        proxy.on(Refusal(500, "InternalError"), Call.COPY)
        found = await looked(settings)
    assert (found.reachable, found.copy, found.native) == (True, False, True)
    assert [step.aspect for step in found.steps].count(Aspect.REACH) == 1
    assert_clean(bucket)


async def test_a_body_that_is_taken_although_its_hash_is_wrong_is_noticed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C07: such a store must not be believed when it says that it checks."""
    monkeypatch.setattr("backends.s3.urlprobe.WRONG_PIECE", b"h")
    found = await looked(settings_of(bucket))
    assert (found.hashed, found.checks_hashes) == (Form.HASH, False)
    assert "does not hash" in told(found, Aspect.CHECKED)


async def test_a_store_that_obeys_a_header_that_was_not_signed_is_not_believed_either(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C07: a client could have it copy anything into the part whose URL was signed with a hash (s3-sigv4 1.5)."""
    told_to: list[str] = []

    async def obeying(*args: Any, **how: Any) -> Reply:
        source = (how["headers"] or {}).get("x-amz-copy-source")
        if source is None:
            return await ask(*args, **how)
        told_to.append(source)
        return Reply(200, {}, b"<CopyPartResult><ETag>1</ETag></CopyPartResult>", 0.0)

    monkeypatch.setattr("backends.s3.urlprobe.ask", obeying)
    found = await looked(settings_of(bucket))
    assert (found.hashed, found.checks_hashes) == (Form.HASH, False)
    assert "not signed" in told(found, Aspect.CHECKED)
    assert told_to[0].startswith(f"/{bucket.name}/")


async def test_a_look_that_is_cancelled_leaves_nothing_behind(bucket: Bucket) -> None:
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = replace(settings_of(bucket), endpoint=proxy.url)
        async with opened(settings) as backend:
            held = proxy.on(Held("after"), Call.PART)
            looking = asyncio.create_task(look(backend.calls, settings, SystemClock(), backend.calls.session))
            await asyncio.to_thread(held.reached)
            looking.cancel()
            held.release()
            with pytest.raises(asyncio.CancelledError):
                await looking
    assert_clean(bucket)


async def test_a_store_that_is_too_slow_is_given_up(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.s3.probing.LOOK_S", 3.0)  # time enough to come so far
    with FaultProxy(bucket.store.netloc) as proxy:
        settings = replace(settings_of(bucket), endpoint=proxy.url)
        async with opened(settings) as backend:
            held = proxy.on(Held("after"), Call.LIST_PARTS)
            found = await look(backend.calls, settings, SystemClock(), backend.calls.session)
            held.release()
    assert "too slowly" in found.why_not
    assert_clean(bucket)


async def test_what_a_killed_look_left_goes_with_a_look_an_hour_later(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, others = f"{PROBES}0123456789abcdef", f"{PROBES}mine.txt"
    bucket.write(left, b"x")
    bucket.store.client.create_multipart_upload(Bucket=bucket.name, Key=f"{left}-forms")
    settings = settings_of(bucket)
    async with opened(settings) as backend:
        await look(backend.calls, settings, SystemClock(), backend.calls.session)
        assert (len(bucket.objects()), len(bucket.uploads())) == (1, 1), "it may be another process's, at work now"
        bucket.write(others, b"x")
        monkeypatch.setattr("backends.s3.reaching.HOUR_S", -5)
        await look(backend.calls, settings, SystemClock(), backend.calls.session)
    assert list(bucket.objects()) == [others], "no look gives that name"
    bucket.store.client.delete_object(Bucket=bucket.name, Key=others)
    assert_clean(bucket)

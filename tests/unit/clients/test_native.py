"""Pushing parts straight into an object store, and what happens when that store does not play along (H048)."""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from certs.trust import client_context
from clients.problems import Refused
from clients.retrying import GaveUp
from tests.interop import layouts
from tests.interop.layouts import Layout, artifact, filler
from tests.unit.clients import steps
from tests.unit.clients.fake import Broken, FakeRegistry, Fault, Lost, Session, Status, Then
from tests.unit.clients.fake_store import FakeStore
from tests.unit.clients.steps import Page, self_signed, sha256, some_file, tls_context

PART = 64 * 1024
FROM_NOW_ON = "parts go through the registry from now on\n"
NO_FAULT = Then(lambda: None)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Eight parts, the last one shorter."""
    return some_file(tmp_path / "big.bin", 7 * PART + 17)


@contextlib.asynccontextmanager
async def native(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[FakeRegistry, FakeStore]]:
    """A registry whose sessions are native, and its store; each knows what arrived at the other."""
    async with FakeRegistry() as fake, FakeStore(tls) as store:
        fake.native, fake.part_urls = True, store.part_url

        def took(upload: str, number: int, body: bytes, etag: str) -> None:
            fake.sessions[upload].took(number, body, etag)

        store.took = took
        yield fake, store


async def pushed(url: str, source: Path, **how: Any) -> list[tuple[str, str | None]]:
    """Push in small parts, so that a test need not move much."""
    return await steps.pushed(url, source, **({"part_size_bytes": PART, "in_one_bytes": 4 * PART} | how))


def through_server(fake: FakeRegistry) -> list[int]:
    """The parts that the registry got, by URLs that it was asked for."""
    assert all("X-Amz-Signature=" in seen.path for seen in fake.of("part"))
    return sorted(int(seen.path.partition("?")[0].rpartition("/")[2]) for seen in fake.of("part"))


def in_one_session(fake: FakeRegistry, big: Path) -> bool:
    """Whether the blob is there, and came there in the session it was begun in."""
    assert fake.blobs[sha256(big)] == big.read_bytes()
    return len(fake.of("start")) == 1 and not fake.of("abort") and not fake.sessions


async def test_parts_go_to_the_store_and_not_through_the_registry(big: Path) -> None:
    """H179, H105, H087, T08: the registry sees URLs and ETags; those are handed back as they came."""
    async with native() as (fake, store):
        fake.hold_token = "secret"
        page = Page()
        await pushed(fake.url, big, hold_token="secret", page=page)
        assert in_one_session(fake, big)
        assert sorted(seen.size_bytes for seen in store.seen) == [17, *[PART] * 7]
        assert not fake.of("part")
        [complete] = fake.of("complete")
        assert [len(row["etag"]) for row in complete.said["parts"]] == [2 + 32] * 8
        assert page.text == ""


async def test_nothing_of_ours_reaches_the_store_but_what_was_signed(big: Path) -> None:
    """s3-sigv4 1.4, 1.5: two proofs at once are a refusal, and so is a header that nobody signed."""
    async with native() as (fake, store):
        fake.hold_token = "secret"
        await pushed(fake.url, big, hold_token="secret")
        names = {name.lower() for seen in store.seen for name in seen.headers}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "content-length", "content-type"}


async def test_announced_hashes_go_to_the_store_with_the_parts(big: Path) -> None:
    """M07, M09: as a header that the URL was signed with."""
    async with native() as (fake, store):
        await pushed(fake.url, big, announce=True)
        assert in_one_session(fake, big)
        assert len({seen.headers["x-amz-content-sha256"] for seen in store.seen}) == 8


async def test_a_blob_of_one_part_and_known_digest_is_announced_by_itself(tmp_path: Path) -> None:
    """Then the store proves the whole, and nobody has to read it again."""
    layout = Layout(tmp_path / "layout")
    files = {name: filler(name, 100_000) for name in ("one", "two")}
    layout.name(artifact(layout, "a/type", files), "1")
    async with native() as (fake, store):
        await pushed(fake.url, layout.path, part_size_bytes=None, in_one_bytes=10_000)
        announced = {f"sha256:{seen.headers['x-amz-content-sha256']}" for seen in store.seen}
        assert announced == {layouts.sha256(content) for content in files.values()}


TROUBLE: dict[str, Fault] = {
    "refuses": Status(403, document={"error": "SignatureDoesNotMatch"}),
    "does not know the upload": Status(404, document={"error": "NoSuchUpload"}),
    "is no store": Status(405),
    "redirects to nowhere": Status(307, {"Location": "http://127.0.0.1:1/"}),
    "hangs up at once": Broken(0),
    "hangs up in the middle": Broken(1000),
    "says nothing in the end": Lost(),
    "fails": Status(500),
    "is busy all the time": Status(503, {"Retry-After": "0"}),
    "gets other bytes": Status(400, document={"error": "XAmzContentSHA256Mismatch"}),
    "forgets the ETag": Status(200),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
async def test_a_store_that_takes_no_part_is_done_without(big: Path, trouble: Fault) -> None:
    """H048: whatever is wrong with it, the same upload goes on through the registry, and that is said once."""
    async with native() as (fake, store):
        store.always = trouble
        page = Page()
        await pushed(fake.url, big, page=page)
        assert in_one_session(fake, big)
        assert through_server(fake) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert len(store.seen) <= 4 * 4 + 4
        assert page.text.count(FROM_NOW_ON) == 1
        assert "X-Amz" not in page.text


async def nowhere() -> str:
    """The address of a store that has gone."""
    async with FakeStore() as gone:
        return gone.url


@pytest.mark.parametrize(
    ("store_url", "told"),
    [
        ("http://127.0.0.1:1", "Connection refused"),
        ("http://store.invalid:9000", "cannot connect to store.invalid:9000"),
        ("https://{registry}", "does not speak TLS"),
    ],
)
async def test_a_store_that_cannot_be_reached_is_tried_once_for_a_part(big: Path, store_url: str, told: str) -> None:
    """H047, H048: nobody waits for an address that leads nowhere from here."""
    async with native() as (fake, store):
        store.url = store_url.format(registry=fake.netloc)
        page = Page()
        await pushed(fake.url, big, page=page, parallel=1)
        assert in_one_session(fake, big)
        assert through_server(fake) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert len([seen for seen in fake.of("url") if "mode" not in seen.said]) == 2
        assert told in page.text
        assert "trying again" not in page.text
        assert page.text.count(FROM_NOW_ON) == 1


async def test_a_store_whose_certificate_nobody_vouches_for_gets_nothing(big: Path, tmp_path: Path) -> None:
    """H048: the registry itself may be trusted all the same."""
    async with native(tls_context(self_signed(tmp_path))) as (fake, store):
        page = Page()
        await pushed(fake.url, big, page=page, trust=client_context())
        assert in_one_session(fake, big)
        assert store.seen == []
        assert "the certificate of localhost" in page.text
        assert page.text.count(FROM_NOW_ON) == 1


async def test_one_part_that_the_store_does_not_take_goes_round_it_and_the_others_do_not(big: Path) -> None:
    """H048: part by part. The ETags of both sorts are listed in the end."""
    async with native() as (fake, store):
        store.faults = [None, Broken(10), Broken(10), None]
        page = Page()
        await pushed(fake.url, big, parallel=1, page=page)
        assert in_one_session(fake, big)
        assert through_server(fake) == [2]
        assert "part 2 of big.bin goes through the registry\n" in page.text
        assert FROM_NOW_ON not in page.text
        [complete] = fake.of("complete")
        assert [len(row["etag"]) for row in complete.said["parts"]] == [34, 66, *[34] * 6]


async def test_a_store_that_fails_in_the_middle_keeps_what_it_has(big: Path) -> None:
    """H048: a native upload that breaks in the middle goes on buffered, in the same session."""
    async with native() as (fake, store):
        store.faults = [None, None, None]
        store.always = Broken(100)
        await pushed(fake.url, big, parallel=1)
        assert in_one_session(fake, big)
        assert through_server(fake) == [4, 5, 6, 7, 8]


async def test_an_expired_url_of_the_store_is_replaced_by_a_new_one(big: Path) -> None:
    """H098: it was signed for fifteen minutes, and the line was slow."""
    async with native() as (fake, store):
        store.faults = [None, Status(403, document={"error": "AccessDenied"})]
        page = Page()
        await pushed(fake.url, big, parallel=1, page=page)
        assert in_one_session(fake, big)
        assert not fake.of("part")
        assert len(fake.of("url")) == 9
        assert page.text == ""


async def test_a_store_that_is_busy_is_given_time(big: Path) -> None:
    """SlowDown is a request, not a refusal."""
    async with native() as (fake, store):
        store.faults = [Status(503, document={"error": "SlowDown"})] * 3
        await pushed(fake.url, big, parallel=1)
        assert in_one_session(fake, big)
        assert not fake.of("part")


async def test_what_one_blob_learned_of_the_store_holds_for_the_others(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    files = {name: filler(name, 5 * PART) for name in ("one", "two", "three")}
    layout.name(artifact(layout, "a/type", files), "1")
    async with native() as (fake, store):
        store.always = Status(403)
        page = Page()
        await pushed(fake.url, layout.path, page=page, parallel=1)
        assert {layouts.sha256(content) for content in files.values()} <= fake.blobs.keys()
        assert len(store.seen) == 4
        assert page.text.count(FROM_NOW_ON) == 1


async def test_a_server_that_knows_no_other_way_gets_the_parts_by_our_own_proof(big: Path) -> None:
    """One that does not understand `mode` gives the store's URL once more; its own endpoint is left."""
    async with native() as (fake, store):
        made, fake.hold_token = store.part_url, "secret"
        store.url = await nowhere()
        fake.part_base = store.url
        fake.part_urls = made
        await pushed(fake.url, big, parallel=1, hold_token="secret")
        assert in_one_session(fake, big)
        assert {seen.headers["Authorization"] for seen in fake.of("part")} == {"Bearer secret"}


async def test_a_push_that_was_stopped_goes_on_with_the_etags_of_the_store(big: Path, tmp_path: Path) -> None:
    """H070, H071, H087, T08: the journal knows which ETag is whose; the registry says what the store has."""
    async with native() as (fake, store):
        store.faults = [None, None, Broken(10), Broken(10), None]
        fake.faults["url"] = [NO_FAULT] * 6 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01, parallel=1)
        [path] = (tmp_path / "journal").glob("*.json")
        [entry] = [each for each in json.loads(path.read_text())["blobs"].values() if each["upload_id"]]
        assert entry["native"] is True
        assert {number: len(etag) for number, etag in entry["parts"].items()} == {"1": 34, "2": 34, "3": 66, "4": 34}
        fake.faults["url"].clear()
        store.seen.clear()
        page = Page()
        await pushed(fake.url, big, page=page)
        assert "4 of 8 parts are there already" in page.text
        assert len(store.seen) == 4
        assert in_one_session(fake, big)


async def test_a_part_that_was_replaced_in_the_store_is_sent_again(big: Path) -> None:
    """T08: another ETag than ours means other bytes, as far as we know."""
    async with native() as (fake, store):
        fake.faults["url"] = [NO_FAULT] * 5 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01, parallel=1)
        [session] = fake.sessions.values()
        replaced(session, 2)
        fake.faults["url"].clear()
        store.seen.clear()
        await pushed(fake.url, big)
        assert len(store.seen) == 4
        assert in_one_session(fake, big)


def replaced(session: Session, number: int) -> None:
    """Somebody else has put something under the number."""
    session.took(number, b"another's", f'"{"0" * 32}"')


async def test_a_session_that_is_gone_for_the_registry_too_is_begun_anew(big: Path) -> None:
    """The store says that it does not know the upload, and so does the registry."""
    async with native() as (fake, store):
        store.faults = [None, Then(fake.sessions.clear), Status(404), Status(404)]
        fake.faults["url"] = [NO_FAULT] * 2 + [Then(fake.sessions.clear)]
        page = Page()
        await pushed(fake.url, big, parallel=1, page=page)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert len(fake.of("start")) == 2
        assert "begun anew" in page.text


async def test_a_login_that_ended_ends_the_push_and_not_the_trust_in_the_store(big: Path) -> None:
    async with native() as (fake, store):
        fake.hold_token = "old"
        fake.faults["url"] = [NO_FAULT] * 3 + [Then(lambda: setattr(fake, "hold_token", "new"))]
        with pytest.raises(Refused, match=r"answered 401\nlog in"):
            await pushed(fake.url, big, hold_token="old", parallel=1)
        await pushed(fake.url, big, hold_token="new")
        assert in_one_session(fake, big)
        assert len(store.seen) == 8

"""Pushing in parts against a registry that misbehaves: what is sent, what is sent again, and what is given up."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from clients.problems import Problem, Refused, SourceChanged
from clients.retrying import GaveUp
from tests.unit.clients import steps
from tests.unit.clients.fake import Broken, FakeRegistry, Lost, Session, Status, Then, WrongEtag
from tests.unit.clients.steps import MIB, Page, sha256, some_file

PART = 64 * 1024


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Eight parts, the last one shorter."""
    return some_file(tmp_path / "big.bin", 7 * PART + 17)


async def pushed(url: str, source: Path, **how: Any) -> list[tuple[str, str | None]]:
    """Push in small parts, so that a test need not move much."""
    return await steps.pushed(url, source, **({"part_size_bytes": PART, "in_one_bytes": 4 * PART} | how))


def journals(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "journal").iterdir())


async def test_a_large_file_goes_up_in_parts_and_is_read_back_whole(tmp_path: Path) -> None:
    """H209, H095, H096, H097: parts of at least 5 MiB but the last, numbered from 1 and listed in that order."""
    big = some_file(tmp_path / "big.bin", 36 * MIB + 17)
    async with FakeRegistry() as fake:
        [(digest, tag)] = await steps.pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert sorted(seen.size_bytes for seen in fake.of("part")) == [MIB + 17, *[5 * MIB] * 7]
        assert json.loads(fake.manifests["1"][0])["layers"][0]["digest"] == sha256(big)
        assert (tag, digest) == ("1", next(name for name in fake.manifests if name.startswith("sha256")))
        assert fake.sessions == {}
        assert not fake.of("patch")
    assert journals(tmp_path) == []


async def test_the_urls_of_parts_carry_all_authority_and_ours_stays_at_home(big: Path) -> None:
    """H098: each URL is fetched just before its part; Authorization goes with the calls, not with the parts."""
    async with FakeRegistry() as fake:
        fake.hold_token = "secret"
        await pushed(fake.url, big, hold_token="secret")
        assert {seen.headers.get("Authorization") for seen in fake.of("part")} == {None}
        assert {seen.headers.get("Authorization") for seen in fake.of("url")} == {"Bearer secret"}
        kinds = [seen.kind for seen in fake.seen if seen.kind in ("url", "part")]
        assert max(kinds[: n + 1].count("url") - kinds[: n + 1].count("part") for n in range(len(kinds))) <= 4


async def test_a_broken_line_costs_the_part_that_was_on_it(big: Path) -> None:
    """And nobody who looks over our shoulder gets a signed URL."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Broken(1000), Broken(60_000)]
        page = Page()
        await pushed(fake.url, big, page=page)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert len(fake.of("part")) == 10
        assert "trying again" in page.text
        assert "X-Amz" not in page.text


async def test_a_lost_answer_sends_the_part_again(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Lost()]
        await pushed(fake.url, big)
        assert len(fake.of("part")) == 9


async def test_what_arrives_damaged_is_sent_again(big: Path) -> None:
    """The hash that was computed while sending is compared with the ETag that comes back (H089)."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [WrongEtag()]
        page = Page()
        await pushed(fake.url, big, page=page)
        assert len(fake.of("part")) == 9
        assert "other bytes arrived than were sent; trying again" in page.text


async def test_an_acknowledgement_without_etag_is_none(big: Path) -> None:
    """H023."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [WrongEtag("")]
        await pushed(fake.url, big)
        assert len(fake.of("part")) == 9


async def test_the_etags_of_an_object_store_are_taken_as_they_are(big: Path) -> None:
    """T08: what is not a SHA-256 is a token."""
    async with FakeRegistry() as fake:
        fake.native = True
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 507])
async def test_a_server_that_says_later_is_asked_again_later(big: Path, status: int) -> None:
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Status(status, {"Retry-After": "0"})]
        fake.faults["complete"] = [Status(status)]
        fake.faults["start"] = [Status(status)]
        fake.faults["url"] = [Status(status)]
        await pushed(fake.url, big)
        assert sha256(big) in fake.blobs
        assert len(fake.of("complete")) == 2


async def test_an_expired_url_is_replaced_by_a_new_one(big: Path) -> None:
    """H048, H098."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Status(403)]
        await pushed(fake.url, big, parallel=1)
        assert len(fake.of("url")) == 9
        assert all("X-Amz-Signature=" in seen.path for seen in fake.of("part"))


async def test_urls_that_are_refused_are_done_without(big: Path) -> None:
    """H048: the server's own endpoint takes the part, by our own authority."""
    async with FakeRegistry() as fake:
        fake.hold_token = "secret"
        fake.faults["part"] = [Status(403), Status(403)]
        await pushed(fake.url, big, parallel=1, hold_token="secret")
        own = [seen for seen in fake.of("part") if "X-Amz-Signature=" not in seen.path]
        assert len(own) == 8
        assert {seen.headers["Authorization"] for seen in own} == {"Bearer secret"}


async def test_a_host_of_urls_that_cannot_be_reached_is_done_without(big: Path) -> None:
    """H048: a presigned URL that leads nowhere from here."""
    async with FakeRegistry() as gone:
        nowhere = gone.url
    async with FakeRegistry() as fake:
        fake.part_base = nowhere
        page = Page()
        await pushed(fake.url, big, page=page)
        assert sha256(big) in fake.blobs
        assert page.text.count("parts go through the registry from now on\n") == 1


async def test_no_proof_of_ours_reaches_the_host_of_part_urls(big: Path) -> None:
    """Authorization is for the registry's own host."""
    async with FakeRegistry() as fake, FakeRegistry() as store:
        fake.part_base = store.url
        fake.hold_token = "secret"
        store.sessions = fake.sessions
        await pushed(fake.url, big, hold_token="secret")
        assert sha256(big) in fake.blobs
        assert len(store.of("stored")) == 8
        assert {seen.headers.get("Authorization") for seen in store.seen} == {None}


async def test_a_server_that_gives_no_urls_gets_the_parts_itself(big: Path) -> None:
    """H048: proxy part URLs, or none."""
    async with FakeRegistry() as fake:
        fake.faults["url"] = [Status(405)]
        await pushed(fake.url, big, parallel=1)
        assert sha256(big) in fake.blobs
        assert len(fake.of("url")) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_a_start_that_is_refused_leads_to_plain_oci(big: Path, status: int) -> None:
    """H048."""
    async with FakeRegistry() as fake:
        fake.faults["start"] = [Status(status)]
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert len(fake.of("patch")) == 2


async def test_a_start_that_answers_anything_but_a_session_leads_to_plain_oci(big: Path) -> None:
    """T04: an answer is not believed before its status and its id were seen."""
    async with FakeRegistry() as fake:
        fake.faults["start"] = [Status(200, document={"hello": "world"})]
        await pushed(fake.url, big)
        assert sha256(big) in fake.blobs


async def test_a_native_session_whose_store_fails_is_aborted_and_plain_oci_takes_over(big: Path) -> None:
    """H048, H111, H019: the server takes no parts of such a session itself."""
    async with FakeRegistry() as gone:
        nowhere = gone.url
    async with FakeRegistry() as fake:
        fake.native, fake.part_base, fake.takes_parts = True, nowhere, False
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert fake.sessions == {}
        assert len(fake.of("abort")) == 1


async def test_a_part_that_is_refused_for_good_ends_the_push_and_the_upload(big: Path, tmp_path: Path) -> None:
    """H111, H115: the upload is aborted, then the error is told."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Status(413, document={"error": "TooLarge", "message": "too much of it"})]
        with pytest.raises(Refused, match=r"413 \(TooLarge: too much of it\)\n.*limit"):
            await pushed(fake.url, big)
        assert fake.sessions == {}
        assert not fake.of("complete")


async def test_bytes_that_are_not_what_their_digest_says_are_blamed_on_the_file(big: Path) -> None:
    """A layout whose blob was damaged on our own disk: the answer says only that the digest is another."""
    async with FakeRegistry() as fake:
        fake.faults["complete"] = [Status(400, document={"error": "CompletionFailed", "message": "other bytes"})]
        with pytest.raises(Refused, match=r"sha256:.* \(CompletionFailed: other bytes\)\nthe file is damaged"):
            await pushed(fake.url, big)


async def test_who_has_to_log_in_again_goes_on_with_the_upload(big: Path) -> None:
    """A secret that is changed on the way is no reason to send everything again."""
    async with FakeRegistry() as fake:
        fake.hold_token = "old"
        fake.faults["url"] = [Then(lambda: None)] * 5 + [Then(lambda: setattr(fake, "hold_token", "new"))]
        with pytest.raises(Refused, match=r"answered 401\nlog in"):
            await pushed(fake.url, big, hold_token="old", parallel=1)
        fake.seen.clear()
        await pushed(fake.url, big, hold_token="new")
        assert len(fake.of("part")) == 3
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_a_lost_answer_to_the_completion_is_asked_for_again(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["complete"] = [Lost()]
        await pushed(fake.url, big)
        assert len(fake.of("complete")) == 2
        assert len(fake.of("part")) == 8


async def test_parts_that_the_server_lost_are_sent_again(big: Path) -> None:
    """A part may turn out bad after an unclean start of the server; the list it refuses tells us."""
    async with FakeRegistry() as fake:
        fake.faults["complete"] = [Then(lambda: [s.parts.pop(3) for s in fake.sessions.values()])]
        page = Page()
        await pushed(fake.url, big, page=page)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert len(fake.of("part")) == 9
        assert "sending them again" in page.text


async def test_a_session_that_vanishes_is_begun_anew(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["url"] = [Then(lambda: None)] * 5 + [Then(fake.sessions.clear)]
        page = Page()
        await pushed(fake.url, big, page=page)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert len(fake.of("start")) == 2
        assert "begun anew" in page.text


async def test_what_gives_up_keeps_its_place_and_the_next_push_sends_only_the_rest(big: Path, tmp_path: Path) -> None:
    """H070, H071, T09: the journal has the session, the server says what it has, the rest is sent."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Then(lambda: None)] * 5 + [Status(503)] * 100
        with pytest.raises(GaveUp, match=r"gave up after 0 s without progress\nnothing that arrived is lost"):
            await pushed(fake.url, big, give_up_after_s=0.01, parallel=1)
        assert len(journals(tmp_path)) == 2
        fake.faults["part"].clear()
        fake.seen.clear()
        page = Page()
        await pushed(fake.url, big, page=page)
        assert len(fake.of("part")) == 3
        assert not fake.of("start")
        assert "5 of 8 parts are there already" in page.text
        assert fake.blobs[sha256(big)] == big.read_bytes()
    assert journals(tmp_path) == []


async def test_parts_that_arrived_unnoticed_are_recognised_by_their_hash(big: Path, tmp_path: Path) -> None:
    """Killed before they could be written down: the server has them, and they are ours."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Then(lambda: None)] * 4 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01, parallel=1)
        [path] = (tmp_path / "journal").glob("*.json")
        known = json.loads(path.read_text())
        [entry] = [blob for blob in known["blobs"].values() if blob["upload_id"]]
        entry["parts"] = {"1": entry["parts"]["1"]}
        path.write_text(json.dumps(known))
        fake.sessions[entry["upload_id"]].took(3, b"another's", f'"{"0" * 64}"')
        fake.faults["part"].clear()
        fake.seen.clear()
        await pushed(fake.url, big)
        assert len(fake.of("part")) == 5
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_a_file_that_was_written_to_since_is_begun_anew_and_the_old_upload_is_aborted(
    big: Path, tmp_path: Path
) -> None:
    """H115."""
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Then(lambda: None)] * 4 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01, parallel=1)
        some_file(big, 6 * PART, seed=2)
        fake.faults["part"].clear()
        page = Page()
        await pushed(fake.url, big, page=page)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert "was written to since the push that was interrupted; begun anew" in page.text
        assert fake.sessions == {}


async def test_a_file_of_the_same_length_that_was_written_to_is_begun_anew(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Then(lambda: None)] * 4 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01, parallel=1)
        some_file(big, big.stat().st_size, seed=2)
        fake.faults["part"].clear()
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert fake.sessions == {}


def written_to(path: Path) -> None:
    """Change a byte in place."""
    with path.open("r+b") as file:
        file.write(b"\0")


async def test_a_file_that_is_cut_short_while_it_is_pushed_is_not_pushed(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["start"] = [Then(lambda: os.truncate(big, 3 * PART))]
        with pytest.raises(SourceChanged, match=r"became shorter while it was read\npush it again"):
            await pushed(fake.url, big)
        assert fake.sessions == {}


async def test_a_file_that_is_written_to_while_it_is_pushed_is_not_pushed(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["url"] = [Then(lambda: None)] * 7 + [Then(lambda: written_to(big))]
        with pytest.raises(SourceChanged, match="was written to while it was pushed"):
            await pushed(fake.url, big)
        assert fake.blobs.keys() <= {"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}
        assert fake.sessions == {}


async def test_a_session_that_expired_is_begun_anew(big: Path) -> None:
    async with FakeRegistry() as fake:
        fake.faults["part"] = [Then(lambda: None)] * 4 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01, parallel=1)
        fake.faults["part"].clear()
        fake.sessions.clear()
        fake.seen.clear()
        await pushed(fake.url, big)
        assert len(fake.of("part")) == 8
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_hashes_that_are_announced_go_with_the_parts(big: Path) -> None:
    """M07, M08, M09: announced with the URL, sent as X-Amz-Content-Sha256, and the server may hold us to it."""
    async with FakeRegistry() as fake:
        await pushed(fake.url, big, announce=True)
        assert sha256(big) in fake.blobs
        hashes = {seen.headers.get("x-amz-content-sha256") for seen in fake.of("part")}
        assert len(hashes) == 8
        assert None not in hashes


async def test_an_answer_in_the_words_of_the_library_is_understood(big: Path) -> None:
    """M05, M08, T05: `data` around it, other casings, presignedURL."""
    async with FakeRegistry() as fake:
        started = {"data": {"uploadID": "s9", "totalParts": 2, "partSize": 4 * PART}}
        fake.sessions["s9"] = Session(big.stat().st_size, 4 * PART, "", "a/b")
        fake.faults["start"] = [Status(200, document=started)]
        fake.faults["url"] = [
            Status(200, document={"data": {"presignedURL": f"{fake.url}/multipart-parts/s9/{n}?X-Amz-Signature=1"}})
            for n in (1, 2)
        ]
        await pushed(fake.url, big, parallel=1)
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_small_blobs_need_no_parts(tmp_path: Path) -> None:
    """H096: what would be one part goes up in one request."""
    small = some_file(tmp_path / "small.bin", 4 * MIB)
    async with FakeRegistry() as fake:
        await steps.pushed(fake.url, small)
        assert not fake.of("start")
        assert {seen.size_bytes for seen in fake.of("put")} == {2, 4 * MIB}


async def test_what_is_there_is_not_sent(big: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        fake.seen.clear()
        small = some_file(big.with_name("small"), 100)
        await pushed(fake.url, small)
        await pushed(fake.url, small)
        assert [seen.size_bytes for seen in fake.of("put")] == [100]


async def test_two_pushes_of_the_same_thing_do_not_run_at_once(big: Path) -> None:
    async with FakeRegistry() as fake:
        begun = asyncio.Event()
        fake.faults["start"] = [Then(begun.set)]
        first = asyncio.create_task(pushed(fake.url, big))
        await begun.wait()
        with pytest.raises(Problem, match="is running already\nwait for it, or stop it"):
            await pushed(fake.url, big)
        await first


async def test_a_part_size_that_is_asked_for_is_told_to_the_server(big: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big, part_size_bytes=3 * PART)
        assert sorted(seen.size_bytes for seen in fake.of("part")) == [PART + 17, *[3 * PART] * 2]

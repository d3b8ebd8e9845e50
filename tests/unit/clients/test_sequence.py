"""Pushing by plain OCI against a registry that misbehaves: chunks, broken lines, sessions that vanish."""

from pathlib import Path
from typing import Any

import pytest

from clients.problems import Refused
from clients.pushing import push
from clients.retrying import GaveUp
from tests.unit.clients import steps
from tests.unit.clients.fake import Broken, FakeRegistry, Lost, Status, Then
from tests.unit.clients.steps import Page, sha256, some_file

CHUNK = 64 * 1024


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Eight chunks, the last one shorter."""
    return some_file(tmp_path / "big.bin", 7 * CHUNK + 17)


async def pushed(url: str, source: Path, **how: Any) -> list[tuple[str, str | None]]:
    return await steps.pushed(url, source, **({"in_one_bytes": CHUNK} | how))


def plain() -> FakeRegistry:
    return FakeRegistry(multipart=None)


async def test_a_registry_without_parts_gets_chunks_with_their_place_and_length(big: Path) -> None:
    async with plain() as fake:
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        patches = fake.of("patch")
        assert [seen.headers["Content-Range"] for seen in patches[:2]] == ["0-65535", "65536-131071"]
        assert [seen.size_bytes for seen in patches] == [*[CHUNK] * 7, 17]
        assert not any("Transfer-Encoding" in seen.headers for seen in patches)
        assert all("_state=" in seen.path and "%3D" in seen.path for seen in patches)


async def test_a_multipart_of_none_is_no_multipart(big: Path) -> None:
    """H033: what `/capabilities` says is believed."""
    async with FakeRegistry(multipart="none") as fake:
        await pushed(fake.url, big)
        assert not fake.of("start")
        assert sha256(big) in fake.blobs


@pytest.mark.parametrize("kept", [True, False])
async def test_after_a_broken_line_the_server_says_where_it_stands(big: Path, kept: bool) -> None:
    """C04: GET on the Location; only what did not arrive is sent again."""
    async with plain() as fake:
        fake.faults["patch"] = [Then(lambda: None), Broken(30_000, kept=kept)]
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert len(fake.of("status")) == 1
        place = CHUNK + 30_000 if kept else CHUNK
        assert fake.of("patch")[2].headers["Content-Range"].startswith(f"{place}-")


async def test_a_lost_answer_to_a_chunk_sends_nothing_twice(big: Path) -> None:
    """C02."""
    async with plain() as fake:
        fake.faults["patch"] = [Lost()]
        await pushed(fake.url, big)
        assert sum(seen.size_bytes for seen in fake.of("patch")) == big.stat().st_size


async def test_a_416_that_says_where_to_go_on_is_obeyed(big: Path) -> None:
    """C05: Location and Range of the 416 spare the question."""
    async with plain() as fake:
        fake.faults["patch"] = [
            Then(lambda: None),
            Then(lambda: fake.grow(big.read_bytes()[CHUNK : CHUNK + 5])),
        ]
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert not fake.of("status")


async def test_a_session_that_vanished_is_begun_anew(big: Path) -> None:
    """A registry of another kind forgets the upload when the line breaks."""
    async with plain() as fake:
        fake.faults["patch"] = [Then(lambda: None), Broken(10)]
        fake.faults["status"] = [Status(404)]
        page = Page()
        await pushed(fake.url, big, page=page)
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert "begun anew" in page.text


async def test_a_registry_that_takes_no_chunks_gets_the_whole_in_one(big: Path) -> None:
    async with plain() as fake:
        fake.faults["patch"] = [Then(lambda: None), Status(405)]
        await pushed(fake.url, big)
        assert fake.of("put")[-1].size_bytes in (big.stat().st_size, 2)
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_chunks_are_as_large_as_the_registry_wants_them(big: Path) -> None:
    """OCI-Chunk-Min-Length."""
    async with plain() as fake:
        fake.faults["post"] = [
            Then(lambda: fake.sequences.update(u9=bytearray())),
            Status(202, {"Location": "/v2/a/b/blobs/uploads/u9", "OCI-Chunk-Min-Length": str(4 * CHUNK)}),
        ]
        await pushed(fake.url, big, parallel=1)
        assert [seen.size_bytes for seen in fake.of("patch")] == [4 * CHUNK, 3 * CHUNK + 17]


async def test_a_lost_answer_to_the_closing_put_is_settled_by_looking(big: Path) -> None:
    async with plain() as fake:
        fake.faults["put"] = [Then(lambda: None), Lost()]
        await pushed(fake.url, big, parallel=1)
        assert sha256(big) in fake.blobs
        assert len(fake.of("put")) == 2
        assert len(fake.of("head")) == 2


async def test_a_small_blob_that_cannot_be_stored_now_stays_in_its_session(tmp_path: Path) -> None:
    """A store that is away for ten minutes must not cost sixty sessions."""
    small = some_file(tmp_path / "small.bin", 1000)
    async with plain() as fake:
        fake.faults["put"] = [Status(503)] * 3
        await pushed(fake.url, small)
        assert fake.blobs[sha256(small)] == small.read_bytes()
        assert len(fake.of("post")) == 2, "one for the blob, one for its config"
        assert len(fake.of("status")) == 3


async def test_a_small_blob_gets_another_session_when_its_own_is_gone(tmp_path: Path) -> None:
    small = some_file(tmp_path / "small.bin", 1000)
    async with plain() as fake:
        fake.faults["put"], fake.faults["status"] = [Status(503)], [Status(404)]
        await pushed(fake.url, small)
        assert fake.blobs[sha256(small)] == small.read_bytes()


async def test_what_gave_up_goes_on_from_where_the_server_stands(big: Path) -> None:
    """The journal keeps the Location; the bytes before it are not sent again."""
    async with plain() as fake:
        fake.faults["patch"] = [Then(lambda: None)] * 3 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01)
        fake.faults["patch"].clear()
        fake.seen.clear()
        page = Page()
        await pushed(fake.url, big, page=page)
        assert sum(seen.size_bytes for seen in fake.of("patch")) == big.stat().st_size - 3 * CHUNK
        assert "42% of it is there already" in page.text
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_a_journal_whose_upload_is_gone_begins_anew(big: Path) -> None:
    async with plain() as fake:
        fake.faults["patch"] = [Then(lambda: None)] * 3 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pushed(fake.url, big, give_up_after_s=0.01)
        fake.faults["patch"].clear()
        fake.sequences.clear()
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()


async def test_what_the_registry_makes_of_other_bytes_is_told(big: Path, tmp_path: Path) -> None:
    """Bytes of an older file at the server do not become a blob; the next push begins anew."""
    async with plain() as fake:
        fake.faults["patch"] = [
            Then(lambda: None),
            Then(fake.spoil),
        ]
        with pytest.raises(Refused, match=r"cannot be completed: .* answered 400 \(DIGEST_INVALID: other bytes\)"):
            await pushed(fake.url, big)
        assert sha256(big) not in fake.blobs
        await pushed(fake.url, big)
        assert fake.blobs[sha256(big)] == big.read_bytes()


@pytest.mark.parametrize(("status", "remedy"), [(403, "ask whoever runs the registry"), (413, "has a limit")])
async def test_a_refusal_is_told_with_its_remedy(big: Path, status: int, remedy: str) -> None:
    async with plain() as fake:
        fake.faults["patch"] = [Status(status)]
        with pytest.raises(Refused, match=f"answered {status}\n.*{remedy}"):
            await pushed(fake.url, big)


async def test_a_registry_that_takes_no_manifest_is_quoted(big: Path) -> None:
    async with plain() as fake:
        fake.faults["manifest"] = [
            Status(400, document={"errors": [{"code": "MANIFEST_INVALID", "message": "no\x1b[2J"}]})
        ]
        with pytest.raises(Refused, match=r"MANIFEST_INVALID: no \[2J"):
            await pushed(fake.url, big)


async def test_the_bytes_that_are_shown_are_the_bytes_that_arrived(big: Path) -> None:
    """What broke or was sent twice is not counted twice."""
    async with plain() as fake:
        fake.faults["patch"] = [Broken(30_000), Lost(), Status(500), Broken(10, kept=False)]
        async with steps.a_push(fake.url, big, in_one_bytes=CHUNK) as (job, plan):
            await push(job, plan)
            assert job.progress.done_bytes == job.progress.total_bytes == big.stat().st_size + 2

"""Many clients at once: whoever was answered sees what was done, and nobody ever sees half of anything."""

import asyncio
import hashlib

import pytest

from tests.http.oci.content import ALGORITHMS, EMPTY_CONFIG, IMAGE, artifact, digest_of, noise
from tests.http.oci.serving import Serving, until

CLIENTS = 32
REPOSITORY = "lab/crowded"
BLOB = EMPTY_CONFIG["digest"]


async def test_a_tag_that_many_move_always_names_a_whole_manifest_that_was_pushed(oci: Serving) -> None:
    await oci.push(REPOSITORY, b"{}")
    pushed: set[bytes] = set()
    seen: set[str] = set()
    writing = True

    async def move(client: int) -> None:
        for turn in range(6):
            content = artifact(f"{client} {turn}", annotations={"filler": "A" * (client * 300)})
            pushed.add(content)
            assert (await oci.put_manifest(REPOSITORY, "moving", content, IMAGE)).status == 201
            assert (await oci.manifest(REPOSITORY, digest_of(content))).body == content

    async def watch() -> None:
        while writing:
            answer = await oci.manifest(REPOSITORY, "moving")
            if answer.status == 404:
                assert seen == set(), "a tag that is there does not vanish while it moves"
                continue
            assert answer.body in pushed
            assert answer.digest == f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
            seen.add(answer.digest)
            head = await oci.manifest(REPOSITORY, "moving", method="HEAD")
            assert head.status == 200

    watching = [asyncio.create_task(watch()) for _ in range(4)]
    await asyncio.gather(*(move(client) for client in range(CLIENTS)))
    writing = False
    await asyncio.gather(*watching)
    assert len(seen) > 1
    assert (await oci.tags(REPOSITORY)).json()["tags"] == ["moving"]


async def test_who_moves_a_tag_sees_it_moved(oci: Serving) -> None:
    await oci.push(REPOSITORY, b"{}")

    async def move(client: int) -> None:
        tag = f"client-{client}"
        for turn in range(6):
            content = artifact(f"{client} {turn}")
            await oci.put_manifest(REPOSITORY, tag, content, IMAGE)
            answer = await oci.manifest(REPOSITORY, tag)
            assert answer.body == content
            assert (await oci.manifest(REPOSITORY, tag, method="HEAD")).digest == digest_of(content)

    await asyncio.gather(*(move(client) for client in range(CLIENTS)))
    assert len((await oci.tags(REPOSITORY)).json()["tags"]) == CLIENTS


async def test_what_was_deleted_is_gone_for_all_who_kept_it_warm(oci: Serving) -> None:
    await oci.push(REPOSITORY, b"{}")
    content = artifact("deleted")
    digest = digest_of(content)
    going = True

    async def keep_warm() -> None:
        while going:
            for reference in ("tag", digest):
                answer = await oci.manifest(REPOSITORY, reference)
                assert answer.status == 404 or answer.body == content

    warming = [asyncio.create_task(keep_warm()) for _ in range(4)]
    for what in [digest, "tag"] * 12:
        await oci.put_manifest(REPOSITORY, "tag", content, IMAGE)
        assert (await oci.manifest(REPOSITORY, "tag")).status == 200
        assert (await oci.delete(REPOSITORY, "manifests", what)).status == 202
        assert (await oci.manifest(REPOSITORY, "tag")).status == 404
        assert (await oci.manifest(REPOSITORY, digest)).status == (404 if what == digest else 200)
    going = False
    await asyncio.gather(*warming)


async def test_a_blob_comes_and_goes_in_each_repository_by_itself(oci: Serving) -> None:
    await oci.push("lab/source", b"{}")

    async def come_and_go(client: int) -> None:
        repository = f"lab/r{client % 8}-{client}"
        for turn in range(4):
            if turn % 2:
                assert (await oci.begin(repository, f"?mount={BLOB}&from=lab/source")).status == 201
            else:
                await oci.push(repository, b"{}")
            assert (await oci.blob(repository, BLOB)).body == b"{}"
            assert (await oci.delete(repository, "blobs", BLOB)).status == 202
            assert not await oci.has(repository, BLOB)

    await asyncio.gather(*(come_and_go(client) for client in range(CLIENTS)))
    assert (await oci.blob("lab/source", BLOB)).body == b"{}"
    assert len(oci.blob_files()) == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_the_same_blob_by_all_at_once_is_stored_once_and_all_succeed(oci: Serving, algorithm: str) -> None:
    content = noise(200_000, "same")
    repositories = [f"lab/r{client % 4}" for client in range(CLIENTS)]
    digests = await asyncio.gather(*(oci.push(repository, content, algorithm) for repository in repositories))
    assert set(digests) == {digest_of(content, algorithm)}
    assert [path.read_bytes() for path in oci.blob_files()] == [content]
    for repository in set(repositories):
        assert (await oci.blob(repository, digests[0])).body == content
    assert oci.spooled() == []


async def test_one_session_that_many_feed_at_once_never_mixes_their_bytes(oci: Serving) -> None:
    content, chunk = noise(64 * 1024, "fed"), 4096
    location = await oci.session(REPOSITORY)

    async def feed() -> None:
        while True:
            status = await oci.status(location)
            held = int(status.headers["Range"].removeprefix("0-")) + 1
            if held == len(content):
                return
            piece = content[held : held + chunk]
            answer = await oci.patch(location, piece, {"Content-Range": f"{held}-{held + len(piece) - 1}"})
            assert answer.status in (202, 409, 416)

    await asyncio.gather(*(feed() for _ in range(8)))
    assert (await oci.put(location, digest_of(content))).status == 201
    assert (await oci.blob(REPOSITORY, digest_of(content))).body == content


async def test_a_session_that_many_close_at_once_is_closed_once_and_all_succeed(oci: Serving) -> None:
    content = noise(100_000, "closed")
    location = (await oci.patch(await oci.session(REPOSITORY), content)).location
    answers = await asyncio.gather(*(oci.put(location, digest_of(content)) for _ in range(8)))
    assert [answer.status for answer in answers] == [201] * 8
    assert (await oci.blob(REPOSITORY, digest_of(content))).body == content


async def test_a_pull_that_is_under_way_outlives_the_delete_of_its_blob(oci: Serving) -> None:
    content = noise(24 << 20, "pulled")  # more than the sockets between us hold
    digest = await oci.push(REPOSITORY, content)
    target = f"/v2/{REPOSITORY}/blobs/{digest}"
    slow, slow_part = await oci.connect(), await oci.connect()
    await slow.send("GET", target)
    await slow_part.send("GET", target, headers={"Range": "bytes=1-"})

    async def under_way() -> bool:
        await oci.ask("GET", "/v2/")
        return oci.sent_bytes() > 100_000

    await until(under_way)
    assert (await oci.delete(REPOSITORY, "blobs", digest)).status == 202
    assert not await oci.has(REPOSITORY, digest)
    assert (await slow.answer()).body == content
    assert (await slow_part.answer()).body == content[1:]


async def test_requests_sent_ahead_are_answered_in_their_order(oci: Serving) -> None:
    await oci.push(REPOSITORY, b"{}")
    contents = [artifact(number) for number in range(6)]
    for number, content in enumerate(contents):
        await oci.put_manifest(REPOSITORY, f"t{number}", content, IMAGE)
    connection = await oci.connect()
    for number in range(6):
        await connection.send("GET", f"/v2/{REPOSITORY}/manifests/t{number}")
        await connection.send("HEAD", f"/v2/{REPOSITORY}/manifests/t{number}")
    for content in contents:
        assert (await connection.answer("GET")).body == content
        assert (await connection.answer("HEAD")).digest == digest_of(content)

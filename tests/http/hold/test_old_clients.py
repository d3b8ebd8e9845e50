"""The old client, unchanged, pushes to this hold: start, URLs, parts, complete, move, abort."""

import asyncio

import pytest

from tests.http.hold.client import TOKEN, Hold
from tests.http.hold.conftest import Open
from tests.http.hold.goclient import PART_BYTES, ClientError, Writer
from tests.http.oci.content import digest_of, noise

MIB = 1024 * 1024

SIZES = {
    "below one part": (3 * MIB, 1),
    "one byte": (1, 1),
    "exactly one part": (5 * MIB, 1),
    "two parts": (10 * MIB, 2),
    "two parts and a rest": (10 * MIB + 17, 3),
    "twenty parts": (100 * MIB, 20),
}


@pytest.fixture
async def shipped(opened: Open) -> Hold:
    """A server as it ships."""
    return await opened(min_part_bytes="5MiB")


@pytest.mark.parametrize(("size", "parts"), list(SIZES.values()), ids=list(SIZES))
async def test_a_blob_of_any_size_arrives(shipped: Hold, size: int, parts: int) -> None:
    """H001, H002, H006, H010, H014, H018, H025, H030, H035, H070, H095, H096, H097, H102, H110, H155, H172,
    H173, H187, H189, H190, H191, H193, H194, H195, T02: through the old calls, as the plan counts its parts.
    """
    content = noise(size, "layer")
    writer = await Writer(shipped).create()
    for at in range(0, size, MIB):
        await writer.write(content[at : at + MIB])
    await writer.commit(digest_of(content))
    answer = await shipped.blob(digest_of(content))
    assert (answer.status, answer.body) == (200, content)
    assert (len(writer.parts), writer.size) == (parts, size)
    assert shipped.oci.spooled() == []


async def test_every_write_is_answered_before_the_next_one(shipped: Hold) -> None:
    """H003, H004, H005: no request waits for a later one, so that one client can do one thing at a time."""
    writer = await Writer(shipped).create()
    for number in range(1, 4):
        await writer.write(noise(PART_BYTES, number))
        listed = (await shipped.parts(writer.upload_id)).json()["parts"]
        assert [part["part_number"] for part in listed] == list(range(1, number + 1))


async def test_many_blobs_go_up_at_once(shipped: Hold) -> None:
    """H060, H071, H186, H209."""

    async def push(seed: int) -> None:
        content = noise(6 * MIB, seed)
        writer = await Writer(shipped, f"upload-{seed}").create()
        await writer.write(content)
        await writer.commit(digest_of(content))
        assert (await shipped.blob(digest_of(content))).body == content

    await asyncio.gather(*map(push, range(8)))


async def test_giving_up_takes_the_id_alone_and_leaves_nothing(shipped: Hold) -> None:
    """H028, H111, H115, H185, H192, T03."""
    writer = await Writer(shipped).create()
    await writer.write(noise(PART_BYTES))
    assert shipped.oci.spooled() != []
    await writer.cancel()
    assert shipped.oci.spooled() == []


async def test_a_move_that_fails_is_told_in_words(shipped: Hold) -> None:
    """H030, H080, T10: the client shows its user the body."""
    writer = await Writer(shipped).create()
    await writer.write(b"these bytes")
    with pytest.raises(ClientError, match=r"moving failed: 400, .*does not match the digest"):
        await writer.commit(digest_of(b"other bytes"))
    assert (await shipped.blob(digest_of(b"other bytes"))).status == 404


async def test_a_client_that_looks_at_no_status_is_not_led_on(opened: Open) -> None:
    """T04: it decodes what it gets, and must not find an id in a refusal."""
    writer = await Writer(await opened(hold_token=TOKEN)).create()
    assert writer.upload_id == ""


async def test_the_same_blob_can_be_pushed_again(shipped: Hold) -> None:
    """H068, T01: clients expect an id, also for what is here already."""
    content = noise(PART_BYTES + 1, "again")
    for name in ("upload-1", "upload-2"):
        writer = await Writer(shipped, name).create()
        await writer.write(content)
        await writer.commit(digest_of(content))
    assert len(shipped.oci.blob_files()) == 1

"""Answers that are none of a store: an empty success, another page; and settings that nobody can ask by."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import pytest

from backends.base import StoreUnavailable
from backends.s3 import parts, probing
from backends.s3.backend import open_store
from backends.s3.errors import StoreRefused, Trouble, trouble_behind
from backends.s3.findings import Findings
from backends.s3.settings import StoreSettings
from model.clock import SystemClock
from model.errors import StorageFailed
from model.units import MIB
from tests.support.objectstore import Bucket, ObjectStore
from tests.support.storefaults import LOST, Call, Head, Lost, Refusal, Reset
from tests.unit.backends.looking import settings_of
from tests.unit.backends.s3harness import Rig, rigged

KEY = "a/b"


@dataclass(frozen=True)
class Page(Refusal):
    """A success that says something else."""

    def body(self, head: Head) -> bytes:
        """The message alone."""
        return self.message.encode()


EMPTY = Page(200, "", "")
PORTAL = Page(200, "", "<html><body>Please sign in</body></html>")


@pytest.fixture
async def rig(bucket: Bucket, tmp_path: Path) -> AsyncIterator[Rig]:
    """A store behind a proxy that holds `a/b`."""
    async with rigged(bucket, tmp_path) as made:
        bucket.write(KEY, b"x")
        yield made


async def _keys(rig: Rig) -> list[str]:
    return [key async for key in rig.backend.keys("")]


async def _assembled(rig: Rig) -> None:
    store_upload_id = await rig.backend.begin("a/c")
    await rig.calls.send("a/c", {"partNumber": "1", "uploadId": store_upload_id}, b"x", None)
    await rig.backend.assemble("a/c", store_upload_id, await rig.backend.list_parts("a/c", store_upload_id))


async def _listed_parts(rig: Rig) -> None:
    await rig.backend.list_parts("a/c", await rig.backend.begin("a/c"))


async def _copied_by_parts(rig: Rig) -> None:
    await rig.backend.copy(KEY, "a/c", parts.LARGEST_COPY_BYTES + 1)


@pytest.mark.parametrize("page", [EMPTY, PORTAL], ids=["nothing", "a page"])
@pytest.mark.parametrize(
    ("call", "ask"),
    [
        (Call.CREATE, lambda rig: rig.backend.begin("a/c")),
        (Call.COMPLETE, _assembled),
        (Call.LIST, _keys),
        (Call.LIST_PARTS, _listed_parts),
        (Call.LIST_UPLOADS, lambda rig: rig.backend.list_unfinished("a/c")),
        (Call.COPY, lambda rig: rig.backend.copy(KEY, "a/c", 1)),
        (Call.PART_COPY, _copied_by_parts),
    ],
    ids=lambda value: value.value.replace(" ", "-") if isinstance(value, Call) else "",
)
async def test_a_success_that_says_nothing_of_what_was_asked_is_none(
    rig: Rig, call: Call, ask: Callable[[Rig], Awaitable[Any]], page: Page
) -> None:
    """H170: nothing is taken for empty, or for done, because of it; the store is asked again, and later is fine."""
    rule = rig.proxy.on(page, call)
    with pytest.raises(StoreUnavailable) as raised:
        await ask(rig)
    assert trouble_behind(raised.value) is Trouble.BROKEN
    assert rule.struck > 1


async def test_a_look_at_a_store_that_answers_nothing_says_what_does_not_work(rig: Rig) -> None:
    rig.proxy.on(EMPTY, Call.CREATE)
    await rig.backend.look()
    assert rig.backend.findings.reachable
    assert "multipart" in rig.backend.why_not_native


async def test_a_store_too_slow_to_be_looked_at_is_left_alone_half_of_the_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    done = asyncio.Event()

    async def never_through(*_: object) -> Findings:
        looks.append(rig.clock.passed_s)
        rig.clock.move(60)
        rig.calls.answered_at_s = rig.clock.passed_s
        if len(looks) == 3:
            done.set()
        return Findings(when_s=0.0, trouble="it answers too slowly")

    monkeypatch.setattr(probing, "look", never_through)
    watching = asyncio.create_task(rig.backend.watch())
    await asyncio.wait_for(done.wait(), 60)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert [120 <= later - earlier <= 130 for earlier, later in pairwise(looks)] == [True, True]


async def test_a_completion_that_was_done_and_badly_answered_is_a_completion(rig: Rig) -> None:
    rig.proxy.on(EMPTY, Call.COMPLETE, times=1)
    await _assembled(rig)
    assert rig.bucket.read("a/c") == b"x"


async def test_parts_are_listed_to_the_end_where_the_store_does_not_say_how_to_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H088: a page of them must not pass for all."""
    store_upload_id = await rig.backend.begin("a/c")
    for number in range(1, 6):
        await rig.calls.send("a/c", {"partNumber": str(number), "uploadId": store_upload_id}, b"x", None)
    real = rig.calls.control

    async def two_at_a_time(operation: str, **parameters: Any) -> dict[str, Any]:
        answer = await real(operation, **parameters, MaxParts=2)
        answer.pop("NextPartNumberMarker", None)
        return answer

    monkeypatch.setattr(rig.calls, "control", two_at_a_time)
    listed = await rig.backend.list_parts("a/c", store_upload_id)
    assert [part.number for part in listed] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("fault", [Reset(MIB), LOST], ids=["in the middle", "at the end"])
async def test_a_body_whose_connection_breaks_is_sent_again_whole_and_never_empty(
    rig: Rig, fault: Reset | Lost
) -> None:
    """Not by the client of aiohttp by itself: it would announce all bytes, send none, and wait."""
    content = bytes(4 * MIB)
    rig.proxy.on(fault, Call.PUT, times=1)
    await rig.put("a/d", content)
    assert rig.bucket.read("a/d") == content
    first, *rest = (seen.body_bytes for seen in rig.proxy.asked(Call.PUT))
    assert first > 0
    assert rest == [len(content)]


async def test_what_ends_one_of_several_parts_still_tells_its_trouble() -> None:
    async def fine() -> int:
        return 1

    async def refused() -> int:
        raise StorageFailed("full") from ValueError("the reason")

    with pytest.raises(StorageFailed) as raised:
        await parts.some_at_once((job() for job in (fine, refused, fine)), 2)
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.parametrize("wrong", [{"endpoint": "http://my_minio:9000"}, {"region": "my_region"}], ids=str)
async def test_settings_that_no_store_can_be_asked_with_end_the_start_with_a_line(wrong: dict[str, Any]) -> None:
    """G19: a line with the setting to look at, and no stack of calls."""
    settings = StoreSettings(bucket="images", key_id="id", secret="none", **wrong)
    with pytest.raises(StoreRefused, match="S3_ENDPOINT and S3_REGION"):
        async with open_store(settings, SystemClock(), aiohttp.ClientSession):
            pass


async def test_a_bucket_is_only_ever_listed_below_the_prefix(object_store: ObjectStore, tmp_path: Path) -> None:
    """H077: a key whose rights end at the prefix, with its slash, is enough."""
    bucket = object_store.new_bucket()
    async with rigged(bucket, tmp_path, prefix="some/where") as rig:
        await rig.calls.first_question()
        await rig.backend.look()
        with pytest.raises(StorageFailed):
            await rig.backend.size("a/c")
        asked = rig.proxy.asked(Call.LIST, Call.LIST_UPLOADS)
    below = [parse_qs(seen.query)["prefix"][0] for seen in asked if seen.path != "/info"]
    assert len(below) > 3
    assert {prefix.startswith("some/where/") for prefix in below} == {True}


async def test_keys_that_a_program_cannot_give_any_more_are_refused_keys_and_no_end_of_the_server(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M17: a credential_process may print anything."""
    said = tmp_path / "said"
    said.write_text("oops")
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {said}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = settings_of(bucket, key_id="", secret="")
    with pytest.raises(StoreRefused, match="the standard AWS credentials cannot be used"):
        async with open_store(settings, SystemClock(), aiohttp.ClientSession):
            pass

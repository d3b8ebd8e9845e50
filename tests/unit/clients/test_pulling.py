"""Pulling: layouts, single files, ranges, what breaks on the way, and what is never called by its name."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from clients import download
from clients.problems import Problem, Refused
from clients.pulling import NotPullable
from clients.retrying import GaveUp
from model.descriptors import OCI_INDEX, OCI_MANIFEST
from tests.interop import layouts
from tests.unit.clients.fake import Broken, FakeRegistry, Lost, Status
from tests.unit.clients.steps import Page, pulled, pushed, sha256, some_file

RANGE = 64 * 1024
os.umask(UMASK := os.umask(0))


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test need not move much."""
    monkeypatch.setattr(download, "RANGE_BYTES", RANGE)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Eight ranges, the last one shorter."""
    return some_file(tmp_path / "big.bin", 7 * RANGE + 17)


async def test_a_layout_comes_back_as_it_was_pushed(tmp_path: Path) -> None:
    """An index with both of its images, byte for byte."""
    layout = layouts.Layout(tmp_path / "there")
    layout.name(layouts.two_platforms(layout, "x"), "1")
    async with FakeRegistry() as fake:
        [(digest, _)] = await pushed(fake.url, layout.path)
        back = tmp_path / "back"
        assert str(await pulled(fake.url, back)) == digest
        assert {path.name for path in (back / "blobs/sha256").iterdir()} == {
            path.name for path in (layout.path / "blobs/sha256").iterdir()
        }
        for path in (back / "blobs/sha256").iterdir():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        [row] = json.loads((back / "index.json").read_text())["manifests"]
        assert (row["digest"], row["annotations"]) == (digest, {"org.opencontainers.image.ref.name": "1"})
        assert {path.stat().st_mode & 0o777 for path in back.rglob("*") if path.is_file()} == {0o644 & ~UMASK}


async def test_one_platform_of_an_index_can_be_pulled(tmp_path: Path) -> None:
    layout = layouts.Layout(tmp_path / "there")
    layout.name(layouts.two_platforms(layout, "x"), "1")
    async with FakeRegistry() as fake:
        await pushed(fake.url, layout.path)
        digest = await pulled(fake.url, tmp_path / "back", platform="linux/arm64")
        content, media_type = fake.manifests[str(digest)]
        assert media_type == OCI_MANIFEST
        assert len(list((tmp_path / "back/blobs/sha256").iterdir())) == 1 + 1 + len(json.loads(content)["layers"])
        with pytest.raises(
            NotPullable, match="there is no image for plan9/mips; the index has: linux/amd64, linux/arm64"
        ):
            await pulled(fake.url, tmp_path / "back", platform="plan9/mips")


async def test_a_file_comes_back_as_a_file(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        await pulled(fake.url, tmp_path / "out", output=True)
        assert (tmp_path / "out").read_bytes() == big.read_bytes()
        assert sorted(seen.headers["Range"] for seen in fake.of("blob"))[:2] == ["bytes=0-65535", "bytes=131072-196607"]
        assert not list(tmp_path.glob("out.*"))


async def test_what_is_there_and_right_is_not_fetched(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        await pulled(fake.url, tmp_path / "back")
        fake.seen.clear()
        await pulled(fake.url, tmp_path / "back")
        assert not fake.of("blob")
        path = tmp_path / "back/blobs/sha256" / sha256(big).removeprefix("sha256:")
        path.write_bytes(bytes(path.stat().st_size))
        await pulled(fake.url, tmp_path / "back")
        assert path.read_bytes() == big.read_bytes()


async def test_another_file_of_the_name_is_not_touched(big: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(bytes(big.stat().st_size))
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        with pytest.raises(NotPullable, match="is there already, and is something else"):
            await pulled(fake.url, tmp_path / "out", output=True)
        assert (tmp_path / "out").read_bytes() == bytes(big.stat().st_size)


async def test_a_broken_line_costs_the_range_that_was_on_it(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        fake.faults["blob"] = [Broken(0), Lost(), Status(503)]
        await pulled(fake.url, tmp_path / "out", output=True)
        assert (tmp_path / "out").read_bytes() == big.read_bytes()


async def test_what_gave_up_goes_on_with_the_missing_ranges(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        fake.faults["blob"] = [None] * 6 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pulled(fake.url, tmp_path / "out", output=True, parallel=1, give_up_after_s=0.01)
        assert not (tmp_path / "out").exists()
        fake.faults["blob"].clear()
        fake.seen.clear()
        page = Page()
        await pulled(fake.url, tmp_path / "out", output=True, page=page)
        assert len(fake.of("blob")) == 2
        assert "6 of 8 ranges are there already" in page.text
        assert (tmp_path / "out").read_bytes() == big.read_bytes()


async def test_a_partial_file_that_was_damaged_is_begun_anew(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        fake.faults["blob"] = [None] * 6 + [Status(503)] * 100
        with pytest.raises(GaveUp):
            await pulled(fake.url, tmp_path / "out", output=True, parallel=1, give_up_after_s=0.01)
        fake.faults["blob"].clear()
        with (tmp_path / "out.partial").open("r+b") as file:
            file.write(b"another")
        page = Page()
        await pulled(fake.url, tmp_path / "out", output=True, page=page)
        assert "what was there was wrong; begun anew" in page.text
        assert (tmp_path / "out").read_bytes() == big.read_bytes()


async def test_other_bytes_than_the_digest_says_never_get_the_name(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        fake.blobs[sha256(big)] = bytes(big.stat().st_size)
        with pytest.raises(Problem, match=f"sent other bytes than {sha256(big)}"):
            await pulled(fake.url, tmp_path / "out", output=True)
        assert not list(tmp_path.glob("out*"))


async def test_another_manifest_than_was_asked_for_is_refused(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        [(digest, _)] = await pushed(fake.url, big)
        fake.manifests[digest] = (fake.manifests[digest][0] + b"\n", OCI_MANIFEST)
        with pytest.raises(Problem, match=f"sent another manifest than {digest}"):
            await pulled(fake.url, tmp_path / "back", digest)


async def test_a_server_that_knows_no_ranges_is_taken_whole(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        fake.ranges = False
        await pulled(fake.url, tmp_path / "out", output=True)
        assert (tmp_path / "out").read_bytes() == big.read_bytes()


async def test_a_longer_answer_than_announced_is_refused(big: Path, tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        small = some_file(tmp_path / "small", 100)
        await pushed(fake.url, small)
        fake.blobs[sha256(small)] += b"more"
        with pytest.raises(Problem, match="more than the 100 bytes that were announced"):
            await pulled(fake.url, tmp_path / "out", output=True)


async def test_a_redirect_to_a_store_is_followed_without_our_proof(big: Path, tmp_path: Path) -> None:
    """Authorization is for the registry's own host."""
    from clients.credentials import Credentials

    async with FakeRegistry() as fake, FakeRegistry() as store:
        fake.basic, mine = "ann:secret", Credentials("ann", "secret")
        await pushed(fake.url, big, credentials=mine)
        store.blobs, fake.blob_base = fake.blobs, store.url
        await pulled(fake.url, tmp_path / "out", output=True, credentials=mine)
        assert (tmp_path / "out").read_bytes() == big.read_bytes()
        assert {seen.headers.get("Authorization") for seen in store.seen} == {None}


async def test_a_name_in_a_layout_moves_to_what_was_pulled_last(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        await pushed(fake.url, some_file(tmp_path / "f1", 100, seed=1))
        await pulled(fake.url, tmp_path / "back")
        await pushed(fake.url, some_file(tmp_path / "f2", 100, seed=2))
        digest = await pulled(fake.url, tmp_path / "back")
        await pushed(fake.url, some_file(tmp_path / "f3", 100, seed=3), tag="2")
        other = await pulled(fake.url, tmp_path / "back", "2")
        rows = json.loads((tmp_path / "back/index.json").read_text())["manifests"]
        assert [row["digest"] for row in rows] == [str(digest), str(other)]


async def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        with pytest.raises(Refused, match=r"cannot pull a/b:1: .* answered 404 \(MANIFEST_UNKNOWN: no such tag\)"):
            await pulled(fake.url, tmp_path / "back")


async def test_an_image_of_several_layers_is_no_file(tmp_path: Path) -> None:
    layout = layouts.Layout(tmp_path / "there")
    layout.name(layouts.two_platforms(layout, "x"), "1")
    async with FakeRegistry() as fake:
        await pushed(fake.url, layout.path)
        with pytest.raises(
            NotPullable, match="there are several images; the index has: linux/amd64, linux/arm64\nchoose"
        ):
            await pulled(fake.url, tmp_path / "out", output=True)


async def test_a_folder_that_is_something_else_is_not_made_a_layout(big: Path, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    (tmp_path / "back/index.json").write_text("[]")
    async with FakeRegistry() as fake:
        await pushed(fake.url, big)
        with pytest.raises(NotPullable, match="is not that of an OCI layout"):
            await pulled(fake.url, tmp_path / "back")


def index_of(*rows: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(rows)}).encode(), OCI_INDEX


async def test_an_empty_index_has_nothing_to_choose(tmp_path: Path) -> None:
    async with FakeRegistry() as fake:
        fake.manifests["1"] = index_of()
        with pytest.raises(NotPullable, match="the index has: none"):
            await pulled(fake.url, tmp_path / "out", output=True)
        await pulled(fake.url, tmp_path / "back")

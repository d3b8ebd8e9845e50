"""Pulling from a registry that sends its readers on to an object store: who sees what, and what is believed."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from clients import download
from clients.credentials import Credentials
from clients.problems import Problem, Refused
from clients.retrying import GaveUp
from tests.unit.clients.fake import Broken, FakeRegistry, Status
from tests.unit.clients.fake_store import FakeStore
from tests.unit.clients.steps import Page, a_job, pulled, pushed, sha256, some_file

RANGE = 64 * 1024
ANN = Credentials("ann", "secret")


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test need not move much."""
    monkeypatch.setattr(download, "RANGE_BYTES", RANGE)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Eight ranges, the last one shorter."""
    return some_file(tmp_path / "big.bin", 7 * RANGE + 17)


@contextlib.asynccontextmanager
async def redirecting(big: Path) -> AsyncIterator[tuple[FakeRegistry, FakeStore]]:
    """A registry that has the file as a/b:1 and wants a login, and the store that it sends us to."""
    async with FakeRegistry() as fake, FakeStore() as store:
        fake.basic = "ann:secret"
        await pushed(fake.url, big, credentials=ANN)
        store.objects, fake.blob_links = fake.blobs, store.link
        yield fake, store


async def test_a_store_gets_the_range_and_no_proof_of_ours(big: Path, tmp_path: Path) -> None:
    """s3-sigv4 1.2, 1.4: no Authorization, no cookie, and the URL exactly as it was signed."""
    async with redirecting(big) as (fake, store):
        await pulled(fake.url, tmp_path / "out", output=True, credentials=ANN)
        assert (tmp_path / "out").read_bytes() == big.read_bytes()
        large = [seen for seen in store.seen if "Range" in seen.headers]
        assert len(large) == 8
        names = {name.lower() for seen in large for name in seen.headers}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "range"}
        assert {seen.path for seen in large} == {store.link(sha256(big)).removeprefix(store.url)}


async def test_every_range_is_asked_of_the_registry_so_that_no_link_grows_old(big: Path, tmp_path: Path) -> None:
    async with redirecting(big) as (fake, _):
        await pulled(fake.url, tmp_path / "out", output=True, credentials=ANN)
        assert len([seen for seen in fake.of("blob") if "Range" in seen.headers]) == 8


async def test_a_line_to_the_store_that_breaks_costs_the_range_that_was_on_it(big: Path, tmp_path: Path) -> None:
    async with redirecting(big) as (fake, store):
        store.faults = [Broken(0), Status(503), None, Broken(0)]
        await pulled(fake.url, tmp_path / "out", output=True, credentials=ANN)
        assert (tmp_path / "out").read_bytes() == big.read_bytes()


async def test_a_pull_by_redirect_goes_on_with_the_missing_ranges(big: Path, tmp_path: Path) -> None:
    async with redirecting(big) as (fake, store):
        store.faults, store.always = [None] * 6, Status(503)
        how: dict[str, Any] = {"output": True, "credentials": ANN}
        with pytest.raises(GaveUp):
            await pulled(fake.url, tmp_path / "out", parallel=1, give_up_after_s=0.01, **how)
        store.always, page = None, Page()
        store.seen.clear()
        await pulled(fake.url, tmp_path / "out", page=page, **how)
        assert len(store.seen) == 2
        assert "6 of 8 ranges are there already" in page.text
        assert (tmp_path / "out").read_bytes() == big.read_bytes()


async def test_what_a_store_sends_is_believed_by_its_digest_only(big: Path, tmp_path: Path) -> None:
    async with redirecting(big) as (fake, store):
        store.objects = {**fake.blobs, sha256(big): bytes(big.stat().st_size)}
        with pytest.raises(Problem, match=f"sent other bytes than {sha256(big)}"):
            await pulled(fake.url, tmp_path / "out", output=True, credentials=ANN)
        assert not list(tmp_path.glob("out*"))


async def test_a_store_that_refuses_is_told_from_the_registry(big: Path, tmp_path: Path) -> None:
    """It is not our login that is wrong."""
    async with redirecting(big) as (fake, store):
        store.always = Status(403, document={"error": "SignatureDoesNotMatch"})
        told = rf"{store.url[7:]} answered 403 \(SignatureDoesNotMatch\)\nthe registry sent us there"
        with pytest.raises(Refused, match=told):
            await pulled(fake.url, tmp_path / "out", output=True, credentials=ANN)


async def test_a_store_that_cannot_be_reached_is_told_from_the_registry(big: Path, tmp_path: Path) -> None:
    async with redirecting(big) as (fake, store):
        store.url = "http://127.0.0.1:1"
        with pytest.raises(GaveUp, match=r"cannot connect to 127.0.0.1:1 .*\nthe registry sent us there"):
            await pulled(fake.url, tmp_path / "out", output=True, credentials=ANN, give_up_after_s=0.01)


async def test_another_port_of_the_registrys_host_is_another_service() -> None:
    """A store beside a registry with TLS is not asked at the registry's port, nor is it given our proof."""
    async with a_job("https://registry.example.org:5000", credentials=ANN) as job:
        store = job.peer.resolve("http://registry.example.org:9000/bucket/key")
        assert str(store) == "http://registry.example.org:9000/bucket/key"
        assert not job.peer.is_own(store)
        forgotten = {str(job.peer.resolve(f"http://registry.example.org{port}/v2/")) for port in ("", ":5000")}
        assert forgotten == {"https://registry.example.org:5000/v2/"}

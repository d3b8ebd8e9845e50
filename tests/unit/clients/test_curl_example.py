"""examples/push-in-parts-with-curl.sh where parts go to an object store: what it sends there, how it goes round it."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.repo.tree import ROOT
from tests.support import needs
from tests.unit.clients.fake import Broken, FakeRegistry, Fault, Status
from tests.unit.clients.steps import MIB, sha256, some_file
from tests.unit.clients.test_native import native, nowhere, through_server

SCRIPT = ROOT / "examples/push-in-parts-with-curl.sh"
SECRET = "not-for-the-store"


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """Four parts of 1 MiB, the last one shorter."""
    return some_file(tmp_path / "big.bin", 3 * MIB + 17)


async def pushed(fake: FakeRegistry, big: Path) -> "subprocess.CompletedProcess[str]":
    """Run it to its end."""
    command = ["sh", str(SCRIPT), fake.netloc, "a/b:1", big.name, "1"]
    env = {"PATH": f"{Path(needs.tool('curl')).parent}:/usr/bin:/bin", "HOLD_TOKEN": SECRET}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=big.parent, env=env, capture_output=True, text=True, check=False, timeout=60
    )


async def test_parts_go_to_the_store_with_the_headers_that_were_named_and_no_secret(big: Path) -> None:
    """M09, H179, s3-sigv4 1.4: the hash is announced and sent; Authorization is for the registry."""
    async with native() as (fake, store):
        fake.hold_token = SECRET
        done = await pushed(fake, big)
        assert (done.returncode, done.stderr) == (0, "")
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert sorted(seen.size_bytes for seen in store.seen) == [17, *[MIB] * 3]
        assert len({seen.headers["x-amz-content-sha256"] for seen in store.seen}) == 4
        assert {seen.headers.get("Authorization") for seen in store.seen} == {None}
        assert not fake.of("part")


@pytest.mark.parametrize(
    "trouble",
    [Status(403, document={"error": "SignatureDoesNotMatch"}), Status(503), Broken(0), Broken(1000), None],
    ids=["refuses", "fails", "hangs up at once", "hangs up in the middle", "cannot be reached"],
)
async def test_parts_that_the_store_does_not_take_go_through_the_server(big: Path, trouble: Fault | None) -> None:
    """H048: in the same upload."""
    async with native() as (fake, store):
        fake.hold_token = SECRET
        store.always = trouble
        if trouble is None:
            store.url = await nowhere()
        done = await pushed(fake, big)
        assert done.returncode == 0, done.stderr
        assert fake.blobs[sha256(big)] == big.read_bytes()
        assert through_server(fake) == [1, 2, 3, 4]
        assert len(fake.of("start")) == 1
        assert "the object store does not take part" in done.stderr

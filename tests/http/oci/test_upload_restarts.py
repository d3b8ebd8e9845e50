"""Upload sessions outlive the process: the real server is killed and started again between requests (rule 14)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.http.oci.content import ALGORITHMS, IMAGE, artifact, digest_of, noise
from tests.http.oci.serving import Oci, closing
from tests.support.server import Server

REPOSITORY = "lab/tools"
CONTENT = noise(3_000_000, "restarts")
PIECE = 1_000_000


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[Oci]:
    oci = Oci(server.host, server.port)
    try:
        yield oci
    finally:
        await oci.close()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_rule_14_an_upload_goes_on_after_each_kill(tmp_path: Path, algorithm: str) -> None:
    digest, locations = digest_of(CONTENT, algorithm), []
    with Server(tmp_path / "data") as server:
        async with client_of(server) as oci:
            begun = await oci.begin(REPOSITORY, f"?digest-algorithm={algorithm}")
            locations.append(begun.location)
        for start in range(0, len(CONTENT), PIECE):
            server.kill()
            server.start()
            async with client_of(server) as oci:
                answer = await oci.patch(locations[-1], CONTENT[start : start + PIECE])
                assert (answer.status, answer.headers["Range"]) == (202, f"0-{start + PIECE - 1}")
                locations.append(answer.location)
        server.kill()
        server.start()
        async with client_of(server) as oci:
            for location in locations:
                assert (await oci.status(location)).headers["Range"] == f"0-{len(CONTENT) - 1}"
            assert (await oci.put(locations[-1], digest)).status == 201
        server.kill()
        server.start()
        async with client_of(server) as oci:
            assert (await oci.blob(REPOSITORY, digest)).body == CONTENT
            assert (await oci.put(locations[-1], digest)).status == 201, "rule 11 holds after a restart as well"


async def test_rule_14_what_arrived_of_a_body_before_the_kill_is_resumed(tmp_path: Path) -> None:
    """H001, H003: what arrived is with us, not in a pipe."""
    digest = digest_of(CONTENT)
    with Server(tmp_path / "data") as server:
        async with client_of(server) as oci:
            location = await oci.session(REPOSITORY)
            sender = await oci.connect()
            await sender.send_head("PATCH", location, {"Content-Length": str(len(CONTENT))})
            await sender.send_raw(CONTENT[:2_000_000])
            await oci.holds(location, 2_000_000)
            server.kill()
        server.start()
        async with client_of(server) as oci:
            status = await oci.status(location)
            held = int(status.headers["Range"].removeprefix("0-")) + 1
            # Marks lie at most 256 KiB apart (and one buffer): no more than that is sent again.
            assert 1_000_000 < held <= 2_000_000
            assert (await oci.put(status.location, digest, CONTENT[held:])).status == 201
            assert (await oci.blob(REPOSITORY, digest)).body == CONTENT


async def test_a_session_and_its_answers_survive_a_polite_restart(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        async with client_of(server) as oci:
            location = await oci.session(REPOSITORY)
            assert (await oci.patch(location, CONTENT[:PIECE])).status == 202
            await oci.push(REPOSITORY, b"{}")
            stored = await oci.put_manifest(REPOSITORY, "1", artifact("kept"), IMAGE)
        server.restart()
        async with client_of(server) as oci:
            assert (await oci.status(location)).headers["Range"] == f"0-{PIECE - 1}"
            assert (await oci.manifest(REPOSITORY, "1")).digest == stored.digest
            assert (await oci.ask("DELETE", closing(location, "ignored"))).status == 204
        server.restart()
        async with client_of(server) as oci:
            assert (await oci.status(location)).status == 404

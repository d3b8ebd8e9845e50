"""Sessions outlive the server: stopped or killed, what was answered is there, and URLs it handed out still work."""

from pathlib import Path
from typing import cast

import pytest

from tests.http.hold.client import TEMP, Hold, Json
from tests.http.oci.content import digest_of, noise
from tests.http.oci.serving import Oci, Serving
from tests.support.server import Server

PIECES = [noise(30_000, number) for number in range(3)]
CONTENT = b"".join(PIECES)


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("declared", [False, True])
async def test_an_upload_goes_on_after_a_restart(tmp_path: Path, how: str, declared: bool) -> None:
    """T09, H064, H137, H139, M07: parts that were answered are not sent again."""
    with Server(tmp_path / "data", env={"HOLDFAST_MIN_PART_BYTES": "1"}) as server:
        hold = Hold(cast(Serving, Oci(server.host, server.port)))
        more: Json = {"size": len(CONTENT), "part_size": 30_000} if declared else {}
        upload_id = await hold.begin(TEMP, **more)
        parts = [await hold.send(upload_id, number, PIECES[number - 1]) for number in (1, 3)]
        url = await hold.part_url(upload_id, 2)
        await hold.close()
        if how == "killed":
            server.kill()
            server.start()
        else:
            server.restart()
        hold = Hold(cast(Serving, Oci(server.host, server.port)))
        listed = (await hold.parts(upload_id)).json()["parts"]
        assert [{name: part[name] for name in ("part_number", "etag")} for part in listed] == parts
        answer = await hold.put(url, PIECES[1])
        parts.insert(1, {"part_number": 2, "etag": answer.headers["ETag"]})
        assert (await hold.complete(upload_id, TEMP, parts)).status == 200
        await hold.close()
        server.restart()
        hold = Hold(cast(Serving, Oci(server.host, server.port)))
        assert (await hold.complete(upload_id, TEMP, parts)).status == 200
        assert (await hold.move(TEMP, digest_of(CONTENT))).status == 200
        assert (await hold.blob(digest_of(CONTENT))).body == CONTENT
        await hold.close()
        server.restart()
        hold = Hold(cast(Serving, Oci(server.host, server.port)))
        assert (await hold.complete(upload_id, TEMP, parts)).status == 200
        assert (await hold.move(TEMP, digest_of(CONTENT))).status == 200
        await hold.close()
        log = server.log()
    assert [
        log.count(f"{step}: uploadID={upload_id}") for step in ("assembled parts", "completed buffered upload")
    ] == [1, 1]

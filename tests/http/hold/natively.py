"""Parts that a client puts into the store itself, as plain HTTP clients do: byte for byte what the answer said."""

import hashlib
from collections.abc import Sequence
from io import BytesIO

from aiohttp import ClientSession
from multidict import CIMultiDict
from yarl import URL

from tests.http.client import Answer, Headers
from tests.http.hold.client import OLD, Casing, Hold, Json
from tests.http.oci.serving import Serving


def sha256(content: bytes) -> str:
    """In hex, as it is announced."""
    return hashlib.sha256(content).hexdigest()


async def ask_store(url: str, method: str, body: bytes | None = None, headers: Headers = ()) -> Answer:
    """Ask whoever the URL names, byte for byte as it was handed out."""
    sent, data = CIMultiDict(headers), None if body is None else BytesIO(body)
    async with (
        ClientSession(auto_decompress=False, skip_auto_headers=["Content-Type"]) as session,
        session.request(method, URL(url, encoded=True), data=data, headers=sent, allow_redirects=False) as answer,
    ):
        return Answer(answer.status, CIMultiDict(answer.headers), await answer.read())


def is_at(url: str, base: str) -> bool:
    """Whether a URL leads there."""
    return url.startswith(f"{base}/")


async def put_parts(
    hold: Hold, upload_id: str, pieces: Sequence[bytes], casing: Casing = OLD, *, hashed: bool = False
) -> list[Json]:
    """Put all parts where we are told to; what completion has to list."""
    listed: list[Json] = []
    for number, piece in enumerate(pieces, 1):
        more = {"sha256": sha256(piece)} if hashed else {}
        answer = await hold.ask_url(upload_id, number, casing, **more)
        said = answer.json()
        assert (answer.status, said["mode"], said["method"]) == (200, "native", "PUT"), answer.body
        stored = await ask_store(said["url"], "PUT", piece, said["headers"])
        assert stored.status == 200, stored.body
        listed.append({"part_number": number, "etag": stored.headers["ETag"]})
    return listed


def through_us(oci: Serving) -> int:
    """How many bytes this server has received and sent so far."""
    return oci.server.traffic.received_bytes + oci.server.traffic.sent_bytes

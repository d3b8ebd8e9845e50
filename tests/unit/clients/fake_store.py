"""An object store as clients meet it by presigned URLs: it wants what was signed, no more and no less, and can fail.

It stands for the *header* family (s3-sigv4 1.6): a hash header that was not signed is a 403, and so is one that was and
is missing; the body must hash to it; two authorities at once are a 400. Faults are those of tests/unit/clients/fake.py,
in `faults`, one for each request.
"""

import hashlib
import ssl
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web

from tests.unit.clients.fake import Broken, Fault, Lost, Seen, Status, Then

HASH = "x-amz-content-sha256"


def xml(status: int, code: str, message: str = "no") -> web.Response:
    """An error as S3 writes it."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=body, content_type="application/xml")


class FakeStore:
    """See above. `url` is where it listens once started; `took` is told of each part: upload, number, bytes, ETag."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault | None] = []
        self.always: Fault | None = None
        """The fault of every request that has none of its own."""
        self.seen: list[Seen] = []
        self.took: Callable[[str, int, bytes, str], None] = lambda *_: None
        self._tls = tls
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeStore":
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.url = f"{'https://localhost' if self._tls else 'http://127.0.0.1'}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def part_url(self, upload: str, number: int, sha256: str | None) -> tuple[str, dict[str, str]]:
        """What the registry hands out for a part, and the headers that go with it."""
        signed = f"host;{HASH}" if sha256 else "host"
        query = f"partNumber={number}&uploadId={upload}&X-Amz-Credential=test%3Atester%2F20261121"
        query += f"&X-Amz-SignedHeaders={quote(signed, safe='')}&X-Amz-Signature={upload}"
        return f"{self.url}/bucket/holdfast/{upload}?{query}", {HASH: sha256} if sha256 else {}

    def link(self, key: str) -> str:
        """A URL for GET of an object."""
        return f"{self.url}/bucket/{key}?response-content-type=a%2Fb%2Bc&X-Amz-Signature={key}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = Seen(request.method, request.method, request.raw_path, dict(request.headers))
        self.seen.append(seen)
        fault = self.faults.pop(0) if self.faults else self.always
        if isinstance(fault, Then):
            fault.do()
        if isinstance(fault, Broken):
            if fault.after_bytes:
                await request.content.readexactly(fault.after_bytes)
            return _cut(request)
        body = await request.read()
        seen.size_bytes = len(body)
        if isinstance(fault, Status):
            return web.json_response(fault.document, status=fault.status, headers=fault.headers)
        refused = _refusal(request, body)
        if refused is not None:
            return refused
        answer = self._put(request, body) if request.method == "PUT" else self._get(request)
        return _cut(request) if isinstance(fault, Lost) else answer

    def _put(self, request: web.Request, body: bytes) -> web.Response:
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        self.took(request.query["uploadId"], int(request.query["partNumber"]), body, etag)
        return web.Response(headers={"ETag": etag})

    def _get(self, request: web.Request) -> web.Response:
        content = self.objects[request.path.removeprefix("/bucket/")]
        first, _, last = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        piece = content[int(first) : int(last) + 1 if last else None]
        if "Range" not in request.headers:
            return web.Response(body=content)
        said = {"Content-Range": f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}"}
        return web.Response(status=206, body=piece, headers=said)


def _refusal(request: web.Request, body: bytes) -> web.Response | None:
    """What the store says to a request that is not as it was signed."""
    if "Authorization" in request.headers:
        return xml(400, "InvalidArgument", "Only one auth mechanism allowed")
    signed = request.query.get("X-Amz-SignedHeaders", "host").split(";")
    said = request.headers.get(HASH)
    named = request.query.get("uploadId") or request.path.removeprefix("/bucket/")
    if request.query.get("X-Amz-Signature") != named or (said is None) == (HASH in signed):
        return xml(403, "SignatureDoesNotMatch")
    if said is not None and said != hashlib.sha256(body).hexdigest():
        return xml(400, "XAmzContentSHA256Mismatch")
    return None


def _cut(request: web.Request) -> web.Response:
    """End the connection with no answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()

"""A registry that misbehaves on command: OCI and the hold API in memory, every request seen, every step breakable.

Faults are laid out in advance: `fake.faults["part"] = [Broken(1000), Status(503)]` lets the first part break after 1000
bytes and the second one be refused; what follows goes well.
"""

import asyncio
import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Status:
    """Answer with this instead."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)


@dataclass
class Broken:
    """Cut the line after so many bytes of the body; `kept` says whether the server keeps them."""

    after_bytes: int
    kept: bool = True


@dataclass
class Lost:
    """Do it, and cut the line instead of answering."""


@dataclass
class WrongEtag:
    """Store it, and say another ETag."""

    etag: str = '"' + "0" * 64 + '"'


@dataclass
class Then:
    """Do something first, then go on as usual."""

    do: Callable[[], object]


Fault = Status | Broken | Lost | WrongEtag | Then


@dataclass
class Seen:
    """One request."""

    kind: str
    method: str
    path: str
    headers: dict[str, str]
    size_bytes: int = 0
    said: dict[str, Any] = field(default_factory=dict)
    """The JSON of a call."""


@dataclass
class Session:
    """An upload in parts."""

    size_bytes: int
    part_size_bytes: int
    target: str
    repository: str
    parts: dict[int, bytes] = field(default_factory=dict)
    etags: dict[int, str] = field(default_factory=dict)

    def took(self, number: int, part: bytes, etag: str) -> None:
        """A part has arrived, here or in the object store."""
        self.parts[number], self.etags[number] = part, etag


class FakeRegistry:
    """See above. `url` is where it listens once started."""

    def __init__(self, *, multipart: str | None = "buffered", part_size_bytes: int = 5 << 20) -> None:
        self.multipart, self.part_size_bytes = multipart, part_size_bytes
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.sessions: dict[str, Session] = {}
        self.sequences: dict[str, bytearray] = {}
        self.faults: dict[str, Any] = defaultdict(list)  # of lists of Fault
        self.seen: list[Seen] = []
        self.part_base = ""
        """Where part URLs lead; the registry itself if empty."""
        self.blob_base = ""
        """Where GETs of blobs are redirected to."""
        self.blob_links: Callable[[str], str] | None = None
        """Makes a URL of its own for each GET of a blob."""
        self.native = False
        self.part_urls: Callable[[str, int, str | None], tuple[str, dict[str, str]]] | None = None
        """Makes the URLs of parts, unless the client wants to come through us."""
        self.takes_parts = True
        self.ranges = True
        self.hold_token = ""
        self.basic = ""
        self.bearer = ""
        self.realm = ""
        self.url = ""
        self._ids = 0
        self._runner: web.AppRunner | None = None

    @property
    def netloc(self) -> str:
        """`127.0.0.1:PORT`."""
        return self.url.removeprefix("http://")

    async def __aenter__(self) -> "FakeRegistry":
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def of(self, kind: str) -> list[Seen]:
        """The requests of a kind."""
        return [seen for seen in self.seen if seen.kind == kind]

    def grow(self, more: bytes) -> None:
        """Somebody else adds to every upload in sequence."""
        for received in self.sequences.values():
            received += more

    def spoil(self) -> None:
        """Change a byte of every upload in sequence that has one."""
        for received in self.sequences.values():
            if received:
                received[0] ^= 1

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        kind, handler = self._route(request)
        seen = Seen(kind, request.method, request.path_qs, dict(request.headers))
        self.seen.append(seen)
        fault: Fault | None = self.faults[kind].pop(0) if self.faults[kind] else None
        body = b""
        if isinstance(fault, Then):
            fault.do()
        if isinstance(fault, Status):
            await request.read()
            return web.json_response(fault.document, status=fault.status, headers=fault.headers)
        if isinstance(fault, Broken):
            body = await request.content.readexactly(fault.after_bytes) if fault.after_bytes else b""
            seen.size_bytes = len(body)
            if fault.kept and kind == "patch":
                self.sequences[request.path.rpartition("/")[2]] += body
            return self._cut(request)
        body = await request.read()
        seen.size_bytes = len(body)
        seen.said = json.loads(body) if kind in ("start", "url", "complete", "abort") else {}
        if (challenge := self._challenge(kind, request)) is not None:
            return challenge
        answer: web.StreamResponse = await handler(request, body)
        if isinstance(fault, Lost):
            return self._cut(request)
        if isinstance(fault, WrongEtag):
            answer.headers["ETag"] = fault.etag
        return answer

    def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        raise asyncio.CancelledError

    def _route(self, request: web.Request) -> tuple[str, Callable[[web.Request, bytes], Any]]:
        path, method = request.path, request.method
        named = {
            "/capabilities": ("capabilities", self._capabilities),
            "/start-multipart": ("start", self._start),
            "/part-presigned-url": ("url", self._part_url),
            "/complete-multipart": ("complete", self._complete),
            "/abort-multipart": ("abort", self._abort),
            "/token": ("token", self._token),
        }
        if path in named:
            return named[path]
        if path.startswith("/store/"):
            return "stored", self._part
        if path.startswith("/multipart-parts/"):
            return ("list", self._parts) if method == "GET" else ("part", self._part)
        if "/blobs/uploads/" in path:
            kind = {"POST": "post", "PATCH": "patch", "PUT": "put", "GET": "status"}[method]
            return kind, getattr(self, f"_{kind}")
        if "/blobs/" in path:
            return ("head", self._blob) if method == "HEAD" else ("blob", self._blob)
        if "/manifests/" in path:
            return ("manifest", self._put_manifest) if method == "PUT" else ("fetch", self._get_manifest)
        return "other", self._nothing

    def _challenge(self, kind: str, request: web.Request) -> web.Response | None:
        """401 when a proof is wanted and missing."""
        said = request.headers.get("Authorization", "")
        if (
            kind in ("capabilities", "token")
            or request.path.startswith("/store/")
            or "X-Amz-Signature=" in request.path_qs
        ):
            return None
        hold = kind in ("start", "url", "complete", "abort", "list", "part")
        if hold and self.hold_token:
            return None if said == f"Bearer {self.hold_token}" else web.json_response({}, status=401)
        if self.bearer and said != f"Bearer {self.bearer}":
            realm = self.realm or f"{self.url}/token"
            asked = f'Bearer realm="{realm}",service="fake",scope="repository:a/b:pull"'
            return web.json_response({}, status=401, headers={"WWW-Authenticate": asked})
        if self.basic and not self.bearer and said != "Basic " + base64.b64encode(self.basic.encode()).decode():
            return web.json_response({}, status=401, headers={"WWW-Authenticate": 'Basic realm="fake"'})
        return None

    async def _nothing(self, request: web.Request, body: bytes) -> web.Response:
        return web.json_response({}, status=404)

    async def _token(self, request: web.Request, body: bytes) -> web.Response:
        said = request.headers.get("Authorization", "")
        form = await request.post() if request.method == "POST" else {}
        known = "Basic " + base64.b64encode(self.basic.encode()).decode()
        if self.basic and form.get("refresh_token") != "refresh" and said != known:
            return web.json_response({}, status=401)
        return web.json_response({"token": self.bearer})

    async def _capabilities(self, request: web.Request, body: bytes) -> web.Response:
        if self.multipart is None:
            return web.json_response({}, status=404)
        return web.json_response({"multipart": self.multipart, "storage": "filesystem"})

    async def _start(self, request: web.Request, body: bytes) -> web.Response:
        said = json.loads(body)
        self._ids += 1
        size = said.get("part_size", self.part_size_bytes)
        name = f"s{self._ids}"
        self.sessions[name] = Session(said["size"], size, said["digest"], said["repository"])
        mode = "native" if self.native else "buffered"
        return web.json_response({"upload_id": name, "part_size": size, "mode": mode})

    async def _part_url(self, request: web.Request, body: bytes) -> web.Response:
        said = json.loads(body)
        if said["upload_id"] not in self.sessions:
            return web.json_response({"error": "InvalidUploadId"}, status=404)
        headers = {"x-amz-content-sha256": said["sha256"]} if "sha256" in said else {}
        if self.part_urls is not None and said.get("mode") != "buffered":
            url, headers = self.part_urls(said["upload_id"], said["part_number"], said.get("sha256"))
            return web.json_response({"url": url, "method": "PUT", "headers": headers, "mode": "native"})
        path = f"multipart-parts/{said['upload_id']}/{said['part_number']}?X-Amz-Signature=yes"
        if self.part_base:
            path = path.replace("multipart-parts", "store")
        return web.json_response({"url": f"{self.part_base or self.url}/{path}", "method": "PUT", "headers": headers})

    async def _part(self, request: web.Request, body: bytes) -> web.Response:
        _, _, name, number = request.path.split("/")
        if not self.takes_parts and "X-Amz-Signature=" not in request.path_qs:
            return web.json_response({"error": "NativeOnly"}, status=409)
        if name not in self.sessions:
            return web.json_response({"error": "InvalidUploadId"}, status=404)
        announced = request.headers.get("X-Amz-Content-Sha256")
        if announced and announced != hashlib.sha256(body).hexdigest():
            return web.json_response({"error": "PartMismatch"}, status=400)
        tokens = self.native and self.part_urls is None
        etag = hashlib.md5(body, usedforsecurity=False) if tokens else hashlib.sha256(body)
        self.sessions[name].took(int(number), body, f'"{etag.hexdigest()}"')
        return web.Response(headers={"ETag": f'"{etag.hexdigest()}"'})

    async def _parts(self, request: web.Request, body: bytes) -> web.Response:
        name = request.path.rpartition("/")[2]
        if name not in self.sessions:
            return web.json_response({"error": "InvalidUploadId"}, status=404)
        rows = [
            {"part_number": number, "etag": self.sessions[name].etags[number], "size": len(part)}
            for number, part in sorted(self.sessions[name].parts.items())
        ]
        session = self.sessions[name]
        count = -(-session.size_bytes // session.part_size_bytes)
        sizes = {"size": session.size_bytes, "part_size": session.part_size_bytes, "total_parts": count}
        return web.json_response({"digest": session.target, "parts": rows, **sizes})

    async def _complete(self, request: web.Request, body: bytes) -> web.Response:
        said = json.loads(body)
        if said["digest"] in self.blobs:
            return web.json_response({"digest": said["digest"]})
        session = self.sessions[said["upload_id"]]
        listed = [row["part_number"] for row in said["parts"]]
        if listed != sorted(session.parts) or listed != list(range(1, len(listed) + 1)):
            return web.json_response({"error": "MissingParts", "message": "parts are missing"}, status=400)
        if any(row["etag"].strip('"') != session.etags[row["part_number"]].strip('"') for row in said["parts"]):
            return web.json_response({"error": "MissingParts", "message": "other ETags"}, status=400)
        content = b"".join(session.parts[number] for number in listed)
        if said["digest"] != f"sha256:{hashlib.sha256(content).hexdigest()}":
            return web.json_response({"error": "CompletionFailed", "message": "other bytes"}, status=400)
        self.blobs[said["digest"]] = content
        del self.sessions[said["upload_id"]]
        return web.json_response({"digest": said["digest"]})

    async def _abort(self, request: web.Request, body: bytes) -> web.Response:
        self.sessions.pop(json.loads(body)["upload_id"], None)
        return web.json_response({})

    def _where(self, name: str, status: int) -> web.Response:
        size = len(self.sequences[name])
        headers = {"Location": f"/v2/a/b/blobs/uploads/{name}?_state={size}%3D", "Range": f"0-{max(0, size - 1)}"}
        return web.Response(status=status, headers=headers)

    async def _post(self, request: web.Request, body: bytes) -> web.Response:
        self._ids += 1
        self.sequences[f"u{self._ids}"] = bytearray()
        return self._where(f"u{self._ids}", 202)

    async def _status(self, request: web.Request, body: bytes) -> web.Response:
        name = request.path.rpartition("/")[2]
        return self._where(name, 204) if name in self.sequences else web.json_response({}, status=404)

    async def _patch(self, request: web.Request, body: bytes) -> web.Response:
        name = request.path.rpartition("/")[2]
        if name not in self.sequences:
            return web.json_response({}, status=404)
        if int(request.headers["Content-Range"].partition("-")[0]) != len(self.sequences[name]):
            return self._where(name, 416)
        self.sequences[name] += body
        return self._where(name, 202)

    async def _put(self, request: web.Request, body: bytes) -> web.Response:
        name = request.path.rpartition("/")[2]
        content = bytes(self.sequences.pop(name, b"")) + body
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if request.query["digest"] != digest:
            return web.json_response({"errors": [{"code": "DIGEST_INVALID", "message": "other bytes"}]}, status=400)
        self.blobs[digest] = content
        return web.Response(status=201, headers={"Location": f"/v2/a/b/blobs/{digest}"})

    async def _blob(self, request: web.Request, body: bytes) -> web.Response:
        digest = request.path.rpartition("/")[2]
        if digest not in self.blobs:
            return web.json_response({"errors": [{"code": "BLOB_UNKNOWN"}]}, status=404)
        if self.blob_links is not None and request.method == "GET":
            return web.Response(status=307, headers={"Location": self.blob_links(digest)})
        if self.blob_base and request.method == "GET":
            return web.Response(status=307, headers={"Location": f"{self.blob_base}/v2/else/where/blobs/{digest}"})
        content = self.blobs[digest]
        asked = request.headers.get("Range")
        if asked and self.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            piece = content[int(first) : int(last) + 1]
            said = {"Content-Range": f"bytes {first}-{int(first) + len(piece) - 1}/{len(content)}"}
            return web.Response(status=206, body=piece, headers=said)
        return web.Response(body=content)

    async def _put_manifest(self, request: web.Request, body: bytes) -> web.Response:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        for name in (digest, request.path.rpartition("/")[2]):
            self.manifests[name] = (body, request.headers["Content-Type"])
        return web.Response(status=201, headers={"Docker-Content-Digest": digest})

    async def _get_manifest(self, request: web.Request, body: bytes) -> web.Response:
        name = request.path.rpartition("/")[2]
        if name not in self.manifests:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such tag"}]}, status=404)
        content, media_type = self.manifests[name]
        return web.Response(body=content, headers={"Content-Type": media_type})

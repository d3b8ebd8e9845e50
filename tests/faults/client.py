"""A plain client that pushes, resumes and looks, and knows what a lost answer is."""

import hashlib
import http.client
import json
import random
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final

LOST: Final = (OSError, http.client.HTTPException)
"""What a request raises when the server dies under it."""

IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
TIMEOUT_S: Final = 60


@dataclass(frozen=True)
class Answer:
    """One response, read to its end."""

    status: int
    headers: Message
    body: bytes

    @property
    def location(self) -> str:
        """Where to go on."""
        place: str = self.headers["Location"]
        return place

    @property
    def code(self) -> str:
        """The first error's code."""
        code: str = json.loads(self.body)["errors"][0]["code"]
        return code

    @property
    def received_bytes(self) -> int:
        """How many bytes the `Range` of a 204, 202 or 416 says that the session holds."""
        first, _, last = self.headers["Range"].partition("-")
        assert first == "0"
        return int(last) + 1

    def expect(self, *statuses: int) -> "Answer":
        """Itself, if its status is one of those."""
        assert self.status in statuses, (self.status, self.body[:500])
        return self


def digest(content: bytes) -> str:
    """The sha256 digest."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def noise(seed: object, size_bytes: int) -> bytes:
    """Bytes that are the same for the same seed, and nowhere zeros."""
    return random.Random(repr(seed)).randbytes(size_bytes)


def with_digest(location: str, content_digest: str) -> str:
    """A Location made ready for the closing PUT."""
    return f"{location}{'&' if '?' in location else '?'}digest={content_digest}"


@dataclass(frozen=True)
class Client:
    """Requests to a registry, each on a connection of its own."""

    port: int

    def request(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; an iterable body goes out chunked. Raises LOST when the server dies."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def begin_body(self, method: str, target: str, length: int | None, first: bytes) -> socket.socket:
        """A request whose body of `length` bytes (None: chunked) has begun with `first`; the caller goes on."""
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        made = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        made.sendall(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{framing}\r\n\r\n".encode() + first)
        return made

    def open(self, repository: str) -> str:
        """POST; the session's Location."""
        return self.request("POST", f"/v2/{repository}/blobs/uploads/", b"").expect(202).location

    def patch(self, location: str, data: bytes | Iterable[bytes], start: int | None = None) -> Answer:
        """PATCH; with `start`, a Content-Range as well."""
        ranged = {}
        if start is not None:
            assert isinstance(data, bytes)
            ranged = {"Content-Range": f"{start}-{start + len(data) - 1}"}
        return self.request("PATCH", location, data, {"Content-Type": "application/octet-stream", **ranged})

    def finish(self, location: str, content_digest: str, data: bytes = b"") -> Answer:
        """The closing PUT."""
        return self.request("PUT", with_digest(location, content_digest), data)

    def push(self, repository: str, content: bytes) -> str:
        """A blob by POST and PUT; its digest."""
        name = digest(content)
        self.finish(self.open(repository), name, content).expect(201)
        return name

    def blob(self, repository: str, content_digest: str) -> Answer:
        """GET a blob."""
        return self.request("GET", f"/v2/{repository}/blobs/{content_digest}")

    def has_whole(self, repository: str, content: bytes) -> bool:
        """Whether the blob is there; if so it must be those bytes, and if not a plain 404."""
        answer = self.blob(repository, digest(content)).expect(200, 404)
        assert answer.status == 404 or answer.body == content
        return answer.status == 200

    def manifest(self, repository: str, reference: str) -> Answer:
        """GET a manifest."""
        return self.request("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": IMAGE})

    def put_manifest(self, repository: str, reference: str, content: bytes) -> Answer:
        """PUT a manifest."""
        return self.request("PUT", f"/v2/{repository}/manifests/{reference}", content, {"Content-Type": IMAGE})

    def tagged(self, repository: str, tag: str) -> str | None:
        """The digest the tag points at; None when there is no such tag. The bytes must be those of the digest."""
        answer = self.manifest(repository, tag).expect(200, 404)
        if answer.status == 404:
            return None
        assert digest(answer.body) == answer.headers["Docker-Content-Digest"]
        return digest(answer.body)

    def image(self, repository: str, seed: object) -> bytes:
        """Push the blobs of a small image; the bytes of its manifest, which is not pushed."""
        blobs = [noise((seed, "config"), 300), noise((seed, "layer"), 3000)]
        for content in blobs:
            self.push(repository, content)
        return manifest_of(*blobs)


def manifest_of(config: bytes, *layers: bytes, **more: Any) -> bytes:
    """An image manifest over that content."""

    def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest(content), "size": len(content)}

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
            **more,
        }
    ).encode()

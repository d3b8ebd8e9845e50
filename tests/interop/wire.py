"""The registry as the tests see it beside the client at work: plain requests, to check what a client left there."""

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from typing import Any

MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)


@dataclass(frozen=True)
class Answer:
    """One response, read to its end."""

    status: int
    headers: Message
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def digest(self) -> str | None:
        """Docker-Content-Digest."""
        return self.headers["Docker-Content-Digest"]


def parse_answer(raw: bytes) -> Answer:
    """The last response in what `curl --include` prints, which shows interim ones (100 Continue) before it."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, _, fields = head.partition(b"\r\n")
    status = int(status_line.split()[1])
    if 100 <= status < 200:
        return parse_answer(body)
    return Answer(status, BytesParser().parsebytes(fields, headersonly=True), body)


@dataclass(frozen=True)
class Registry:
    """Where the registry under test listens."""

    netloc: str

    @property
    def url(self) -> str:
        """`http://HOST:PORT`."""
        return f"http://{self.netloc}"

    def request(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own; an iterable body goes out in chunked transfer coding."""
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def ref(self, repository: str, tag: str = "latest") -> str:
        """`HOST:PORT/repository:tag`."""
        return f"{self.netloc}/{repository}:{tag}"

    def manifest(self, repository: str, reference: str = "latest") -> Answer:
        """GET a manifest of any kind."""
        return self.request("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFESTS})

    def blob(self, repository: str, digest: str) -> Answer:
        """GET a blob."""
        return self.request("GET", f"/v2/{repository}/blobs/{digest}")

    def tags(self, repository: str) -> list[str]:
        """The repository's tags, as many as one page shows."""
        listed: list[str] = self.request("GET", f"/v2/{repository}/tags/list").json()["tags"]
        return listed

    def referrers(self, repository: str, digest: str, query: str = "") -> list[dict[str, Any]]:
        """The descriptors of what refers to a digest."""
        found: list[dict[str, Any]] = self.request("GET", f"/v2/{repository}/referrers/{digest}{query}").json()[
            "manifests"
        ]
        return found

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Answer:
        """PUT a manifest's bytes."""
        return self.request("PUT", f"/v2/{repository}/manifests/{reference}", data, {"Content-Type": media_type})

    def put_blob(self, repository: str, data: bytes, digest: str) -> Answer:
        """POST, then PUT the whole."""
        opened = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"")
        location = opened.headers["Location"].removeprefix(self.url)
        sign = "&" if "?" in location else "?"
        return self.request("PUT", f"{location}{sign}digest={digest}", data)

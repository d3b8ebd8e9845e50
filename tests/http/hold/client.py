"""The hold API as a client sees it over a real socket, in each of its spellings.

What must hold for every answer is checked on every answer that any test of this folder gets: errors have their shape,
and none of them tells an id that was handed out (T04).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tests.http.client import Answer, Body, Connection, Headers
from tests.http.oci.serving import Serving

Json = dict[str, Any]
TEMP: Final = "uploads/temp-upload-1763651234567890123"
FROM_AFAR: Final = {"X-Forwarded-For": "203.0.113.7"}
"""Somebody is in between: the caller is not on this machine."""
TOKEN: Final = "open-sesame-and-close-again"
BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}


def snake(name: str) -> str:
    """part_number, as the old API has it."""
    return name


def camel(name: str) -> str:
    """partNumber, as the lexicons have it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def pascal(name: str) -> str:
    """PartNumber, UploadID, ETag: a Go struct without tags."""
    special = {"upload_id": "UploadID", "etag": "ETag", "did": "DID"}
    return special.get(name) or "".join(word.capitalize() for word in name.split("_"))


@dataclass(frozen=True)
class Casing:
    """One spelling: where the calls live, how fields are written, and how they come back."""

    start: str
    part_url: str
    complete: str
    abort: str
    write: Callable[[str], str]
    read: Callable[[str], str]

    def spelled(self, fields: Mapping[str, object]) -> Json:
        """A body; a list of parts is spelled inside as well."""
        return {self.write(name): self._inner(value) for name, value in fields.items()}

    def _inner(self, value: object) -> object:
        if isinstance(value, list):
            return [self.spelled(each) if isinstance(each, dict) else each for each in value]
        return value


def _old(write: Callable[[str], str]) -> Casing:
    """The old calls, asked in some casing; the answers are in snake case."""
    return Casing("/start-multipart", "/part-presigned-url", "/complete-multipart", "/abort-multipart", write, snake)


def _lexicon(name: str) -> str:
    return f"/xrpc/io.atcr.hold.{name}"


CASINGS: Final = {
    "old": _old(snake),
    "go": _old(pascal),
    "xrpc": Casing(
        start=_lexicon("initiateUpload"),
        part_url=_lexicon("getPartUploadUrl"),
        complete=_lexicon("completeUpload"),
        abort=_lexicon("abortUpload"),
        write=camel,
        read=camel,
    ),
}
OLD, GO, XRPC = CASINGS["old"], CASINGS["go"], CASINGS["xrpc"]


class Hold:
    """The hold at the other end of a socket."""

    def __init__(self, oci: Serving, headers: Headers = ()) -> None:
        """`headers` go with every call, but not with what is sent to a URL that was handed out."""
        self.oci = oci
        self.headers = dict(headers)
        self.ids: set[str] = set()
        """Every upload id that was handed out."""
        self._idle: list[Connection] = []
        self._all: list[Connection] = []

    def as_caller(self, headers: Headers) -> "Hold":
        """The same hold, asked by somebody who sends these headers."""
        other = Hold(self.oci, headers)
        other.ids = self.ids
        other._idle, other._all = self._idle, self._all
        return other

    @property
    def url(self) -> str:
        """http://host:port."""
        return f"http://{self.oci.host}:{self.oci.port}"

    async def ask(self, method: str, target: str, body: Body = None, headers: Headers = ()) -> Answer:
        """Ask on a connection that is kept alive."""
        connection = self._idle.pop() if self._idle else await self.connect()
        answer = await connection.ask(method, target, body, dict(headers))
        self._laws(answer, method, target)
        if answer.keeps_the_connection:
            self._idle.append(connection)
        return answer

    async def call(self, method: str, target: str, body: Body = None, headers: Headers = ()) -> Answer:
        """Ask with the caller's own headers."""
        return await self.ask(method, target, body, {**self.headers, **dict(headers)})

    async def post(self, path: str, said: object = None, headers: Headers = ()) -> Answer:
        """POST JSON."""
        body = b"" if said is None else _json(said)
        return await self.call("POST", path, body, {"Content-Type": "application/json", **dict(headers)})

    async def start(self, digest: str, casing: Casing = OLD, **more: object) -> Answer:
        """Open a session."""
        answer = await self.post(casing.start, casing.spelled({"did": "did:plc:tester", "digest": digest, **more}))
        if answer.status == 200:
            self.ids.add(answer.json()[casing.read("upload_id")])
        return answer

    async def begin(self, digest: str = TEMP, casing: Casing = OLD, **more: object) -> str:
        """Open a session; its id."""
        answer = await self.start(digest, casing, **more)
        assert answer.status == 200, answer.body
        upload_id: str = answer.json()[casing.read("upload_id")]
        return upload_id

    async def ask_url(self, upload_id: str, number: object, casing: Casing = OLD, **more: object) -> Answer:
        """Ask for the URL of a part."""
        said = {"did": "did:plc:tester", "digest": TEMP, "upload_id": upload_id, "part_number": number, **more}
        return await self.post(casing.part_url, casing.spelled(said))

    async def part_url(self, upload_id: str, number: object, casing: Casing = OLD, **more: object) -> str:
        """The URL of a part."""
        answer = await self.ask_url(upload_id, number, casing, **more)
        assert answer.status == 200, answer.body
        url: str = answer.json()["url"]
        return url

    async def put(self, url: str, content: Body, headers: Headers = (), method: str = "PUT") -> Answer:
        """Send to a URL that was handed out, as its holder: with no authority but the URL's."""
        return await self.ask(method, target_of(url, self.url), content, headers)

    async def send(self, upload_id: str, number: int, content: bytes, casing: Casing = OLD) -> Json:
        """Send a part by a URL; what completion has to list."""
        answer = await self.put(await self.part_url(upload_id, number, casing), content)
        assert answer.status == 200, answer.body
        return {"part_number": number, "etag": answer.headers["ETag"]}

    async def complete(
        self, upload_id: str, digest: str | None, parts: Sequence[object], casing: Casing = OLD, **more: object
    ) -> Answer:
        """End a session with its parts."""
        said = {"upload_id": upload_id, "parts": list(parts), **more}
        if digest is not None:
            said["digest"] = digest
        return await self.post(casing.complete, casing.spelled(said))

    async def abort(self, upload_id: str, casing: Casing = OLD) -> Answer:
        """Give a session up, by its id alone (T03)."""
        return await self.post(casing.abort, casing.spelled({"upload_id": upload_id}))

    async def parts(self, upload_id: str) -> Answer:
        """What arrived whole."""
        return await self.call("GET", f"/multipart-parts/{upload_id}")

    async def move(self, source: str, digest: str, headers: Headers = ()) -> Answer:
        """Publish under a digest, with the query as old clients write it: nothing is escaped."""
        return await self.call("POST", f"/move?from={source}&to={digest}&did=did:plc:tester", None, headers)

    async def blob(self, digest: str, more: str = "", headers: Headers = (), method: str = "GET") -> Answer:
        """com.atproto.sync.getBlob."""
        target = f"/xrpc/com.atproto.sync.getBlob?did=did:web:hold.example&cid={digest}{more}"
        return await self.call(method, target, None, headers)

    async def connect(self) -> Connection:
        """A connection of one's own."""
        connection = await Connection.open(self.oci.host, self.oci.port)
        self._all.append(connection)
        return connection

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._all:
            await connection.close()

    def _laws(self, answer: Answer, method: str, target: str) -> None:
        """What holds for every answer of the hold."""
        assert answer.headers["X-Request-Id"]
        assert answer.status < 500 or answer.status == 507, answer.body
        if answer.status < 400:
            return
        told = answer.body + str(answer.headers).encode()
        assert [each for each in self.ids if each.encode() in told] == []
        assert not re.search(rb"upload_?id\"\s*:", told, re.IGNORECASE)
        if method == "HEAD":
            return
        if "X-Amz-Signature" in target:
            assert answer.headers["Content-Type"].startswith("application/xml")
            return
        said = answer.json()
        assert set(said) <= {"error", "message", "problems"}
        assert said["error"].isalpha() and said["message"]


def error_of(answer: Answer) -> tuple[int, str]:
    """The status and name of a refusal."""
    return answer.status, str(answer.json()["error"])


def target_of(url: str, base: str) -> str:
    """The path and query of a URL that must lead to `base`."""
    assert url.startswith(f"{base}/"), url
    split = urlsplit(url)
    return f"{split.path}?{split.query}" if split.query else split.path


def _json(said: object) -> bytes:
    return json.dumps(said).encode()

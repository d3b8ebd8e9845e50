"""A plain client of the hold API: it starts, sends parts, lists, completes, moves, and knows what it was answered."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.faults.client import Answer, Client

KIB: Final = 1024
SMALL_PARTS: Final = ("--min-part-bytes", "1KiB")
"""Flags of a server on which tests about something else need not send megabytes."""


def etag(content: bytes) -> str:
    """What a part is listed with: its SHA-256 (H022, H089)."""
    return hashlib.sha256(content).hexdigest()


def cut(content: bytes, part_bytes: int) -> dict[int, bytes]:
    """Content in parts, by number from 1."""
    starts = range(0, len(content), part_bytes)
    return {number: content[start : start + part_bytes] for number, start in enumerate(starts, 1)}


def etags(parts: Mapping[int, bytes]) -> dict[int, str]:
    """The ETags of parts, by number."""
    return {number: etag(content) for number, content in parts.items()}


@dataclass(frozen=True)
class Hold(Client):
    """The registry, asked through the hold API as well."""

    def post(self, path: str, **said: object) -> Answer:
        """POST JSON."""
        body = json.dumps({name: value for name, value in said.items() if value is not None}).encode()
        return self.checked(self.request("POST", path, body, {"Content-Type": "application/json"}))

    def start(self, target: str, repository: str, *, size: int | None = None, part_size: int | None = None) -> str:
        """Open a session; its id."""
        answer = self.post("/start-multipart", digest=target, repository=repository, size=size, part_size=part_size)
        upload_id: str = json.loads(answer.expect(200).body)["upload_id"]
        return upload_id

    def ask_url(self, upload_id: str, number: int) -> Answer:
        """Ask for the URL of a part."""
        return self.post("/part-presigned-url", upload_id=upload_id, part_number=number)

    def target(self, answer: Answer) -> str:
        """Path and query of the URL that was handed out."""
        split = urlsplit(json.loads(answer.body)["url"])
        assert split.port == self.port
        return f"{split.path}?{split.query}"

    def url(self, upload_id: str, number: int) -> str:
        """Where a part is to be sent."""
        return self.target(self.ask_url(upload_id, number).expect(200))

    def send(self, upload_id: str, number: int, data: bytes | Iterable[bytes]) -> Answer:
        """Ask for a part's URL, and send the part there."""
        return self.put(self.url(upload_id, number), data)

    def put(self, target: str, data: bytes | Iterable[bytes]) -> Answer:
        """Send to a URL that was handed out."""
        return self.checked(self.request("PUT", target, data))

    def send_all(self, upload_id: str, parts: Mapping[int, bytes]) -> None:
        """Send these parts, each with success and with its SHA-256 as ETag."""
        for number, content in parts.items():
            assert self.send(upload_id, number, content).expect(200).headers["ETag"] == f'"{etag(content)}"'

    def listing(self, upload_id: str) -> Answer:
        """What arrived whole, or what became of the session."""
        return self.checked(self.request("GET", f"/multipart-parts/{upload_id}"))

    def stored(self, upload_id: str) -> dict[int, str]:
        """The stored parts: number to bare ETag."""
        return listed(self.listing(upload_id).expect(200))

    def complete(self, upload_id: str, target: str, with_etags: Mapping[int, str]) -> Answer:
        """End a session: a digest makes it a blob, its temporary name keeps it unseen."""
        parts = [{"part_number": number, "etag": f'"{with_etags[number]}"'} for number in sorted(with_etags)]
        return self.post("/complete-multipart", upload_id=upload_id, digest=target, parts=parts)

    def abort(self, upload_id: str) -> Answer:
        """Give a session up."""
        return self.post("/abort-multipart", upload_id=upload_id)

    def move(self, source: str, content_digest: str) -> Answer:
        """Publish what was completed under a temporary name."""
        return self.checked(self.request("POST", f"/move?from={source}&to={content_digest}", b""))

    def checked(self, answer: Answer) -> Answer:
        """Itself; whatever the answer is, the server is not at fault, and a refusal has the hold's or S3's shape."""
        assert answer.status != 500, answer.body
        if answer.status >= 400:
            refusal(answer)
        return answer


def listed(answer: Answer) -> dict[int, str]:
    """The parts of a listing: number to bare ETag."""
    return {each["part_number"]: each["etag"].strip('"') for each in json.loads(answer.body)["parts"]}


def refusal(answer: Answer) -> str:
    """The word of a refusal, in whichever of the two shapes it came: JSON of the hold, XML at a signed URL."""
    if answer.headers["Content-Type"].startswith("application/xml"):
        word = answer.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
        assert word, answer.body
        return word
    said: dict[str, Any] = json.loads(answer.body)
    assert set(said) <= {"error", "message", "problems"}, said
    return str(said["error"])


def problems(answer: Answer) -> list[str]:
    """What a refused completion says is wrong with its list."""
    said: list[str] = json.loads(answer.body)["problems"]
    return said


def spool_of(data: Path, upload_id: str) -> Iterator[Path]:
    """The files that a session has in the spool."""
    return (data / "spool").glob(f"{upload_id}*")

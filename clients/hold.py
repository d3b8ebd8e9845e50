"""The calls of the hold API as its client makes them: JSON out, JSON in, any casing understood (T05, M05, M08)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from clients.answers import Answer
from clients.authorizing import Side
from clients.peer import Body, Peer
from clients.problems import PartsMissing, PartsRefused, Problem, Refused, SessionGone
from model.digests import Digest

COMPLETE_S: Final = 3600.0
"""How long a completion may take: the server may have to hash what came out of order, on a slow disk."""

OTHER_BYTES: Final = "the file is damaged, or was written to; make it again, and see that its disk is well"

NOT_HERE: Final = frozenset({401, 403, 404, 405, 501})
"""Answers to the start that mean: not here, or not for you (H048)."""

NO_URLS: Final = frozenset({403, 405, 501})
GONE: Final = frozenset({404, 410})
BEGUN_AS: Final = "set HOLD_TOKEN as when the push was begun, or begin it anew with another --journal-dir"
SIGNATURE: Final = "X-Amz-Signature="
PAYLOAD_HASH: Final = "X-Amz-Content-Sha256"


@dataclass(frozen=True)
class Capabilities:
    """What a server says about itself (H033)."""

    parts: bool
    native: bool = False
    """Part URLs lead to an object store, whose ETags are not SHA-256 (T08)."""


@dataclass(frozen=True)
class Started:
    """A session, as the server opened it."""

    upload_id: str
    part_size_bytes: int | None
    native: bool


@dataclass(frozen=True)
class PartUrl:
    """Where one part goes, and the headers it must come with: these and no others (s3-sigv4 1.5)."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


def said(document: Mapping[str, Any], name: str) -> Any:
    """A field, whatever casing the server prefers, also inside the library API's `data` envelope; None: not there."""
    inner = document.get("data")
    if isinstance(inner, dict):
        document = inner
    wanted = name.replace("_", "").lower()
    return next((value for key, value in document.items() if key.replace("_", "").lower() == wanted), None)


def normal_etag(text: str) -> str:
    """An ETag without quotes and without the mark of a weak one, in lower case if it is a SHA-256."""
    bare = text.strip().removeprefix("W/").strip('"')
    return bare.lower() if len(bare) == 64 else bare


class HoldCalls:
    """The hold API of one registry, for one repository."""

    def __init__(self, peer: Peer, repository: str) -> None:
        self._peer = peer
        self._repository = repository

    async def capabilities(self) -> Capabilities:
        """What the server can do. Any server without this page can do plain OCI (H034); no proof of ours is shown."""
        answer = await self._peer.call("GET", "/capabilities", side="nobody")
        words = said(answer.document(), "multipart") if answer.status == 200 else None
        return Capabilities(words in ("native", "buffered", "both"), words in ("native", "both"))

    async def start(self, target: str, size_bytes: int, part_size_bytes: int | None) -> Started:
        """Open a session for a blob that will be called `target`: its digest, or a temporary name (H075).

        Raises:
            PartsRefused: the server says that it is not here, or not for us.
            Refused: it says no to this blob.
        """
        document: dict[str, object] = {"digest": target, "repository": self._repository, "size": size_bytes}
        if part_size_bytes is not None:
            document["part_size"] = part_size_bytes
        answer = await self._post("/start-multipart", document)
        upload_id = said(answer.document(), "upload_id")
        if answer.status in NOT_HERE or (answer.status == 200 and not isinstance(upload_id, str)):
            raise PartsRefused(answer.refusal("the server takes no parts from us").message)
        if answer.status != 200 or not isinstance(upload_id, str) or not upload_id:
            raise answer.refusal("the upload cannot begin")
        part_size = said(answer.document(), "part_size")
        native = "native" in str(said(answer.document(), "mode") or "").lower()
        usable = part_size if isinstance(part_size, int) and part_size > 0 else None
        return Started(upload_id, usable, native)

    async def part_url(
        self,
        upload_id: str,
        target: str,
        number: int,
        size_bytes: int,
        sha256: str | None,
        *,
        through_server: bool = False,
    ) -> PartUrl:
        """Where a part goes (H014-H017). `sha256` is announced when there is one, and then goes with the part (M09).

        `through_server`: not to the object store, whatever the session's mode (H048).

        Raises:
            SessionGone: the server does not know the upload.
            PartsRefused: it gives no such URLs; the parts go to itself then.
        """
        document: dict[str, object] = {"digest": target, "upload_id": upload_id, "part_number": number}
        document["size"] = size_bytes
        if sha256 is not None:
            document["sha256"] = sha256
        if through_server:
            document["mode"] = "buffered"
        answer = await self._post("/part-presigned-url", document)
        if answer.status in GONE:
            raise SessionGone(answer.refusal("the upload is gone").message)
        url = said(answer.document(), "url") or said(answer.document(), "presigned_url")
        if answer.status in NO_URLS or (answer.status == 200 and not isinstance(url, str)):
            raise PartsRefused(answer.refusal("the server gives no URLs for parts").message)
        if answer.status != 200 or not isinstance(url, str):
            raise answer.refusal(f"there is no URL for part {number}")
        told = said(answer.document(), "headers")
        if isinstance(told, dict):
            headers = {str(name): str(value) for name, value in told.items()}
        else:
            headers = {} if sha256 is None else {PAYLOAD_HASH: sha256}
        where = PartUrl(url, headers)
        if through_server and self.leads_elsewhere(where):
            raise PartsRefused("the server knows no way for parts but to its object store")
        return where

    async def put_to_url(self, where: PartUrl, body: Body) -> Answer:
        """Send a part where its URL leads.

        A signed URL is all the authority it takes. One that is not and leads to the server itself (a proxy part URL,
        H048) wants our own.
        """
        side: Side = "nobody" if SIGNATURE in where.url else "hold"
        return await self._peer.call("PUT", self._peer.resolve(where.url), side=side, headers=where.headers, body=body)

    async def put_to_server(self, upload_id: str, number: int, body: Body) -> Answer:
        """Send a part to the server itself, with our Authorization (H018, H048)."""
        return await self._peer.call("PUT", f"/multipart-parts/{upload_id}/{number}", side="hold", body=body)

    def leads_elsewhere(self, where: PartUrl) -> bool:
        """Whether a part URL is of another host than the server's own."""
        return not self._peer.is_own(self._peer.resolve(where.url))

    async def parts(self, upload_id: str) -> dict[int, str]:
        """What the server has of an upload: ETag by number.

        Raises:
            Refused: we do not prove who we are, as we did when the upload was begun.
            SessionGone: nothing; the upload is not there any more, or the server cannot say.
        """
        answer = await self._peer.call("GET", f"/multipart-parts/{upload_id}", side="hold")
        if answer.status == 401:
            raise Refused(answer.refusal("the upload cannot go on").message, answer.status, BEGUN_AS)
        if answer.status != 200:
            raise SessionGone(answer.refusal("the server does not know the upload any more").message)
        listed = said(answer.document(), "parts")
        if not isinstance(listed, list):
            raise SessionGone("the server does not tell which parts it has")
        rows = [(said(row, "part_number"), said(row, "etag")) for row in listed if isinstance(row, dict)]
        return {number: normal_etag(str(etag)) for number, etag in rows if isinstance(number, int)}

    async def complete(self, upload_id: str, digest: Digest, etags: Sequence[str]) -> None:
        """End the upload as the blob `digest` (T01); parts are listed in order, from 1 (H097).

        Raises:
            PartsMissing: parts are missing after all.
            SessionGone: the server does not know the upload.
            Refused: above all because the bytes are not `digest`.
        """
        parts = [{"part_number": number, "etag": etag} for number, etag in enumerate(etags, 1)]
        document: dict[str, object] = {"digest": str(digest), "upload_id": upload_id, "parts": parts}
        answer = await self._post("/complete-multipart", document, answer_s=COMPLETE_S)
        if answer.status in GONE:
            raise SessionGone(answer.refusal("the upload is gone").message)
        if answer.status == 400 and answer.document().get("error") == "MissingParts":
            raise PartsMissing(answer.refusal("the server misses parts").message)
        if answer.status != 200:
            refused = answer.refusal(f"the upload of {digest} cannot be completed")
            remedy = OTHER_BYTES if answer.document().get("error") == "CompletionFailed" else refused.remedy
            raise Refused(refused.message, refused.status, remedy)

    async def abort(self, upload_id: str) -> None:
        """End an upload that nobody will complete (H111, H115). That it fails is nobody's loss: it will expire."""
        try:
            await self._post("/abort-multipart", {"upload_id": upload_id}, answer_s=10.0)
        except Problem:
            return

    async def _post(self, path: str, document: dict[str, object], answer_s: float = 120.0) -> Answer:
        return await self._peer.call("POST", path, side="hold", document=document, answer_s=answer_s)

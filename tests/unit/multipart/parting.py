"""Uploads in parts as tests write them: small parts, one caller, and the ways a part is sent."""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeAlias

from model.digests import Digest
from multipart.parted_session import Completed, PartedSession
from multipart.parts import ListedPart, StoredPart
from tests.unit.multipart.harness import REPOSITORY, House, PlayedBody
from tests.unit.multipart.storehouse import OWNER, TEMP, StoreHouse

__all__ = ["OWNER", "TEMP"]

AnyHouse: TypeAlias = House | StoreHouse
PARTS = [b"first part", b"second one", b"last"]
"""A whole of 24 bytes in parts of 10."""
WHOLE = b"".join(PARTS)
DIGEST = Digest.of(WHOLE)
SMALL: dict[str, Any] = {"min_part_bytes": 1}
"""Limits that allow such parts."""


async def opened(h: AnyHouse, *, declared: bool = True, target: str = TEMP, **how: Any) -> PartedSession:
    """A session for `WHOLE`."""
    sizes: dict[str, Any] = {"size_bytes": len(WHOLE), "part_size_bytes": 10} if declared else {}
    return await h.sessions.parted.open(REPOSITORY, owner=OWNER, target=target, **{**sizes, **how})


async def send(h: AnyHouse, session: PartedSession, number: int, content: bytes | PlayedBody, **how: Any) -> StoredPart:
    """A part, in one piece unless it is a body already."""
    body = content if isinstance(content, PlayedBody) else PlayedBody([content])
    return await h.sessions.parted.receive(session.id, OWNER, number, body, **how)


async def send_all(h: AnyHouse, session: PartedSession, parts: Sequence[bytes] = PARTS) -> None:
    """All parts in order."""
    for number, content in enumerate(parts, 1):
        await send(h, session, number, content)


def listed(parts: Sequence[bytes] = PARTS) -> list[ListedPart]:
    """The list of these parts."""
    return [ListedPart(number, hashlib.sha256(content).hexdigest()) for number, content in enumerate(parts, 1)]


async def complete(h: AnyHouse, session: PartedSession, digest: Digest | None = DIGEST) -> Completed:
    """Complete a session that has all parts of `WHOLE`."""
    return await h.sessions.parted.complete(session.id, OWNER, listed(), digest)


async def held(h: AnyHouse, session: PartedSession) -> dict[int, int]:
    """The sizes of the stored parts."""
    return {part.number: part.size_bytes for part in await h.sessions.parted.parts(session.id, OWNER)}


def files(h: AnyHouse) -> list[str]:
    """What lies in the spool, without the ids."""
    return sorted(path.name.partition(".")[2] for path in h.folder.spool.iterdir())

"""Uploads in parts as tests write them: small parts, one caller, the ways a part is sent, and how it all ends."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import pytest

from model.digests import Digest
from model.errors import StorageFull
from multipart.parted_session import Completed, PartedSession
from multipart.parts import ListedPart, StoredPart
from tests.unit.multipart.harness import REPOSITORY, House, PlayedBody
from tests.unit.multipart.process import Process
from tests.unit.multipart.storehouse import OWNER, TEMP

__all__ = ["OWNER", "TEMP"]

AnyHouse: TypeAlias = House | Process
KINDS = pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
PARTS = [b"first part", b"second one", b"last"]
"""A whole of 24 bytes in parts of 10."""
ALL = (1, 2, 3)
"""Their numbers."""
OTHER = [b"other part", b"other ones", b"more"]
"""As long as those, each."""
WHOLE = b"".join(PARTS)
DIGEST = Digest.of(WHOLE)
SMALL: dict[str, Any] = {"min_part_bytes": 1}
"""Limits that allow such parts."""


async def opened(
    h: AnyHouse, *, declared: bool = True, target: str = TEMP, parts: Iterable[int] = (), **how: Any
) -> PartedSession:
    """A session for `WHOLE`, to which these of its parts were sent."""
    sizes: dict[str, Any] = {"size_bytes": len(WHOLE), "part_size_bytes": 10} if declared else {}
    session = await h.sessions.parted.open(REPOSITORY, owner=OWNER, target=target, **{**sizes, **how})
    for number in parts:
        await send(h, session, number, PARTS[number - 1])
    return session


async def send(h: AnyHouse, session: PartedSession, number: int, content: bytes | PlayedBody, **how: Any) -> StoredPart:
    """A part, in one piece unless it is a body already."""
    body = content if isinstance(content, PlayedBody) else PlayedBody([content])
    return await h.sessions.parted.receive(session.id, OWNER, number, body, **how)


async def send_all(h: AnyHouse, session: PartedSession, parts: Sequence[bytes] = PARTS) -> None:
    """All parts in order."""
    for number, content in enumerate(parts, 1):
        await send(h, session, number, content)


async def send_missing(h: AnyHouse, session: PartedSession) -> None:
    """Those of `PARTS` that the session does not have."""
    for number in sorted({*ALL} - {*await held(h, session)}):
        await send(h, session, number, PARTS[number - 1])


def listed(parts: Sequence[bytes] = PARTS) -> list[ListedPart]:
    """The list of these parts."""
    return [ListedPart(number, hashlib.sha256(content).hexdigest()) for number, content in enumerate(parts, 1)]


async def complete(h: AnyHouse, session: PartedSession, digest: Digest | None = DIGEST) -> Completed:
    """Complete a session that has all parts of `WHOLE`."""
    return await h.sessions.parted.complete(session.id, OWNER, listed(), digest)


async def becomes_the_blob(h: AnyHouse, session: PartedSession, *missing: int) -> None:
    """With the parts that were missing, the upload can be completed, and its blob is there."""
    for number in missing:
        await send(h, session, number, PARTS[number - 1])
    await complete(h, session)
    assert await h.stored(WHOLE)


async def held(h: AnyHouse, session: PartedSession) -> dict[int, int]:
    """The sizes of the stored parts."""
    return {part.number: part.size_bytes for part in await h.sessions.parted.parts(session.id, OWNER)}


def files(h: AnyHouse) -> list[str]:
    """What lies in the spool, without the ids."""
    return sorted(path.name.partition(".")[2] for path in h.folder.spool.iterdir())


def file_of(h: AnyHouse, session: PartedSession, number: int) -> tuple[Path, int]:
    """The file of a folder's spool in which a part lies, and where in it."""
    if session.layout is not None:
        return h.folder.spool / f"{session.id}.data", 10 * (number - 1)
    return h.folder.spool / f"{session.id}.part{number}", 0


def damage(h: AnyHouse, session: PartedSession, number: int) -> None:
    """Flip a bit of a stored part."""
    path, start = file_of(h, session, number)
    content = bytearray(path.read_bytes())
    content[start] ^= 1
    path.write_bytes(content)


async def full(*_: object) -> NoReturn:
    """In place of something that needs room."""
    raise StorageFull("no room")


def full_now(*_: object) -> NoReturn:
    """The same where nothing is awaited."""
    raise StorageFull("no room")

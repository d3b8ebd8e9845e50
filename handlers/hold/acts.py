"""What the hold does, whatever the endpoint is called: the old names and those under /xrpc/ are two spellings of this.

Each function reads the fields, asks the policy about the session's repository (H036, H145-H147, T06), and calls one
thing below. Which words the answer is made of is the caller's.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from auth.policy import Action
from handlers.body import body_of
from handlers.call import Call
from handlers.hold import fields, modes
from handlers.hold.fields import Fields, Target
from handlers.hold.refusals import MultipartOff, RequestInvalid
from model import names
from model.digests import Digest
from model.errors import RegistryError
from model.units import KIB
from multipart.bodies import Body
from multipart.parted_session import Completed, PartedSession
from multipart.parts import ListedPart, StoredPart
from multipart.refusals import PartLengthInvalid, UploadFinished

SMALL_BYTES: Final = 64 * KIB
"""What says no list of parts needs no more. Whoever may read may send this much, so it must be cheap to look at."""
SHA256: Final = "x-amz-content-sha256"
"""The header that says what a body hashes to (M09); where a URL was signed with it, the signature sees to it."""
PARTS_AT_ONCE: Final = 500
"""A longer list is read in a thread, since that takes a while."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL to hand out, until when it works, the headers that must be sent to it, and where it leads."""

    url: str
    expires_at_s: float
    headers: Mapping[str, str]
    mode: str = modes.BUFFERED
    """`native`: to the store itself."""


async def fields_of(call: Call, *, limit_bytes: int = SMALL_BYTES) -> Fields:
    """What the request's JSON says. RequestInvalid, and as `Call.json`: Invalid, TooLarge, TooMany, Interrupted."""
    return Fields.of_json(await call.json(limit_bytes=limit_bytes))


async def begin(call: Call, said: Fields) -> PartedSession:
    """Open a session. A blob that is here already gets one as well: clients expect an id, not an answer.

    Raises:
        MultipartOff, DigestInvalid, NameInvalid, SizeInvalid; Unauthorized, Denied; those of `PartedSessions.open`.
    """
    if not call.services.hold.multipart:
        raise MultipartOff
    target, claim, asked = fields.required_target(said), fields.did(said), fields.mode(said)
    repository = repository_of(call, said)
    call.require(Action.HOLD, repository)
    session = await call.services.sessions.parted.open(
        repository,
        owner=call.principal.name,
        target=str(target),
        algorithm=target.algorithm if isinstance(target, Digest) else "sha256",
        size_bytes=fields.size_bytes(said),
        part_size_bytes=fields.size_bytes(said, "part_size"),
        native=call.services.hold.native and asked != modes.BUFFERED,
        insists=asked == modes.NATIVE,
    )
    modes.started(session, claim)
    return session


async def part_url(call: Call, said: Fields) -> Url:
    """The URL that one part is sent to: it alone is the authority that the sender then needs (D7, H098).

    Raises:
        UploadIdInvalid, PartNumberInvalid, PartLengthInvalid; those of `PartedSessions.find`; Unauthorized, Denied.
    """
    fields.said_target(said)
    number, sha256, claim = fields.part_number(said), fields.sha256(said), fields.did(said)
    through_us = fields.mode(said) == modes.BUFFERED
    session = mine(call, said)
    length_bytes = _part_length(session, number, fields.size_bytes(said))
    if not through_us and call.services.hold.native and session.mode == modes.NATIVE:
        to = _native_part_url(call, session, number, sha256)
        if to is not None:
            return to
    return _own_part_url(call, session, number, sha256, claim, length_bytes)


def _native_part_url(call: Call, session: PartedSession, number: int, sha256: str | None) -> Url | None:
    """The store's own URL for a part (H017); None when it cannot be had now, and the part comes through us (H047)."""
    sessions, lifetime_s = call.services.sessions.parted, call.services.hold.part_url_s
    signed = sessions.part_url(session.id, call.principal.name, number, sha256=sha256, lifetime_s=lifetime_s)
    return None if signed is None else Url(signed.url, signed.expires_at_s, signed.headers, modes.NATIVE)


def _own_part_url(
    call: Call, session: PartedSession, number: int, sha256: str | None, claim: str | None, length_bytes: int | None
) -> Url:
    """A URL to ourselves: signed, unless nothing is to be signed; then its sender proves who he is (H044)."""
    parameters = {} if claim is None else {"did": claim}
    if length_bytes is not None:
        parameters["length"] = str(length_bytes)
    path = f"/multipart-parts/{session.id}/{number}"
    settings = call.services.hold
    if not settings.presigned:
        query = f"?{urlencode(parameters)}" if parameters else ""
        headers = {} if sha256 is None else {SHA256: sha256}
        return Url(f"{call.base_url}{quote(path)}{query}", session.expires_at_s, headers)
    signed = call.services.signer.sign(
        "PUT", call.base_url, path, parameters, lifetime_s=settings.part_url_s, payload_sha256=sha256
    )
    return Url(signed.url, signed.expires_at_s, signed.headers)


async def receive(call: Call, upload_id: str, number: int) -> StoredPart:
    """Take one part, by what a signed URL says or by the caller's own authority; checked before a byte is read.

    Raises:
        PartLengthInvalid: the body is not as long as the URL was signed for; those of
        `PartedSessions.receive`; Unauthorized, Denied.
    """
    body, grant = body_of(call.request), call.grant
    owner = call.principal.name if grant is None else None
    sessions = call.services.sessions.parted
    session = sessions.find(upload_id, owner)
    call.require(Action.HOLD, session.row.repository)
    length = call.first("length") if grant is None else grant.parameters.get("length")
    sha256 = fields.announced(call.request.headers.get(SHA256)) if grant is None else grant.payload_sha256
    _check_length(body, length)
    part = await sessions.receive(session.id, owner, number, body, sha256=sha256)
    modes.stored(session.id, part.number, part.size_bytes)
    return part


async def complete(call: Call, said: Fields) -> Completed:
    """End a session with all its parts: visible under a digest (T01), or invisible under its temporary name (H110).

    A client whose answer was lost asks again, and is told the same again; what happened once is logged once.

    Raises:
        UploadIdInvalid, RequestInvalid, DigestInvalid; those of `PartedSessions.complete`; Unauthorized, Denied.
    """
    upload_id, parts, target = fields.upload_id(said), await _listed(said), fields.said_target(said)
    sessions, owner = call.services.sessions.parted, call.principal.name
    try:
        session = sessions.find(upload_id, owner)
    except UploadFinished:
        done = await sessions.complete(upload_id, owner, parts, target if isinstance(target, Digest) else None)
        call.require(Action.HOLD, done.repository)
        return done
    call.require(Action.HOLD, session.row.repository)
    digest, fresh = _final(session, target), session.assembled is None
    done = await sessions.complete(upload_id, owner, parts, digest)
    if fresh:
        modes.assembled(session, done)
    if digest is not None:
        await tell(call, session, done, digest)
    return done


def digest_of(done: Completed) -> dict[str, str]:
    """The digest of the whole, where it is known: of what clients put into the store it is once that was moved."""
    return {"digest": done.digest} if done.digest else {}


async def tell(call: Call, session: PartedSession, done: Completed, digest: Digest) -> None:
    """Log that the blob is stored, with the size that the store has; 0 if that cannot be known any more.

    The blob is stored by now, so nothing that goes wrong here may become the client's answer.
    """
    try:
        written_bytes = await call.services.blobs.size(done.repository, digest)
    except RegistryError:
        written_bytes = 0
    modes.completed(session, done, written_bytes)


async def abort(call: Call, said: Fields) -> None:
    """End a session and remove what it holds; its id is enough (T03)."""
    fields.said_target(said)
    session = mine(call, said)
    await call.services.sessions.parted.abort(session.id, call.principal.name)


def mine(call: Call, said: Fields) -> PartedSession:
    """The open session that the request names, if the caller may go on with it."""
    session = call.services.sessions.parted.find(fields.upload_id(said), call.principal.name)
    call.require(Action.HOLD, session.row.repository)
    return session


def repository_of(call: Call, said: Fields) -> str:
    """The repository that the request names; without one, the hidden repository of its caller. NameInvalid."""
    name = said.text("repository")
    return names.hidden_repository(call.principal.name) if name is None else names.repository(name)


async def _listed(said: Fields) -> list[ListedPart]:
    """The list of a completion; RequestInvalid as `fields.listed_parts`."""
    parts = said.said("parts")
    if isinstance(parts, list) and len(parts) > PARTS_AT_ONCE:
        return await asyncio.to_thread(fields.listed_parts, said)
    return fields.listed_parts(said)


def _final(session: PartedSession, target: Target | None) -> Digest | None:
    """The digest that the whole must have; None when it is to stay unseen under its temporary name.

    Where the completion says neither, what the start said counts (M13). RequestInvalid: another temporary name.
    """
    if target is None:
        target = fields.target(session.row.target)
    elif not isinstance(target, Digest) and str(target) != session.row.target:
        raise RequestInvalid("digest is another temporary name than the upload was started with")
    return target if isinstance(target, Digest) else None


def _part_length(session: PartedSession, number: int, said_bytes: int | None) -> int | None:
    """How long the part must be, where that is known: by the session's layout, or by what the client says."""
    if session.layout is None:
        return said_bytes
    length_bytes = session.layout.span(number).length
    if said_bytes is not None and said_bytes != length_bytes:
        raise PartLengthInvalid(f"part {number} of this upload has {length_bytes} bytes, not {said_bytes}")
    return length_bytes


def _check_length(body: Body, length: str | None) -> None:
    """See that a body is as long as its URL says, if that says anything."""
    if length is not None and str(body.length_bytes) != length:
        raise PartLengthInvalid("this URL is for a body of exactly the length in it, which Content-Length must say")

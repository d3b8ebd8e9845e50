"""Upload sessions as the distribution spec spells them: POST, PATCH, PUT, GET, DELETE (end-4, 5, 6, 11, 13, 14).

The rules are those of oci.md 2.3; what they mean for the session is decided in `multipart/`.
"""

from aiohttp import web

from auth.policy import Action
from handlers import answers, locations, params
from handlers.body import body_of
from handlers.call import Call
from handlers.readable import readable
from model import names
from model.digests import Digest, known_algorithm

EMPTY = {"sha256": Digest.of(b""), "sha512": Digest.of(b"", "sha512")}


async def begin(call: Call) -> web.StreamResponse:
    """POST: mount a blob, take one whole, or open a session; whatever cannot be mounted becomes a session."""
    if (mount := call.first("mount")) is not None:
        digest = Digest.parse(mount)
        if await _mount(call, digest):
            return answers.stored(locations.of_blob(call.repository, digest), digest)
    elif (text := call.last("digest")) is not None:
        digest, body = Digest.parse(text), body_of(call.request)
        # No bytes for a digest that needs some: a client that only announces the digest and uploads afterwards.
        if body.length_bytes != 0 or digest == EMPTY[digest.algorithm]:
            await call.services.sessions.receive_whole(call.repository, body, digest, owner=call.principal.name)
            return answers.stored(locations.of_blob(call.repository, digest), digest)
    algorithm = known_algorithm(call.first("digest-algorithm") or "sha256")
    session = await call.services.sessions.open(call.repository, algorithm=algorithm, owner=call.principal.name)
    return answers.empty(202, locations.of_upload(call.repository, session.id, 0))


async def append(call: Call) -> web.StreamResponse:
    """PATCH: add a chunk."""
    body, place = body_of(call.request), params.place(call)
    offset = await call.services.sessions.append(call.repository, call.argument, body, place)
    return answers.empty(202, locations.of_upload(call.repository, call.argument, offset))


async def finish(call: Call) -> web.StreamResponse:
    """PUT: add the last chunk, if any, and make the blob; repeating it after a lost answer succeeds again (rule 11)."""
    digest, body, place = params.closing_digest(call), body_of(call.request), params.place(call)
    await call.services.sessions.finish(call.repository, call.argument, body, place, digest)
    return answers.stored(locations.of_blob(call.repository, digest), digest)


async def status(call: Call) -> web.StreamResponse:
    """GET and HEAD: where the session stands, from any Location ever handed out for it (C04, rule 2)."""
    offset = await call.services.sessions.offset(call.repository, call.argument)
    return answers.empty(204, locations.of_upload(call.repository, call.argument, offset, empty_range="0--1"))


async def cancel(call: Call) -> web.StreamResponse:
    """DELETE: end the session; a second time it is unknown (rule 17)."""
    await call.services.sessions.cancel(call.repository, call.argument)
    return answers.empty(204)


async def _mount(call: Call, digest: Digest) -> bool:
    """Give the repository a blob that another one has, if the caller may read it there.

    Without `from`, any repository with the blob will do, as long as the caller may read it: otherwise the answer would
    tell a stranger what is stored here (end-11).
    """
    source = call.first("from")
    holder = names.repository(source) if source is not None else await readable(call, digest)
    if holder is None or not call.may(Action.PULL, holder):
        return False
    return await call.services.blobs.mount(call.repository, digest, holder)

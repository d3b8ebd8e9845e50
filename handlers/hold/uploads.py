"""Uploads in parts by their old names: /start-multipart and what follows it (H010-H029), answered in snake case."""

from aiohttp import web

from handlers import answers
from handlers.call import MAX_JSON_BYTES, Call
from handlers.hold import acts, fields
from handlers.hold.fields import Fields
from model.clock import rfc3339


async def start(call: Call) -> web.StreamResponse:
    """POST /start-multipart: open a session; with a size, the answer says how to cut (H010-H013, M05)."""
    session = await acts.begin(call, await acts.fields_of(call))
    said: dict[str, object] = {
        "upload_id": session.id,
        "expires_at": rfc3339(session.expires_at_s),
        "mode": session.mode,
    }
    if session.layout is not None:
        part_size, total = session.layout.part_size_bytes, session.layout.count
        said |= {"part_size": part_size, "total_parts": total, "partSize": part_size, "totalParts": total}
    return answers.document(said)


async def part_url(call: Call) -> web.StreamResponse:
    """POST /part-presigned-url: where one part is sent to (H014-H017, M07-M10)."""
    to = await acts.part_url(call, await acts.fields_of(call))
    said = {"url": to.url, "expires_at": rfc3339(to.expires_at_s), "method": "PUT", "headers": dict(to.headers)}
    return answers.document({**said, "mode": to.mode})


async def receive_part(call: Call) -> web.StreamResponse:
    """PUT /multipart-parts/{id}/{n}: take one part; its ETag is in the header (H018-H023)."""
    upload_id, word = call.arguments
    part = await acts.receive(call, upload_id, fields.part_word(word))
    said = {"part_number": part.number, "etag": part.etag, "size": part.size_bytes}
    return answers.document(said, headers={"ETag": part.etag})


async def list_parts(call: Call) -> web.StreamResponse:
    """GET /multipart-parts/{id}: what arrived whole, so that a client can go on after any interruption."""
    session = acts.mine(call, Fields([("upload_id", call.arguments[0])], textual=True))
    parts = await call.services.sessions.parted.parts(session.id, call.principal.name)
    said: dict[str, object] = {
        "digest": session.row.target,
        "mode": session.mode,
        "expires_at": rfc3339(session.expires_at_s),
        "parts": [{"part_number": each.number, "etag": each.etag, "size": each.size_bytes} for each in parts],
    }
    if session.layout is not None:
        layout = session.layout
        said |= {"size": layout.size_bytes, "part_size": layout.part_size_bytes, "total_parts": layout.count}
    return answers.listing(said, {"Cache-Control": "no-store"})


async def complete(call: Call) -> web.StreamResponse:
    """POST /complete-multipart: 200 when the whole is stored, and again when that answer was lost (H025-H027)."""
    done = await acts.complete(call, await acts.fields_of(call, limit_bytes=MAX_JSON_BYTES))
    said = {"status": "completed", "size": done.size_bytes, "parts": done.parts}
    return answers.document(said | acts.digest_of(done))


async def abort(call: Call) -> web.StreamResponse:
    """POST /abort-multipart: end the session and remove its parts (H028, H029)."""
    await acts.abort(call, await acts.fields_of(call))
    return answers.document({"status": "aborted"})

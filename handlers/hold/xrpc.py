"""The same under today's names, /xrpc/..., answered in camel case; and the reading of blobs there.

The names, fields and named errors are those of the published lexicons io.atcr.hold.* and com.atproto.sync.getBlob.
"""

from aiohttp import web

from handlers import answers
from handlers.call import MAX_JSON_BYTES, Call
from handlers.hold import acts, fields, reading
from handlers.hold.fields import Fields
from model.clock import rfc3339


async def initiate(call: Call) -> web.StreamResponse:
    """POST io.atcr.hold.initiateUpload."""
    session = await acts.begin(call, await acts.fields_of(call))
    said: dict[str, object] = {"uploadId": session.id, "expiresAt": rfc3339(session.expires_at_s), "mode": session.mode}
    if session.layout is not None:
        said |= {"partSize": session.layout.part_size_bytes, "totalParts": session.layout.count}
    return answers.document(said)


async def part_url(call: Call) -> web.StreamResponse:
    """POST io.atcr.hold.getPartUploadUrl."""
    to = await acts.part_url(call, await acts.fields_of(call))
    said = {"url": to.url, "method": "PUT", "headers": dict(to.headers), "expiresAt": rfc3339(to.expires_at_s)}
    return answers.document({**said, "mode": to.mode})


async def upload_part(call: Call) -> web.StreamResponse:
    """PUT io.atcr.hold.uploadPart: the raw part; uploadId and partNumber are in the query, or in headers."""
    said = Fields.of_query({**_in_headers(call), **call.query})
    part = await acts.receive(call, fields.upload_id(said), fields.part_number(said))
    return answers.document(
        {"partNumber": part.number, "etag": part.etag, "size": part.size_bytes}, headers={"ETag": part.etag}
    )


async def complete(call: Call) -> web.StreamResponse:
    """POST io.atcr.hold.completeUpload."""
    done = await acts.complete(call, await acts.fields_of(call, limit_bytes=MAX_JSON_BYTES))
    return answers.document({"status": "completed"} | acts.digest_of(done))


async def abort(call: Call) -> web.StreamResponse:
    """POST io.atcr.hold.abortUpload."""
    await acts.abort(call, await acts.fields_of(call))
    return answers.document({"status": "aborted"})


async def get_blob(call: Call) -> web.StreamResponse:
    """GET and HEAD com.atproto.sync.getBlob: a blob by its digest in `cid`, whole or in ranges."""
    return await reading.blob(call, Fields.of_query(call.query))


def _in_headers(call: Call) -> dict[str, list[str]]:
    """What the headers say, for clients that keep the URL bare."""
    found = {"uploadId": "X-Upload-Id", "partNumber": "X-Part-Number"}
    return {name: [value] for name, header in found.items() if (value := call.request.headers.get(header))}

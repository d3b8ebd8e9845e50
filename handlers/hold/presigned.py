"""URLs for whole blobs: /put-, /get- and /head-presigned-url (H031, H032), which old clients ask for."""

from urllib.parse import urlencode

from aiohttp import web

from auth.policy import Action
from handlers import answers, headers
from handlers.call import Call
from handlers.hold import acts, fields, modes, reading
from handlers.hold.fields import Fields, TempName
from handlers.hold.refusals import PresignedOff
from model import names
from model.clock import rfc3339


async def put_url(call: Call) -> web.StreamResponse:
    """POST /put-presigned-url: where a whole blob is put; under a temporary name it waits for /move.

    What is put under a digest always comes through us: nobody else would learn that it is there.
    """
    said = await acts.fields_of(call)
    target, sha256 = fields.required_target(said), fields.sha256(said)
    fields.did(said)
    repository = acts.repository_of(call, said)
    call.require(Action.HOLD, repository)
    settings = call.services.hold
    if not settings.presigned:
        raise PresignedOff
    if isinstance(target, TempName) and _may_be_native(call, said):
        to = await call.services.sessions.parted.whole_url(
            repository, str(target), call.principal.name, sha256, settings.part_url_s
        )
        if to is not None:
            return _answer("PUT", acts.Url(to.url, to.expires_at_s, to.headers, modes.NATIVE))
    parameters = {"repository": repository, "owner": call.principal.name}
    path = f"/signed/{target}" if isinstance(target, TempName) else f"/signed/blobs/{target}"
    signed = call.services.signer.sign(
        "PUT", call.base_url, path, parameters, lifetime_s=settings.part_url_s, payload_sha256=sha256
    )
    return _answer("PUT", acts.Url(signed.url, signed.expires_at_s, signed.headers))


async def get_url(call: Call) -> web.StreamResponse:
    """POST /get-presigned-url: where a blob is fetched; ranges of it as well."""
    return await _reading(call, "GET")


async def head_url(call: Call) -> web.StreamResponse:
    """POST /head-presigned-url: as above, to ask for its size. A HEAD is signed apart from a GET, as with S3."""
    return await _reading(call, "HEAD")


async def _reading(call: Call, method: str) -> web.StreamResponse:
    said = await acts.fields_of(call)
    digest, claim = reading.read_digest(said), fields.did(said)
    repository = await reading.found(call, said, digest)
    settings, now_s = call.services.hold, call.services.clock.now_s()
    if not settings.presigned:
        query = {"did": claim or "", "cid": str(digest)}
        if not names.is_hidden(repository):
            query["repository"] = repository
        url = f"{call.base_url}/xrpc/com.atproto.sync.getBlob?{urlencode(query)}"
        return _answer(method, acts.Url(url, now_s + settings.download_url_s, {}))
    if _may_be_native(call, said):
        to = await call.services.blobs.link(
            repository, digest, method, lifetime_s=settings.download_url_s, answer_headers=headers.by_store(digest)
        )
        if to is not None:
            return _answer(method, acts.Url(to.url, to.expires_at_s, to.headers, modes.NATIVE))
    signed = call.services.signer.sign(
        method,
        call.base_url,
        f"/signed/blobs/{digest}",
        {"repository": repository},
        lifetime_s=settings.download_url_s,
    )
    return _answer(method, acts.Url(signed.url, signed.expires_at_s, signed.headers))


def _may_be_native(call: Call, said: Fields) -> bool:
    """Whether the store's own URL will do: clients reach it now, and this one does not ask for the way through us."""
    return fields.mode(said) != modes.BUFFERED and call.services.hold.native


def _answer(method: str, to: acts.Url) -> web.Response:
    said = {"url": to.url, "expires_at": rfc3339(to.expires_at_s), "method": method, "headers": dict(to.headers)}
    return answers.document({**said, "mode": to.mode})

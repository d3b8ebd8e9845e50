"""Trying signed URLs the way a client uses them: from the external address, without any key of ours (s3-sigv4 1.6).

Each form sends the same part of one byte. What a store of the literal kind refuses is no trouble, but a fact about it;
what is refused in the plain form is trouble, and is explained (G19).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from backends.s3 import refused
from backends.s3.addresses import external_url
from backends.s3.direct import DirectUrls
from backends.s3.outside import Reply, Unreachable, ask
from backends.s3.ownprobe import PIECE, PIECE_SHA256
from backends.s3.reaching import ASK_S, Refused
from backends.s3.settings import StoreSettings
from model.clock import Clock
from sigv4.canonical import encoded_path
from sigv4.presigning import Form, Presigned, presign
from sigv4.signing import Credentials

if TYPE_CHECKING:
    import aiohttp

LIFETIME_S: Final = 300
WRONG_PIECE: Final = b"H"
"""As long as the right one, so that only its hash gives it away."""
LINK_TYPE: Final = "application/x-holdfast-probe"

_ILL: Final = 500


class UrlProbe:
    """Signed URLs of one part, and of one object, tried one after the other."""

    def __init__(
        self, urls: DirectUrls, settings: StoreSettings, clock: Clock, session: "aiohttp.ClientSession"
    ) -> None:
        self._urls = urls
        self._settings = settings
        self._clock = clock
        self._session = session

    async def plain(self, key: str, store_upload_id: str, credentials: Credentials) -> str:
        """A part by a plain URL: what clients need at least. Refused, Unreachable: with the reason."""
        reply = await self._part(key, store_upload_id, Form.PLAIN)
        if reply.ok and reply.headers.get("etag"):
            return external_url(self._settings)
        if reply.ok:
            raise Refused("the answer to a part has no ETag: a proxy on the way takes it out")
        if reply.status == 403 and await self._host_is_rewritten(key, store_upload_id, credentials):
            raise Refused(refused.host_rewritten(self._urls.place.authority, self._settings.internal.authority))
        raise Refused(self._told(reply, credentials))

    async def hashed(self, key: str, store_upload_id: str) -> str:
        """Form C with the hash of what is sent."""
        return self._accepted(await self._part(key, store_upload_id, Form.HASH))

    async def checked(self, key: str, store_upload_id: str, source: str) -> str:
        """Form C with another byte than the hash says, or with the object `source`: works when both are refused.

        Some stores obey a header that is not signed (s3-sigv4 1.5), and copy what they are told, whatever its hash.
        """
        reply = await self._part(key, store_upload_id, Form.HASH, WRONG_PIECE)
        if reply.ok:
            raise Refused("it took a body that does not hash to what was signed")
        copied = {"x-amz-copy-source": encoded_path(f"/{self._settings.bucket}/{self._settings.full_key(source)}")}
        copy = await self._part(key, store_upload_id, Form.HASH, more=copied)
        if copy.ok and b"CopyPartResult" in copy.body:
            raise Refused("a header that was not signed made it take another object instead of the body")
        return f"a wrong body gets {_named(reply)}"

    async def unhashed(self, key: str, store_upload_id: str) -> str:
        """Form G."""
        return self._accepted(await self._part(key, store_upload_id, Form.HEADER_UNHASHED))

    async def link(self, key: str, body: bytes) -> str:
        """Some bytes of an object, by a URL for GET that also decides the Content-Type of the answer."""
        made = self._urls.link("GET", key, lifetime_s=LIFETIME_S, answer_headers={"Content-Type": LINK_TYPE})
        reply = await self._ask("GET", made, {"Range": f"bytes=1-{len(body) - 2}"})
        if not reply.ok:
            raise Refused(self._told(reply, None))
        if reply.status != 206 or reply.body != body[1:-1]:
            raise Refused(f"other bytes came than were asked for ({reply.status}); look at caches on the way")
        said = reply.headers.get("content-type", "")
        return "" if said == LINK_TYPE else f"it says Content-Type {said or 'not at all'}, whatever the URL says"

    async def _part(
        self,
        key: str,
        store_upload_id: str,
        form: Form,
        body: bytes = PIECE,
        *,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> Reply:
        parameters = {"partNumber": "1", "uploadId": store_upload_id}
        sha = None if form is Form.PLAIN else PIECE_SHA256
        made = self._urls.presigned("PUT", key, parameters, lifetime_s=LIFETIME_S, form=form, sha256=sha)
        return await self._ask("PUT", made, more, body)

    async def _host_is_rewritten(self, key: str, store_upload_id: str, credentials: Credentials) -> bool:
        """Whether a URL signed for our own name of the store is taken at the other address: a proxy changes Host."""
        inside, outside = self._settings.internal, self._urls.place
        if inside.authority == outside.authority:
            return False
        signed = presign(
            credentials,
            replace(inside, scheme=outside.scheme),
            "PUT",
            f"/{self._settings.full_key(key)}",
            {"partNumber": "1", "uploadId": store_upload_id},
            region=self._settings.region,
            now_s=self._clock.now_s(),
            lifetime_s=LIFETIME_S,
        )
        path = signed.url.partition("://")[2].partition("/")[2]
        try:
            reply = await self._ask("PUT", replace(signed, url=f"{outside.root}/{path}"), {}, PIECE)
        except Unreachable:
            return False
        return reply.ok

    async def _ask(self, method: str, made: Presigned, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Asked once more where nothing came, or that the store is ill: one bad moment decides for ten minutes."""
        sent = {**made.headers, **headers}
        once = partial(ask, self._session, self._clock, method, made.url, headers=sent, body=body, timeout_s=ASK_S)
        try:
            reply = await once()
        except Unreachable:
            return await once()
        return await once() if reply.status >= _ILL else reply

    def _accepted(self, reply: Reply) -> str:
        if reply.ok:
            return ""
        raise Refused(f"refused: {_named(reply)}")

    def _told(self, reply: Reply, credentials: Credentials | None) -> str:
        refusal = refused.read(reply.status, reply.body, reply.headers)
        return refused.remedy(refusal, self._settings, credentials.key_id if credentials else self._settings.key_id)


def _named(reply: Reply) -> str:
    return str(refused.read(reply.status, reply.body, reply.headers))

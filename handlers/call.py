"""One request on its way: what the path said, who asks, and the services, handed to a handler as one value."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import HttpVersion11, web

from auth.policy import Action, Decision
from auth.principals import Principal
from auth.signed_urls import Grant
from handlers.body import read_small
from handlers.forwarded import Seen
from handlers.services import Services
from model.documents import json_object
from model.errors import Denied, Invalid, NameUnknown, TooManyParameters, Unauthorized
from model.units import KIB, MIB

MAX_PARAMETERS: Final = 1000
MAX_JSON_BYTES: Final = 2 * MIB
"""The list of 10,000 parts, with room for odd spellings."""
JSON_AT_ONCE_BYTES: Final = 64 * KIB
"""Above this, JSON is read in a thread, since that takes a while."""


@dataclass(slots=True)
class Call:
    """A request after routing. `repository` is a checked name, or "" where the endpoint has none; `arguments` are the
    words that the path says behind the endpoint's own: a digest, tag or upload id, not yet checked.
    """

    request: web.BaseRequest
    services: Services
    principal: Principal
    repository: str = ""
    arguments: tuple[str, ...] = ()
    grant: Grant | None = None
    """What the signature of the URL says, when the request came with one that holds."""
    _query: dict[str, list[str]] | None = None
    _seen: Seen | None = None

    @property
    def argument(self) -> str:
        """The first of `arguments`; "" when there is none."""
        return self.arguments[0] if self.arguments else ""

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's parameters; unknown ones are ignored by everybody (oci.md 1.0).

        Raises:
            TooManyParameters: more of them than MAX_PARAMETERS.
        """
        if self._query is None:
            self._query = {}
            raw = self.request.raw_path.partition("?")[2]
            if raw.count("&") >= MAX_PARAMETERS:
                raise TooManyParameters(f"at most {MAX_PARAMETERS} parameters in one request")
            for key, value in parse_qsl(raw, keep_blank_values=True) if raw else ():
                self._query.setdefault(key, []).append(value)
        return self._query

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    def last(self, name: str) -> str | None:
        """The last value: containerd appends its digest behind one that is already there (oci.md 1.0)."""
        values = self.query.get(name)
        return values[-1] if values else None

    # -- where it came from, and what it came to -----------------------------------------------------------------------

    @property
    def seen(self) -> Seen:
        """What the border saw of the request; forwarding headers count where a trusted proxy wrote them."""
        if self._seen is None:
            request = self.request
            self._seen = self.services.border.proxies.seen(request.remote or "", request.headers, request.scheme)
        return self._seen

    @property
    def remote(self) -> str:
        """The caller's address, as far as that can be known."""
        return self.seen.remote

    @property
    def local(self) -> bool:
        """The caller is on this machine, with nobody in between that can be told."""
        request, proxies = self.request, self.services.border.proxies
        return proxies.local(request.remote or "", request.headers, current=request.version >= HttpVersion11)

    @property
    def base_url(self) -> str:
        """scheme://host[:port] that leads the caller to us: the operator's PUBLIC_URL, else what the request came by.

        Raises:
            Invalid: the request says by no host how it came here, or by none that can be in a URL.
        """
        if self.services.border.public_url:
            return self.services.border.public_url
        if not self.seen.host:
            raise Invalid("the Host header is no host[:port]")
        return f"{self.seen.scheme}://{self.seen.host}"

    @property
    def hosts(self) -> list[str]:
        """The hosts that a signature of ours may name on this request: that of `base_url`. Invalid as there."""
        return [self.base_url.partition("://")[2]]

    # -- what may be done ----------------------------------------------------------------------------------------------

    def may(self, action: Action, repository: str) -> bool:
        """Whether the policy lets the caller do this."""
        return self.services.policy(self.principal, action, repository) is Decision.ALLOW

    def require(self, action: Action, repository: str) -> None:
        """Return if the policy lets the caller do this.

        Raises:
            NameUnknown: it must not even be told whether the repository exists.
            Unauthorized: it proved nothing, and something would have to be proved.
            Denied: it may not.
        """
        decision = self.services.policy(self.principal, action, repository)
        if decision is Decision.HIDE:
            raise NameUnknown("the repository is not known here", **({"name": repository} if repository else {}))
        if decision is Decision.CLOSED:
            raise Denied(
                "only callers on the registry's own machine may do this, who name it localhost or 127.0.0.1 and have no"
                " proxy in between, until its operator sets HOLD_TOKEN"
            )
        if decision is Decision.DENY:
            if not self.principal.anonymous:
                raise Denied("this is not allowed to you")
            proof = "this takes the operator's secret: Authorization: Bearer <HOLD_TOKEN>"
            raise Unauthorized(proof if action is Action.HOLD else "log in first")

    # -- what it brought -----------------------------------------------------------------------------------------------

    async def json(self, *, limit_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
        """The body as a JSON object, whatever Content-Type says; where a key comes twice, its last value counts.

        Raises:
            Invalid: the body is no JSON object in UTF-8, is too deep, or has too many elements.
            TooLarge, TooMany, Interrupted: as `handlers.body.read_small`.
        """
        content = await read_small(self.request, limit_bytes=limit_bytes)
        if len(content) <= JSON_AT_ONCE_BYTES:
            return _object(content)
        return await asyncio.to_thread(_object, content)


def _object(content: bytes) -> dict[str, Any]:
    try:
        return json_object(content)
    except ValueError as error:
        raise Invalid(f"the body {error}") from error

"""Proving who we are: Basic and Bearer challenges of registries (oci.md 3.2), and the secret of the hold API.

What is proven to a registry goes to that registry's own host and to its token service, to nobody else; who sends a
request (clients/peer.py) sees to that.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

import aiohttp
from yarl import URL

from clients.credentials import Credentials
from clients.problems import LineBroken, Refused

Side = Literal["registry", "hold", "nobody"]
"""Which of our proofs a request shows."""

CLIENT_ID: Final = "holdfast"
TOKEN_S: Final = 30
_SCHEME: Final = re.compile(r"(?:^|,)\s*([A-Za-z]+)(?=\s+[A-Za-z_]+\s*=|\s*,|\s*$)")
_PARAMETER: Final = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def challenges(headers: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Scheme in lower case and parameters of every challenge in WWW-Authenticate headers."""
    for header in headers:
        found = list(_SCHEME.finditer(header))
        ends = [each.start() for each in found[1:]] + [len(header)]
        for each, end in zip(found, ends[: len(found)], strict=True):
            rest = header[each.end() : end]
            yield each[1].lower(), {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}


class Authorizer:
    """What we know about ourselves towards one registry, and the token it gave us last.

    Args:
        credentials: asked for when a registry first wants to know who we are; None: nobody.
        hold_token: the secret of the hold API; shown as a Bearer token on its calls when there is one.
        scope: what tokens are asked for, `repository:NAME:pull,push`.
    """

    def __init__(self, credentials: Callable[[], Credentials | None], hold_token: str, scope: str) -> None:
        self._credentials = credentials
        self._hold_token = hold_token
        self._scope = scope
        self._header: str | None = None
        self._turn = asyncio.Lock()

    def header(self, side: Side) -> str | None:
        """The Authorization to send now."""
        if side == "nobody":
            return None
        if side == "hold" and self._hold_token:
            return f"Bearer {self._hold_token}"
        return self._header

    async def challenged(
        self, session: aiohttp.ClientSession, registry: URL, side: Side, used: str | None, headers: list[str]
    ) -> bool:
        """After a 401 to a request with Authorization `used`: whether there is a new one to try.

        Raises:
            Refused: the token service says no.
            LineBroken: the token service does not answer.
        """
        if side == "nobody" or (side == "hold" and self._hold_token):
            return False
        async with self._turn:
            if self._header != used:
                return True  # somebody else was challenged meanwhile and has the answer
            self._header = await self._answer(session, registry, dict(challenges(headers)))
            return self._header is not None and self._header != used

    async def _answer(
        self, session: aiohttp.ClientSession, registry: URL, asked: Mapping[str, dict[str, str]]
    ) -> str | None:
        # In a thread: a helper program may take its time.
        credentials = await asyncio.to_thread(self._credentials)
        if "bearer" in asked and asked["bearer"].get("realm"):
            return await self._token(session, registry, asked["bearer"], credentials)
        if "basic" in asked and credentials is not None and not credentials.identity_token:
            return credentials.basic()
        return None

    async def _token(
        self,
        session: aiohttp.ClientSession,
        registry: URL,
        asked: Mapping[str, str],
        credentials: Credentials | None,
    ) -> str | None:
        realm = registry.join(URL(asked["realm"]))
        if realm.scheme != "https" and (registry.scheme == "https" or realm.scheme != "http"):
            raise Refused(f"{registry.host} wants its passwords sent without encryption, to {realm.host}", 401)
        words = {"service": asked.get("service", ""), "scope": self._scope}
        words = {name: value for name, value in words.items() if value}
        try:
            async with asyncio.timeout(TOKEN_S):
                return await _fetched(session, realm, words, credentials)
        except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError
            raise LineBroken(f"the token service {realm.host} does not answer: {str(error) or 'timed out'}") from error


async def _fetched(
    session: aiohttp.ClientSession, realm: URL, words: dict[str, str], credentials: Credentials | None
) -> str | None:
    """Ask a token service; None when it has no token for us."""
    if credentials is not None and credentials.identity_token:
        form = words | {"grant_type": "refresh_token", "refresh_token": credentials.identity_token}
        request = session.post(realm, data=form | {"client_id": CLIENT_ID}, allow_redirects=False)
    else:
        known = {"Authorization": credentials.basic()} if credentials else {}
        account = {"account": credentials.username} if credentials else {}
        url = realm.update_query(words | account | {"client_id": CLIENT_ID})
        request = session.get(url, headers=known, allow_redirects=False)
    async with request as response:
        if response.status in (401, 403):
            raise Refused(f"the token service {realm.host} refused the login", 401, LOGIN)
        if response.status >= 500:
            raise LineBroken(f"the token service {realm.host} answered {response.status}")
        if response.status != 200:
            raise Refused(f"the token service {realm.host} answered {response.status}", response.status)
        told: Any = await response.json(content_type=None)
    token = (told.get("token") or told.get("access_token")) if isinstance(told, dict) else None
    return f"Bearer {token}" if isinstance(token, str) and token else None


LOGIN: Final = "log in with docker login or podman login, or give --username and --password-stdin"

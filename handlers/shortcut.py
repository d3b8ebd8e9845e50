"""The short way for what is asked most: manifests and small blobs in memory, without task, request or response.

A thousand nodes that start one job ask for the same tag and the same small config. Such an answer is complete before
the loop would have begun a task for it, and costs half as much this way. It is the same answer, header by header (a
test compares), asked of the same policy and told to the same observers; whatever is not plainly of this kind returns
None and goes the usual way through the boundary.
"""

from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11
from aiohttp.http import RawRequestMessage

from auth.policy import Action, Decision
from auth.principals import ANONYMOUS
from handlers import headers
from handlers.answers import AT_ONCE_BYTES
from handlers.boundary import Record, request_id
from handlers.paths import Endpoint, split
from handlers.services import Services
from model import names
from model.digests import Digest
from model.errors import RegistryError

_CONDITIONS: Final = ("If-None-Match", "If-Range", "Range", "Authorization", "Expect", "Upgrade")


class Shortcut:
    """Answers from memory, as bytes ready for the transport."""

    def __init__(
        self, services: Services, *, next_id: Callable[[], str], observers: Sequence[Callable[[Record], None]]
    ) -> None:
        self._services = services
        self._next_id = next_id
        self._observers = observers
        self._date_s = 0
        self._date = ""

    def __call__(self, message: RawRequestMessage, peer: str) -> bytes | None:
        """The whole answer to a request without a body, if it is in memory; None to go the usual way."""
        path, sent = message.path, message.headers
        if message.method not in ("GET", "HEAD") or message.should_close or message.version != HttpVersion11:
            return None
        if "?" in path or "%" in path or any(name in sent for name in _CONDITIONS):
            return None
        clock = self._services.clock
        began_s = clock.monotonic_s()
        try:
            endpoint, repository, arguments = split(path)
            found = self._known(endpoint, repository, arguments[0]) if arguments else None
        except RegistryError:
            return None  # the usual way says it better
        if found is None or len(found[1]) > AT_ONCE_BYTES:
            return None
        if self._services.policy(ANONYMOUS, Action.PULL, repository) is not Decision.ALLOW:
            return None
        fields, content = found
        now_s = clock.now_s()
        record = Record(
            started_s=now_s,
            request_id=request_id(sent.get("X-Request-Id")) or self._next_id(),
            method=message.method,
            path=path,
            remote=self._services.border.proxies.remote(peer, sent) or "-",
            agent=sent.get("User-Agent", "-"),
            endpoint=endpoint.value,
            status=200,
            sent_bytes=len(content) if message.method == "GET" else 0,
        )
        head = self._head(fields, len(content), record.request_id, int(now_s))
        record.seconds = clock.monotonic_s() - began_s
        for observe in self._observers:
            observe(record)
        return head + content if message.method == "GET" else head

    def _known(self, endpoint: Endpoint, repository: str, argument: str) -> tuple[dict[str, str], bytes] | None:
        """The endpoint's own headers and the content, if both are in memory.

        A name that is there has been checked, or is hidden; the latter are refused where names are checked.
        """
        if names.is_hidden(repository):
            return None
        if endpoint is Endpoint.MANIFEST:
            stored = self._services.manifests.cached(repository, names.reference(argument))
            return None if stored is None else (headers.of_manifest(stored), stored.content)
        if endpoint is Endpoint.BLOB:
            digest = Digest.parse(argument)
            blob = self._services.blobs.cached(repository, digest)
            return None if blob is None else (headers.of_blob(digest), blob.content)
        return None

    def _head(self, fields: dict[str, str], length_bytes: int, given_id: str, now_s: int) -> bytes:
        if now_s != self._date_s:
            self._date_s, self._date = now_s, formatdate(now_s, usegmt=True)
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
        return (
            f"HTTP/1.1 200 OK\r\n{lines}{headers.API_VERSION}: {headers.REGISTRY_2}\r\nX-Request-Id: {given_id}\r\n"
            f"Server: {headers.SERVER}\r\nContent-Length: {length_bytes}\r\nDate: {self._date}\r\n\r\n"
        ).encode("ascii")

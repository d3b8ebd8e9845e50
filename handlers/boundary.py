"""The border between HTTP and everything below: every request comes in and goes out through here, once.

It gives the request an id, finds the route, checks the signature of a signed URL, asks the policy, turns errors into
answers in the words of their protocol, puts on the headers that every answer has, sends the bodies that are files, and
tells the observers (access log, metrics) what happened. Handlers therefore neither catch nor log.
"""

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from auth.principals import ANONYMOUS, SIGNED
from auth.refusals import SignatureRefused
from auth.signed_urls import is_signed
from handlers import headers, paths, routes, wire
from handlers.answers import FileResponse
from handlers.call import Call
from handlers.paths import Endpoint, Face
from handlers.sending import ClientGone, ShortFile
from handlers.services import Services
from handlers.streaming import BrokenStream, send_body
from model import names
from model.errors import Denied, NameInvalid, RegistryError, Unknown
from multipart.interrupted import BodyVanished

log = logging.getLogger("holdfast.http")
signed_log = logging.getLogger("holdfast.signed")

PlainHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

GONE_STATUS: Final = 499
"""What log and metrics say for a client that left before its body was whole; nobody is there to get an answer."""

_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(slots=True)
class Record:
    """What there is to tell about one request. `path` is without the query, which may hold signatures."""

    started_s: float
    request_id: str
    method: str
    path: str
    remote: str
    agent: str
    who: str = "-"
    endpoint: str = "other"
    status: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    gone: bool = False
    """The client left before the answer was through."""
    error: str = ""


class Boundary:
    """The one handler of the server."""

    def __init__(
        self,
        services: Services,
        *,
        plain: Mapping[str, PlainHandler],
        observers: Sequence[Callable[[Record], None]] = (),
    ) -> None:
        self._services = services
        self._plain = plain
        self._observers = observers
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(4)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; never raises but for a cancellation."""
        clock = self._services.clock
        began = clock.monotonic_s()
        record = self._record(request, clock.now_s())
        response = await self._answer(request, record)
        _stamp(response, record.request_id)
        record.status = GONE_STATUS if record.gone else response.status
        try:
            record.sent_bytes = await _send(request, response)
        except ClientGone as gone:
            record.gone, record.sent_bytes = True, gone.sent_bytes
        except ShortFile as short:
            record.error = str(short)
            # Without a traceback: what is wrong is on the disk, not in the program.
            log.error("request %s: stored file damaged: %s: %s", record.request_id, record.path, short)  # noqa: TRY400
            if isinstance(response, FileResponse):
                response.damaged()
        except BrokenStream as broken:
            record.error = str(broken)
            log.error("request %s: %s: %s", record.request_id, record.path, broken)  # noqa: TRY400 - the store's fault
        except ConnectionError:
            record.gone = True
        finally:
            record.seconds = clock.monotonic_s() - began
            for observe in self._observers:
                observe(record)
        return response

    def protocol_error(self, status: int, message: str, peer: str) -> web.Response:
        """The answer to what is not a well-formed request; the observers see it as a request without words."""
        response = wire.refusal(status, message)
        record = Record(self._services.clock.now_s(), self.next_id(), "-", "-", peer or "-", "-", status=status)
        record.error = message
        _stamp(response, record.request_id)
        for observe in self._observers:
            observe(record)
        return response

    def next_id(self) -> str:
        """An id for a request that brought none."""
        return f"{self._id_prefix}-{next(self._ids):x}"

    def _record(self, request: web.BaseRequest, now_s: float) -> Record:
        sent = request.headers
        return Record(
            started_s=now_s,
            request_id=request_id(sent.get("X-Request-Id")) or self.next_id(),
            method=request.method,
            path=_origin_form(request.raw_path).partition("?")[0],
            remote=self._services.border.proxies.remote(request.remote or "", sent) or "-",
            agent=sent.get("User-Agent", "-"),
        )

    async def _answer(self, request: web.BaseRequest, record: Record) -> web.StreamResponse:
        """The answer to a request; whatever happens below becomes one."""
        call = Call(request, self._services, ANONYMOUS)
        try:
            return await self._dispatch(call, record)
        except RegistryError as error:
            if not (record.method == "HEAD" and isinstance(error, Unknown)):
                record.error = str(error)  # looking whether something is there is no error when it is not (H140)
            record.gone = isinstance(error, BodyVanished)
            if isinstance(error, SignatureRefused):
                signed_log.warning("request %s: signed URL refused: %s", record.request_id, _printable(error.reason))
            return routes.error_answer(_face(request, record), error, call.repository, record.request_id)
        except Exception:  # the last door: whatever gets here is a fault of ours, for the log and not for the client
            log.exception("request %s failed: %s %s", record.request_id, record.method, record.path)
            record.error = "internal error"
            fault = RegistryError(
                f"the registry failed on this request; its log has more under request id {record.request_id}"
            )
            return routes.error_answer(_face(request, record), fault, "", record.request_id)

    async def _dispatch(self, call: Call, record: Record) -> web.StreamResponse:
        """Route, check the name, find out who asks, ask the policy, call the handler."""
        path = _decoded(record.path)
        plain = self._plain.get(path)
        if plain is not None:
            record.endpoint = path
            return await plain(call.request)
        endpoint, repository, call.arguments = paths.split(path)
        record.endpoint = endpoint.value
        if repository:
            call.repository = names.repository(repository)
        route = routes.route(endpoint, record.method, deleting=self._services.delete_enabled)
        self._identify(call, endpoint)
        record.who = call.principal.name
        call.require(route.action, call.repository)
        return await route.handler(call)

    def _identify(self, call: Call, endpoint: Endpoint) -> None:
        """Find out who asks. A signed URL speaks for itself: no Authorization is looked at, whatever it says.

        Raises:
            SignatureRefused: the URL's signature does not hold, or is too old.
            Denied: the endpoint is for signed URLs only, and this is none.
            Invalid: it cannot be known which host the request came to.
        """
        request, services = call.request, self._services
        if endpoint in paths.SIGNABLE and is_signed(request.raw_path):
            target = _origin_form(request.raw_path)
            call.grant = services.signer.verify(request.method, target, call.hosts, request.headers)
            call.principal = SIGNED
        elif endpoint in paths.SIGNED_ONLY:
            raise Denied("this takes a signed URL; the hold API hands them out")
        else:
            call.principal = services.recognise(request.headers.get("Authorization"), call.local)


def request_id(given: str | None) -> str | None:
    """The id a request brought, if it is one that can be written everywhere."""
    return given if given is not None and _GIVEN_ID.fullmatch(given) else None


def _face(request: web.BaseRequest, record: Record) -> Face:
    """The protocol in which to refuse a request: that of its path. Who brought a signed URL gets S3's words."""
    try:
        path = _decoded(record.path)
    except NameInvalid:
        path = record.path
    if path.startswith(paths.PARTS) and is_signed(request.raw_path):
        return Face.SIGNED
    return paths.face_of(path)


def _printable(text: str) -> str:
    """`text` on one line, whatever a client put into it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:1000])


def _stamp(response: web.StreamResponse, given_id: str) -> None:
    """Put on the headers that every answer has."""
    response.headers[headers.API_VERSION] = headers.REGISTRY_2
    response.headers["X-Request-Id"] = given_id
    response.headers["Server"] = headers.SERVER


async def _send(request: web.BaseRequest, response: web.StreamResponse) -> int:
    """Send the body if it is made of files; a small answer is written by the server itself. Returns its bytes."""
    if isinstance(response, FileResponse):
        try:
            return await send_body(request, response, response.parts)
        finally:
            response.close()
    return 0 if request.method == "HEAD" else response.content_length or 0


def _origin_form(target: str) -> str:
    """The path and query of a request target; who takes us for a proxy sends a whole URL (RFC 9112 section 3.2.2)."""
    if not target.startswith(("http://", "https://")):
        return target
    authority, question, query = target.partition("://")[2].partition("?")
    return f"/{authority.partition('/')[2]}{question}{query}"


def _decoded(raw_path: str) -> str:
    """The path with its percent signs read; one that is no UTF-8 then names nothing."""
    if "%" not in raw_path:
        return raw_path
    try:
        return unquote(raw_path, errors="strict")
    except UnicodeDecodeError as error:
        raise NameInvalid("the path is not UTF-8") from error

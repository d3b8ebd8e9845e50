"""The border between HTTP and everything below: every request comes in and goes out through here, once.

It gives the request an id, finds the route, asks the policy, turns errors into answers, puts on the headers that every
answer has, sends the bodies that are files, and tells the observers (access log, metrics) what happened. Handlers
therefore neither catch nor log.
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

from auth.policy import Action, Decision
from auth.principals import ANONYMOUS, Principal
from handlers import headers, routes, wire
from handlers.answers import FileResponse
from handlers.call import Call
from handlers.sending import ClientGone, ShortFile
from handlers.services import Services
from handlers.streaming import send_body
from model import names
from model.errors import Denied, NameInvalid, NameUnknown, RegistryError, Unauthorized
from multipart.interrupted import BodyVanished

log = logging.getLogger("holdfast.http")

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
            path=_path(request.raw_path),
            remote=request.remote or "-",
            agent=sent.get("User-Agent", "-"),
        )

    async def _answer(self, request: web.BaseRequest, record: Record) -> web.StreamResponse:
        """The answer to a request; whatever happens below becomes one."""
        call = Call(request, self._services, ANONYMOUS)
        try:
            return await self._dispatch(call, record)
        except RegistryError as error:
            record.error = error.message
            record.gone = isinstance(error, BodyVanished)
            return wire.answer(error, call.repository)
        except Exception:
            # The last door: whatever gets here is a fault of ours, told in the log and not to the client.
            log.exception("request %s failed: %s %s", record.request_id, record.method, record.path)
            record.error = "internal error"
            message = f"the registry failed on this request; its log has more under request id {record.request_id}"
            return wire.plain_answer(500, "UNKNOWN", message)

    async def _dispatch(self, call: Call, record: Record) -> web.StreamResponse:
        """Route, check the name, ask the policy, call the handler."""
        path = _decoded(record.path)
        plain = self._plain.get(path)
        if plain is not None:
            record.endpoint = path
            return await plain(call.request)
        endpoint, repository, call.argument = routes.split(path)
        record.endpoint = endpoint.value
        if repository:
            call.repository = names.repository(repository)
        route = routes.route(endpoint, record.method, deleting=self._services.delete_enabled)
        self._authorize(call.principal, route.action, call.repository)
        return await route.handler(call)

    def _authorize(self, principal: Principal, action: Action, repository: str) -> None:
        """Raise unless the policy allows it."""
        decision = self._services.policy(principal, action, repository)
        if decision is Decision.HIDE:
            raise NameUnknown("the repository is not known here", name=repository)
        if decision is Decision.DENY:
            raise Unauthorized("log in first") if principal.anonymous else Denied("this is not allowed to you")


def request_id(given: str | None) -> str | None:
    """The id a request brought, if it is one that can be written everywhere."""
    return given if given is not None and _GIVEN_ID.fullmatch(given) else None


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


def _path(target: str) -> str:
    """The path of a request target; who takes us for a proxy sends the whole URL (RFC 9112 section 3.2.2)."""
    target = target.partition("?")[0]
    if target.startswith(("http://", "https://")):
        return "/" + target.partition("://")[2].partition("/")[2]
    return target


def _decoded(raw_path: str) -> str:
    """The path with its percent signs read; one that is no UTF-8 then names nothing."""
    if "%" not in raw_path:
        return raw_path
    try:
        return unquote(raw_path, errors="strict")
    except UnicodeDecodeError as error:
        raise NameInvalid("the path is not UTF-8") from error

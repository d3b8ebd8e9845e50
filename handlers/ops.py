"""For whoever runs the server: is it alive, is it ready, what does it count; and a word to people with a browser.

    /          what this is and how to push a first image
    /healthz   the process answers
    /readyz    the catalog and the storage can be used; otherwise 503 with a reason, and with Retry-After
    /metrics   Prometheus text, unless it is switched off

These read nothing of the registry's content, so nobody needs to log in.
"""

import re
from typing import Final

from aiohttp import web

from handlers import wire
from handlers.answers import document
from handlers.boundary import PlainHandler
from handlers.metrics import CONTENT_TYPE, Metrics
from handlers.readiness import Readiness

METHODS: Final = ("GET", "HEAD")
UNCACHED: Final = {"Cache-Control": "no-store"}
UNREADY: Final = {**UNCACHED, "Retry-After": "5"}

_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}", re.ASCII)
_WELCOME: Final = """\
This is Holdfast, a container registry. It speaks the OCI distribution protocol below /v2/.

Push a first image:
  docker tag IMAGE {host}/hello/world:1
  docker push {host}/hello/world:1
or without a daemon:
  skopeo copy --dest-tls-verify=false docker-archive:image.tar docker://{host}/hello/world:1

Look around:
  curl http://{host}/v2/_catalog
  curl http://{host}/v2/hello/world/tags/list
"""


def plain_handlers(readiness: Readiness, metrics: Metrics | None) -> dict[str, PlainHandler]:
    """The handlers by path; without `metrics` there is nothing at /metrics."""

    async def healthz(request: web.BaseRequest) -> web.StreamResponse:
        return document({"status": "ok"}, headers=UNCACHED)

    async def readyz(request: web.BaseRequest) -> web.StreamResponse:
        reason = await readiness.told()
        if reason:
            return document({"status": "unavailable", "reason": reason}, status=503, headers=UNREADY)
        return document({"status": "ok"}, headers=UNCACHED)

    found = {"/": _reading(_welcome), "/healthz": _reading(healthz), "/readyz": _reading(readyz)}
    if metrics is not None:
        found["/metrics"] = _reading(_measured(metrics))
    return found


def _measured(metrics: Metrics) -> PlainHandler:
    async def measured(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=await metrics.text(), headers={"Content-Type": CONTENT_TYPE, **UNCACHED})

    return measured


async def _welcome(request: web.BaseRequest) -> web.StreamResponse:
    host = request.headers.get("Host", "")
    text = _WELCOME.format(host=host if _HOST.fullmatch(host) else "HOST:PORT")
    return web.Response(text=text, content_type="text/plain")


def _reading(handler: PlainHandler) -> PlainHandler:
    """`handler`, for those who only read."""

    async def checked(request: web.BaseRequest) -> web.StreamResponse:
        if request.method in METHODS:
            return await handler(request)
        response = wire.plain_answer(405, "UNSUPPORTED", "this path only takes GET and HEAD")
        response.headers["Allow"] = ", ".join(METHODS)
        return response

    return checked

"""The list of repositories, in byte order and in pages, and the answer that says that this is a registry (end-1)."""

from aiohttp import web

from auth.policy import Action, Decision
from handlers import answers, params
from handlers.call import Call


async def ping(call: Call) -> web.StreamResponse:
    """GET and HEAD of /v2/."""
    return web.Response(body=b"{}", headers={"Content-Type": answers.JSON})


async def page(call: Call) -> web.StreamResponse:
    """GET: the repositories the caller may read; a page may be shorter than `n` where some are hidden."""
    limit, last = params.page_size(call), call.first("last")
    found = await call.services.repositories.page(limit, last)
    link = (
        answers.next_link("/v2/_catalog", [("n", limit), ("last", found.names[-1])])
        if found.more and found.names
        else {}
    )
    seen = [name for name in found.names if call.services.policy(call.principal, Action.PULL, name) is Decision.ALLOW]
    return answers.listing({"repositories": seen}, link)

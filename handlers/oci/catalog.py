"""The list of repositories, in byte order and in pages, and the answer that says that this is a registry (end-1)."""

from aiohttp import web

from auth.policy import Action
from handlers import answers, params
from handlers.call import Call
from model import names


async def ping(call: Call) -> web.StreamResponse:
    """GET and HEAD of /v2/."""
    return web.Response(body=b"{}", headers={"Content-Type": answers.JSON})


async def page(call: Call) -> web.StreamResponse:
    """GET: the repositories the caller may read; a page may be shorter than `n` where some are hidden.

    What belongs to nobody's name is in no list, not in its owner's either: it could not be asked for.
    """
    limit, last = params.page_size(call), call.first("last")
    found = await call.services.repositories.page(limit, last)
    seen = [name for name in found.names if not names.is_hidden(name) and call.may(Action.PULL, name)]
    link = {}
    if found.more and found.names:
        at = found.names[-1] if not names.is_hidden(found.names[-1]) else names.BEHIND_HIDDEN
        link = answers.next_link("/v2/_catalog", [("n", limit), ("last", at)])
    return answers.listing({"repositories": seen}, link)

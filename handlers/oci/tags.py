"""The list of tags, in byte order and in pages (end-8)."""

from aiohttp import web

from handlers import answers, params
from handlers.call import Call


async def page(call: Call) -> web.StreamResponse:
    """GET: always a list; fewer than asked for only with a Link to the rest."""
    limit, last = params.page_size(call), call.first("last")
    found = await call.services.tags.page(call.repository, limit, last)
    path = f"/v2/{call.repository}/tags/list"
    link = answers.next_link(path, [("n", limit), ("last", found.names[-1])]) if found.more and found.names else {}
    return answers.listing({"name": call.repository, "tags": found.names}, link)

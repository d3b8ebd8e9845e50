"""The referrers of a manifest, as an index (end-12): always 200, also for what does not exist yet."""

from typing import Final

from aiohttp import web

from handlers import answers
from handlers.call import Call
from model.descriptors import OCI_INDEX
from model.digests import Digest
from model.units import MIB

PAGE_BYTES: Final = MIB
"""An answer above this goes on behind a Link; the specification's own bound is 4 MiB, which is what clients read."""


async def list_referrers(call: Call) -> web.StreamResponse:
    """GET: several `artifactType` parameters mean any of them, as containerd sends them."""
    subject = Digest.parse(call.argument)
    wanted = [kind for kind in call.query.get("artifactType", []) if kind]
    page = await call.services.referrers.page(
        call.repository, subject, wanted, last=call.first("last"), limit_bytes=PAGE_BYTES
    )
    headers = {"Content-Type": OCI_INDEX}
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    if page.more_behind is not None:
        path = f"/v2/{call.repository}/referrers/{subject}"
        headers |= answers.next_link(path, [*(("artifactType", kind) for kind in wanted), ("last", page.more_behind)])
    return answers.content(_index(page.descriptors), headers)


def _index(descriptors: list[bytes]) -> bytes:
    """The index of what is JSON already."""
    head = f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":['
    return b"".join([head.encode(), b",".join(descriptors), b"]}"])

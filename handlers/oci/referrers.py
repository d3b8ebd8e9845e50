"""The referrers of a manifest, as an index (end-12): always 200, also for what does not exist yet."""

import asyncio
from typing import Any, Final

from aiohttp import web

from handlers import answers
from handlers.call import Call
from model.descriptors import OCI_INDEX
from model.digests import Digest
from model.units import MIB

PAGE_BYTES: Final = MIB
"""An answer above this goes on behind a Link; the specification's own bound is 4 MiB, which is what clients read."""

FEW: Final = 200
"""More entries than this are measured in a thread."""


async def list_referrers(call: Call) -> web.StreamResponse:
    """GET: several `artifactType` parameters mean any of them, as containerd sends them."""
    subject = Digest.parse(call.argument)
    wanted = [kind for kind in call.query.get("artifactType", []) if kind]
    found = await call.services.referrers.of(call.repository, subject, wanted)
    last = call.first("last")
    shown, rest = _page(found, last) if len(found) <= FEW else await asyncio.to_thread(_page, found, last)
    headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    if rest:
        path = f"/v2/{call.repository}/referrers/{subject}"
        headers |= answers.next_link(
            path, [*(("artifactType", kind) for kind in wanted), ("last", shown[-1]["digest"])]
        )
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}
    return answers.listing(index, headers, media_type=OCI_INDEX)


def _page(found: list[dict[str, Any]], last: str | None) -> tuple[list[dict[str, Any]], bool]:
    """The entries behind `last`, which need not exist any more, that fit into one answer (at least one), and whether
    more follow; `found` is in order of digest.
    """
    shown: list[dict[str, Any]] = []
    size_bytes = 0
    for entry in found:
        if last is not None and entry["digest"] <= last:
            continue
        size_bytes += len(answers.as_json(entry)) + 1
        if shown and size_bytes > PAGE_BYTES:
            return shown, True
        shown.append(entry)
    return shown, False

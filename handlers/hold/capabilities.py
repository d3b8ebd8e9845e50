"""GET /capabilities: what a client may choose its way by (H033, H034)."""

from aiohttp import web

from handlers import answers
from handlers.call import Call
from model.version import VERSION
from multipart.parts import MAX_PARTS, suggested_part_size


async def capabilities(call: Call) -> web.StreamResponse:
    """Which modes there are, where bytes are kept, and what parts may be like."""
    settings = call.services.hold
    limits = {"max_part_size": settings.max_part_bytes, "max_upload_size": settings.max_upload_bytes}
    return answers.document(
        {
            "multipart": settings.modes,
            "storage": settings.storage,
            "min_part_size": settings.min_part_bytes,
            "suggested_part_size": suggested_part_size(0),
            "max_parts": MAX_PARTS,
            "signed_urls": settings.presigned,
            "version": VERSION,
            **{name: limit for name, limit in limits.items() if limit},
        }
    )

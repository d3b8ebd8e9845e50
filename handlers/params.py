"""Words of a request into values: each odd grammar of the wire is read in one function here."""

import re
from typing import Final

from handlers.call import Call
from model import ranges
from model.digests import Digest
from model.errors import DigestInvalid, PageInvalid
from multipart.place import Place

MAX_PAGE: Final = 1_000
"""Names on one page at the most; whoever asks for more, or for all, finds a Link to the next page."""

_COUNT: Final = re.compile(r"\d{1,18}", re.ASCII)


def closing_digest(call: Call) -> Digest:
    """The digest of a closing PUT.

    Raises:
        DigestInvalid: missing or malformed.
    """
    text = call.last("digest")
    if text is None:
        raise DigestInvalid("the request must end its URL with ?digest=<digest of the whole blob>")
    return Digest.parse(text)


def page_size(call: Call) -> int:
    """The `n` of a list: absent means as many as one page holds. PageInvalid if it is not a count (oci.md end-8)."""
    text = call.first("n")
    if text is None:
        return MAX_PAGE
    if not _COUNT.fullmatch(text):
        raise PageInvalid("n is a count of entries", n=text[:100])
    return min(int(text), MAX_PAGE)


def place(call: Call) -> Place:
    """Where the request says its bytes belong: by Content-Range, else by the offset in its Location (rules 3 and 4)."""
    header = call.request.headers.get("Content-Range")
    if header is not None:
        span = ranges.announced(header)
        return Place(span=span, malformed=span is None)
    state = call.first("_state")
    return Place(location_offset=int(state) if state is not None and _COUNT.fullmatch(state) else None)


def matches(header: str | None, digest: Digest) -> bool:
    """Whether an If-None-Match names `digest`: quoted, weak, bare, in a list, or `*`."""
    if header is None:
        return False
    wanted = str(digest)
    return any(word.strip().removeprefix("W/").strip('"') in (wanted, "*") for word in header.split(","))

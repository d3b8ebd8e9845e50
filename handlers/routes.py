"""THE route table: method and endpoint, the action that must be allowed, the handler.

Paths are read from the right, since a repository may be called `blobs` or `a/tags/list` (oci.md 1.0): the last words
say which endpoint it is, and everything before them is the repository.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aiohttp import web

from auth.policy import Action
from handlers.call import Call
from handlers.oci import blobs, catalog, manifests, referrers, tags, uploads
from model.errors import PathUnknown, Unsupported

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Endpoint(Enum):
    """What a path under /v2/ is about."""

    PING = "ping"
    CATALOG = "catalog"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    MANIFEST = "manifest"
    TAGS = "tags"
    REFERRERS = "referrers"


@dataclass(frozen=True, slots=True)
class Route:
    """What to do, and what must be allowed before."""

    action: Action
    handler: Handler


ROUTES: Final[dict[Endpoint, dict[str, Route]]] = {
    Endpoint.PING: {
        "GET": Route(Action.PING, catalog.ping),  # end-1
        "HEAD": Route(Action.PING, catalog.ping),
    },
    Endpoint.CATALOG: {
        "GET": Route(Action.CATALOG, catalog.page),
        "HEAD": Route(Action.CATALOG, catalog.page),
    },
    Endpoint.BLOB: {
        "GET": Route(Action.PULL, blobs.fetch),  # end-2
        "HEAD": Route(Action.PULL, blobs.head),
        "DELETE": Route(Action.DELETE, blobs.delete),  # end-10
    },
    Endpoint.UPLOADS: {
        "POST": Route(Action.PUSH, uploads.begin),  # end-4a, 4b, 4c, 11
    },
    Endpoint.UPLOAD: {
        "GET": Route(Action.PUSH, uploads.status),  # end-13
        "HEAD": Route(Action.PUSH, uploads.status),
        "PATCH": Route(Action.PUSH, uploads.append),  # end-5
        "PUT": Route(Action.PUSH, uploads.finish),  # end-6
        # Cancelling is part of pushing: podman and Docker hold no right to delete (oci.md end-14).
        "DELETE": Route(Action.PUSH, uploads.cancel),
    },
    Endpoint.MANIFEST: {
        "GET": Route(Action.PULL, manifests.fetch),  # end-3
        "HEAD": Route(Action.PULL, manifests.fetch),
        "PUT": Route(Action.PUSH, manifests.store),  # end-7a, 7b
        "DELETE": Route(Action.DELETE, manifests.delete),  # end-9
    },
    Endpoint.TAGS: {
        "GET": Route(Action.PULL, tags.page),  # end-8
        "HEAD": Route(Action.PULL, tags.page),
    },
    Endpoint.REFERRERS: {
        "GET": Route(Action.PULL, referrers.list_referrers),  # end-12
        "HEAD": Route(Action.PULL, referrers.list_referrers),
    },
}

_BY_WORD: Final = {"manifests": Endpoint.MANIFEST, "blobs": Endpoint.BLOB, "referrers": Endpoint.REFERRERS}


def split(path: str) -> tuple[Endpoint, str, str]:
    """The endpoint, the repository and the argument that a path says; neither of the latter is checked yet.

    Raises:
        PathUnknown: no endpoint lives there.
    """
    if path in ("/v2/", "/v2"):
        return Endpoint.PING, "", ""
    if not path.startswith("/v2/"):
        raise PathUnknown("nothing lives at this path; the registry is below /v2/")
    rest = path[4:]
    if rest == "_catalog":
        return Endpoint.CATALOG, "", ""
    before, _, argument = rest.rpartition("/")
    repository, _, word = before.rpartition("/")
    if word == "uploads" and repository.endswith("/blobs"):
        return (Endpoint.UPLOAD if argument else Endpoint.UPLOADS), repository.removesuffix("/blobs"), argument
    if word == "tags" and argument == "list" and repository:
        return Endpoint.TAGS, repository, ""
    if word == "blobs" and argument == "uploads" and repository:
        return Endpoint.UPLOADS, repository, ""  # without the slash at the end, as some clients write it
    if word in _BY_WORD and repository and argument:
        return _BY_WORD[word], repository, argument
    raise PathUnknown("nothing lives at this path; see the endpoints of the OCI distribution specification")


def route(endpoint: Endpoint, method: str, *, deleting: bool) -> Route:
    """The row of the table; Unsupported if the endpoint has no such method, or it deletes and `deleting` is off."""
    found = ROUTES[endpoint].get(method)
    if found is not None and (deleting or found.action is not Action.DELETE):
        return found
    allowed = [name for name, row in ROUTES[endpoint].items() if deleting or row.action is not Action.DELETE]
    if found is not None:
        raise Unsupported("deleting is switched off on this registry (setting delete_enabled)", allowed=sorted(allowed))
    raise Unsupported(f"{endpoint.value} does not take this method", allowed=sorted(allowed))

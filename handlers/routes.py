"""THE route table: method and endpoint, the action that must be allowed, the handler; and each protocol's errors."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from auth.policy import Action
from handlers import signed, signed_errors, wire
from handlers.call import Call
from handlers.hold import capabilities, moves, presigned, xrpc
from handlers.hold import uploads as parts
from handlers.hold import wire as hold_wire
from handlers.oci import blobs, catalog, manifests, referrers, tags, uploads
from handlers.paths import Endpoint, Face
from model.errors import RegistryError, Unsupported

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """What to do, and what must be allowed before."""

    action: Action
    handler: Handler


def _both(action: Action, handler: Handler) -> dict[str, Route]:
    """GET, and HEAD of the same."""
    return {"GET": Route(action, handler), "HEAD": Route(action, handler)}


def _post(handler: Handler) -> dict[str, Route]:
    """A call of the hold API that writes; the handler asks the policy again when it knows the repository."""
    return {"POST": Route(Action.HOLD, handler)}


ROUTES: Final[dict[Endpoint, dict[str, Route]]] = {
    Endpoint.PING: _both(Action.PING, catalog.ping),  # end-1
    Endpoint.CATALOG: _both(Action.CATALOG, catalog.page),
    Endpoint.BLOB: {
        "GET": Route(Action.PULL, blobs.fetch),  # end-2
        "HEAD": Route(Action.PULL, blobs.head),
        "DELETE": Route(Action.DELETE, blobs.delete),  # end-10
    },
    Endpoint.UPLOADS: {
        "POST": Route(Action.PUSH, uploads.begin),  # end-4a, 4b, 4c, 11
    },
    Endpoint.UPLOAD: {
        **_both(Action.PUSH, uploads.status),  # end-13
        "PATCH": Route(Action.PUSH, uploads.append),  # end-5
        "PUT": Route(Action.PUSH, uploads.finish),  # end-6
        # Cancelling is part of pushing: podman and Docker hold no right to delete (oci.md end-14).
        "DELETE": Route(Action.PUSH, uploads.cancel),
    },
    Endpoint.MANIFEST: {
        **_both(Action.PULL, manifests.fetch),  # end-3
        "PUT": Route(Action.PUSH, manifests.store),  # end-7a, 7b
        "DELETE": Route(Action.DELETE, manifests.delete),  # end-9
    },
    Endpoint.TAGS: _both(Action.PULL, tags.page),  # end-8
    Endpoint.REFERRERS: _both(Action.PULL, referrers.list_referrers),  # end-12
    Endpoint.HOLD_START: _post(parts.start),
    Endpoint.HOLD_PART_URL: _post(parts.part_url),
    Endpoint.HOLD_PART: {"PUT": Route(Action.HOLD, parts.receive_part)},
    Endpoint.HOLD_PARTS: _both(Action.HOLD, parts.list_parts),
    Endpoint.HOLD_COMPLETE: _post(parts.complete),
    Endpoint.HOLD_ABORT: _post(parts.abort),
    Endpoint.HOLD_MOVE: _post(moves.move),
    Endpoint.HOLD_PUT_URL: _post(presigned.put_url),
    # Reading needs no right to write; which repositories the caller may read from is asked of the policy one by one.
    Endpoint.HOLD_GET_URL: {"POST": Route(Action.PULL, presigned.get_url)},
    Endpoint.HOLD_HEAD_URL: {"POST": Route(Action.PULL, presigned.head_url)},
    Endpoint.HOLD_CAPABILITIES: _both(Action.PING, capabilities.capabilities),
    Endpoint.XRPC_START: _post(xrpc.initiate),
    Endpoint.XRPC_PART_URL: _post(xrpc.part_url),
    Endpoint.XRPC_PART: {"PUT": Route(Action.HOLD, xrpc.upload_part)},
    Endpoint.XRPC_COMPLETE: _post(xrpc.complete),
    Endpoint.XRPC_ABORT: _post(xrpc.abort),
    Endpoint.XRPC_BLOB: _both(Action.PULL, xrpc.get_blob),
    Endpoint.SIGNED_BLOB: {
        "GET": Route(Action.PULL, signed.fetch),
        "HEAD": Route(Action.PULL, signed.head),
        "PUT": Route(Action.HOLD, signed.store),
    },
    Endpoint.SIGNED_UPLOAD: {"PUT": Route(Action.HOLD, signed.store_temporary)},
}


def route(endpoint: Endpoint, method: str, *, deleting: bool) -> Route:
    """The row of the table; Unsupported if the endpoint has no such method, or it deletes and `deleting` is off."""
    found = ROUTES[endpoint].get(method)
    if found is not None and (deleting or found.action is not Action.DELETE):
        return found
    allowed = [name for name, row in ROUTES[endpoint].items() if deleting or row.action is not Action.DELETE]
    if found is not None:
        raise Unsupported("deleting is switched off on this registry (setting delete_enabled)", allowed=sorted(allowed))
    raise Unsupported(f"{endpoint.value} does not take this method", allowed=sorted(allowed))


def error_answer(face: Face, error: RegistryError, repository: str, request_id: str) -> web.Response:
    """`error` in the words of the protocol that the request was in."""
    match face:
        case Face.HOLD:
            return hold_wire.answer(error)
        case Face.SIGNED:
            return signed_errors.answer(error, request_id)
        case Face.OCI:
            return wire.answer(error, repository)

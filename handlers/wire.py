"""Errors into answers: one table of statuses, one JSON shape, and the extra headers some errors carry (D12)."""

import json
from typing import Final

from aiohttp import web

from handlers import locations
from model.errors import (
    Conflict,
    Denied,
    Gone,
    Invalid,
    OffsetMismatch,
    RangeNotSatisfiable,
    RegistryError,
    StorageFull,
    TooLarge,
    TooMany,
    TooManyParameters,
    Unauthorized,
    Unavailable,
    Unknown,
    Unsupported,
)
from multipart.interrupted import TakenOver, TooSlow

STATUS: Final[dict[type[RegistryError], int]] = {
    Invalid: 400,
    OffsetMismatch: 416,
    TooSlow: 408,
    TakenOver: 409,
    TooLarge: 413,
    TooManyParameters: 414,
    RangeNotSatisfiable: 416,
    Unknown: 404,
    Unauthorized: 401,
    Denied: 403,
    Unsupported: 405,
    TooMany: 429,
    Conflict: 409,
    Gone: 410,
    Unavailable: 503,
    StorageFull: 507,
}


_REFUSALS: Final = {429: "TOOMANYREQUESTS", 500: "UNKNOWN", 503: "UNAVAILABLE"}
"""Docker gives a push up at once for UNSUPPORTED, and tries again for the others."""


def status_of(error: RegistryError) -> int:
    """The status of the most specific row of STATUS that `error` is an instance of."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def answer(error: RegistryError, repository: str = "") -> web.Response:
    """The answer a caller gets for `error`, in the shape of the distribution specification."""
    return _response(status_of(error), error.code, error.message, error.detail, headers_of(error, repository))


def refusal(status: int, message: str) -> web.Response:
    """The answer to what never became a request: not well-formed, too large, too late, or one connection too many."""
    headers = {"Retry-After": "5"} if status in (429, 503) else {}
    return _response(status, _REFUSALS.get(status, "UNSUPPORTED"), message, {}, headers)


def plain_answer(status: int, code: str, message: str) -> web.Response:
    """An error that has no class."""
    return _response(status, code, message, {}, {})


def headers_of(error: RegistryError, repository: str = "") -> dict[str, str]:
    """The headers that go with `error` in any protocol; `repository` is that of the session of an OffsetMismatch."""
    match error:
        case OffsetMismatch():
            return locations.of_upload(repository, error.upload_id, error.offset_bytes, empty_range="0--1")
        case RangeNotSatisfiable():
            return {"Content-Range": f"bytes */{error.size_bytes}"}
        case TooMany():
            return {"Retry-After": str(error.retry_after_s)}
        case Unsupported(detail={"allowed": [*methods]}):
            return {"Allow": ", ".join(map(str, methods))}
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case Unavailable():
            return {"Retry-After": str(error.retry_after_s)}
    return {}


def _response(status: int, code: str, message: str, detail: dict[str, object], headers: dict[str, str]) -> web.Response:
    entry: dict[str, object] = {"code": code, "message": message}
    if detail:
        entry["detail"] = detail
    body = json.dumps({"errors": [entry]}, default=str).encode()
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **headers})

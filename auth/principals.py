"""Who is asking: the principal a request yields, and how it is recognised.

Until there are accounts, two things tell callers apart: the one shared secret of the operator (setting `hold_token`),
and whether they are on this machine. A signed URL is a principal of its own kind: it says what it allows.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HOLD: Final = "hold"
"""The name of whoever proves the operator's secret."""
BY_URL: Final = "url"
"""The name of whoever brings a signed URL; whose it is, the URL says."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `name` is what logs and owners of sessions show; anonymous is a principal like any other."""

    name: str
    anonymous: bool = False
    trusted: bool = False
    """Proved the operator's secret."""
    local: bool = False
    """Connected from this machine itself, with nobody in between."""
    by_url: bool = False
    """Brought a signed URL, whose signature holds: the request is what somebody who might do so has signed."""


ANONYMOUS: Final = Principal("-", anonymous=True)
LOCAL: Final = Principal("-", anonymous=True, local=True)
SIGNED: Final = Principal(BY_URL, by_url=True)

Recognise = Callable[[str | None, bool], Principal]
"""From the Authorization header, and whether the caller is on this machine, to the principal."""


def recogniser(hold_token: str) -> Recognise:
    """How callers are recognised; an empty `hold_token` is proved by nobody.

    Any other Authorization than the right `Bearer` makes nobody in particular, and is no error by itself: clients send
    what they have, and most of this registry asks for nothing (H151: what a body claims proves nothing).
    """
    expected = hold_token.encode()
    trusted = {local: Principal(HOLD, trusted=True, local=local) for local in (False, True)}

    def recognise(authorization: str | None, local: bool) -> Principal:
        if authorization is not None and expected and hmac.compare_digest(_bearer(authorization), expected):
            return trusted[local]
        return LOCAL if local else ANONYMOUS

    return recognise


def _bearer(authorization: str) -> bytes:
    """What stands behind `Bearer`; empty for any other scheme. Bytes that are no UTF-8 come back as they were sent."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""

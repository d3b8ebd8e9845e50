"""Hosts as URLs and Host headers have them: host[:port], in one spelling each."""

import re
from collections.abc import Mapping
from typing import Final

MAX_PORT: Final = 65535
DEFAULT_PORTS: Final[Mapping[str, str]] = {"http": "80", "https": "443"}

_HOST: Final = re.compile(r"([a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.ASCII)


def host_of(text: str, scheme: str) -> str:
    """`text` as host[:port] in lower case, without the port that `scheme` has anyway; "" when it is no such thing.

    Clients leave that port away themselves, and a signature must name what they send.
    """
    match = _HOST.fullmatch(text.strip().lower())
    if match is None or ".." in match[1] or int(match[2] or 0) > MAX_PORT:
        return ""
    return match[1] if match[2] in (None, DEFAULT_PORTS[scheme]) else match[0]

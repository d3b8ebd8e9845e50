"""Where a request came from and what it was sent to, when there may be proxies in between. Pure.

What a forwarding header says counts only when the connection comes from a network that the operator trusts (setting
`trusted_proxies`), and only as far as trusted hops vouch for it: each proxy adds what it saw on the right, so the
addresses are read from right to left, and the first that is not trusted is the caller. Whatever stands further left the
caller wrote, or could have. Both spellings are read: X-Forwarded-For, -Proto, -Host, and Forwarded (RFC 7239). A proxy
passes on the spelling it does not know as the client sent it; so when both come and differ, neither counts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from multidict import CIMultiDictProxy

from model.hosts import DEFAULT_PORTS, host_of

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_ADDRESS: Final = 64
"""With brackets, port and zone; nothing longer is looked at."""
MAX_HOPS: Final = 32
"""Proxies that are looked through."""

_FORWARDED: Final = "x-forwarded"
_BETWEEN: Final = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "client-ip"}
    | {"cf-connecting-ip", "fastly-client-ip", "x-original-host", "x-envoy-external-address"}
    | {"origin", "sec-fetch-site"}
)
"""Any of these, and of those that begin as above, says that there is somebody in between: a proxy, or a browser that
acts for somebody's page."""
_PAIR: Final = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=([^\s;,"]+|"(?:[^"\\]|\\.)*")\s*(;|,|$)')
_ESCAPED: Final = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the border saw of a request."""

    remote: str
    """The address of the caller, as far as that can be known."""
    scheme: str
    host: str
    """Host and port as the caller named us, in lower case and without the scheme's own port; "" when that makes none.
    """


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy says about the request that it got."""

    address: str
    scheme: str = ""
    host: str = ""


class Proxies:
    """The networks whose word counts."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def remote(self, peer: str, headers: CIMultiDictProxy[str]) -> str:
        """The address of the caller behind the connection from `peer`."""
        return self._hop(peer, headers).address if self._trusted else peer

    def seen(self, peer: str, headers: CIMultiDictProxy[str], scheme: str = "http") -> Seen:
        """What is known of a request that came from `peer` by `scheme`."""
        hop = self._hop(peer, headers) if self._trusted else Hop(peer)
        scheme = hop.scheme or scheme
        return Seen(hop.address, scheme, host_of(hop.host or headers.get("Host", ""), scheme))

    def local(self, peer: str, headers: CIMultiDictProxy[str], *, current: bool) -> bool:
        """Whether the caller is on this machine, and nobody is in between.

        Somebody in between makes it not local, whoever that is and whatever it says: a proxy on this machine must not
        lend its place to its clients, nor a browser to the pages it shows. A trusted proxy is never a caller. Proxies
        that add no header are told by what they do instead: they pass on the name that the outside calls us by, or
        speak HTTP/1.0 (then it is not `current`). Whoever is here calls us `localhost` or by a loopback address.
        """
        address = _address(peer)
        if address is None or not address.is_loopback or not current or self._trusts(peer):
            return False
        if any(name.lower() in _BETWEEN or name.lower().startswith(_FORWARDED) for name in headers):
            return False
        host = host_of(headers.get("Host", ""), "http")
        named = _address(host)
        return host.partition(":")[0] == "localhost" if named is None else named.is_loopback

    def _hop(self, peer: str, headers: CIMultiDictProxy[str]) -> Hop:
        """The last word of a trusted hop; with none, the connection's own address."""
        own = Hop(peer)
        if not self._trusts(peer):
            return own
        tellers = [told for told in (_x_forwarded(headers), _forwarded(headers)) if told]
        found = [self._vouched(own, hops) for hops in tellers]
        if not found or any(each.address != found[0].address for each in found):
            return own
        return found[0]

    def _vouched(self, own: Hop, hops: list[Hop]) -> Hop:
        vouched = own
        for hop in reversed(hops):
            vouched = Hop(hop.address or vouched.address, hop.scheme or vouched.scheme, hop.host or vouched.host)
            if not self._trusts(hop.address):  # the caller; or "unknown", or nonsense, and then nobody vouches further
                break
        return vouched

    def _trusts(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._trusted)


def _x_forwarded(headers: CIMultiDictProxy[str]) -> list[Hop]:
    """What X-Forwarded-For, -Proto and -Host say, one hop per address; of a long chain the end.

    Where there are as many protocols or hosts as addresses, each belongs to its address; otherwise the last one, which
    the nearest proxy wrote, is everybody's.
    """
    addresses = _listed(headers, "X-Forwarded-For")
    schemes, hosts = _listed(headers, "X-Forwarded-Proto"), _listed(headers, "X-Forwarded-Host")
    if not addresses and (schemes or hosts):
        addresses = [""]
    return [
        _hop_of(address, _at(schemes, place, len(addresses)), _at(hosts, place, len(addresses)))
        for place, address in [*enumerate(addresses)][-MAX_HOPS:]
    ]


def _listed(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    """The values of a header that may come as a list, as several headers, or both."""
    return [word.strip() for line in headers.getall(name, ()) for word in line.split(",")]


def _at(values: list[str], place: int, count: int) -> str:
    if not values:
        return ""
    return values[place] if len(values) == count else values[-1]


def _forwarded(headers: CIMultiDictProxy[str]) -> list[Hop]:
    """What Forwarded says, one hop per element, of a long chain the end; what is not well-formed says nothing."""
    elements: list[dict[str, str]] = []
    for line in headers.getall("Forwarded", ()):
        pairs: dict[str, str] = {}
        at = 0
        while at < len(line):
            match = _PAIR.match(line, at)
            if match is None:
                return []
            pairs[match[1].lower()] = _unquoted(match[2])
            at = match.end()
            if match[3] != ";":
                elements.append(pairs)
                pairs = {}
    return [_hop_of(each.get("for", ""), each.get("proto", ""), each.get("host", "")) for each in elements[-MAX_HOPS:]]


def _unquoted(text: str) -> str:
    return _ESCAPED.sub(r"\1", text[1:-1]) if text.startswith('"') else text


def _hop_of(address: str, scheme: str, host: str) -> Hop:
    """A hop, with whatever of scheme and host makes sense."""
    scheme = scheme.lower() if scheme.lower() in DEFAULT_PORTS else ""
    known = _address(address)
    return Hop("" if known is None else str(known), scheme, host if host_of(host, scheme or "http") else "")


def _address(text: str) -> Address | None:
    """The IP address in `text`, with or without port and brackets (RFC 7239 section 6); None when there is none."""
    return _parsed(text) if len(text) <= LONGEST_ADDRESS else None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    if text.startswith("["):
        text, closed, _ = text[1:].partition("]")
        if not closed:
            return None
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])  # a zone means something on its own machine only
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address

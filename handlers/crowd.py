"""Who is connected, and whether one more may come in.

Two caps: one for all, one for each address. When all places are taken, a newcomer whose address holds fewer than the
greediest one gets the place of an idle connection of that address: so one greedy client cannot keep the others out.
"""

import ipaddress
from typing import Protocol

from handlers.heads import Refusal
from handlers.limits import Limits

LOCAL = ""
"""Every unix socket's peer. It has no cap of its own: whoever reaches the socket was let in by the file system."""


class Member(Protocol):
    """One open connection."""

    @property
    def peer(self) -> str:
        """The address it comes from, as `peer_of` has it."""

    @property
    def idle(self) -> bool:
        """Whether no request is in progress on it."""

    def force_close(self) -> None:
        """Close it now."""


def peer_of(peername: object) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 one, as one customer gets that many."""
    if not isinstance(peername, tuple) or not peername:
        return LOCAL
    try:
        address = ipaddress.ip_address(str(peername[0]).partition("%")[0])
    except ValueError:
        return LOCAL
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_address(int(address) >> 64 << 64)) + "/64"
        address = address.ipv4_mapped
    return str(address)


class Crowd:
    """The open connections by address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._members: dict[str, set[Member]] = {}
        self.count = 0

    def enter(self, member: Member) -> Refusal | None:
        """Count `member` in; or the reason why it may not stay."""
        theirs = self._members.get(member.peer, set())
        if member.peer != LOCAL and len(theirs) >= self._limits.connections_per_peer:
            return Refusal(429, "too many connections from this address")
        if self.count >= self._limits.connections and not self._make_room(len(theirs)):
            return Refusal(503, "too many connections")
        self._members.setdefault(member.peer, set()).add(member)
        self.count += 1
        return None

    def leave(self, member: Member) -> None:
        """Count `member` out, if it was counted in."""
        theirs = self._members.get(member.peer)
        if theirs is None or member not in theirs:
            return
        theirs.remove(member)
        self.count -= 1
        if not theirs:
            del self._members[member.peer]

    def _make_room(self, held: int) -> bool:
        """Close an idle connection of the address that has most, if that is more than the newcomer will have."""
        greediest = max(self._members.values(), key=len, default=set())
        if len(greediest) <= held + 1:
            return False
        idle = next((member for member in greediest if member.idle), None)
        if idle is None:
            return False
        self.leave(idle)
        idle.force_close()
        return True

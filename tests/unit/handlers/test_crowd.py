"""Who may come in: caps for all and for each address, and a place for those who have few."""

import pytest

from handlers.crowd import LOCAL, Crowd, peer_of
from handlers.heads import Refusal
from handlers.limits import Limits


class Guest:
    def __init__(self, peer: str, *, idle: bool = True) -> None:
        self.peer = peer
        self.idle = idle
        self.closed = False

    def force_close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("peername", "peer"),
    [
        (("192.0.2.1", 4711), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 4711, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9", 4711, 0, 0), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.1", 4711, 0, 0), "192.0.2.1"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80::/64"),
        ("", LOCAL),
        (None, LOCAL),
        (("not an address", 1), LOCAL),
    ],
)
def test_a_peer_is_an_address_or_the_network_that_one_customer_has(peername: object, peer: str) -> None:
    assert peer_of(peername) == peer


def test_the_cap_of_an_address_holds_for_that_address_alone() -> None:
    crowd = Crowd(Limits(connections_per_peer=2))
    guests = [Guest("a"), Guest("a")]
    assert [crowd.enter(guest) for guest in guests] == [None, None]
    refused = crowd.enter(Guest("a"))
    assert isinstance(refused, Refusal)
    assert refused.status == 429
    assert crowd.enter(Guest("b")) is None
    crowd.leave(guests[0])
    assert crowd.enter(Guest("a")) is None
    assert crowd.count == 3


def test_unix_sockets_have_no_cap_of_their_own() -> None:
    crowd = Crowd(Limits(connections_per_peer=1, connections=5))
    assert [crowd.enter(Guest(LOCAL)) for _ in range(5)] == [None] * 5


def test_the_greediest_address_makes_room_for_one_that_has_less() -> None:
    crowd = Crowd(Limits(connections=4))
    greedy = [Guest("greedy", idle=number == 2) for number in range(3)]
    for guest in (*greedy, Guest("other")):
        assert crowd.enter(guest) is None
    assert crowd.enter(Guest("new")) is None
    assert [guest.closed for guest in greedy] == [False, False, True]
    crowd.leave(greedy[2])  # the loss of the connection tells again
    assert crowd.count == 4


def test_nobody_makes_room_for_one_who_has_as_many() -> None:
    crowd = Crowd(Limits(connections=4))
    guests = [Guest("a"), Guest("a"), Guest("b"), Guest("b")]
    for guest in guests:
        assert crowd.enter(guest) is None
    refused = crowd.enter(Guest("a"))
    assert isinstance(refused, Refusal)
    assert refused.status == 503
    assert not any(guest.closed for guest in guests)


def test_requests_in_progress_are_not_given_up_for_a_newcomer() -> None:
    crowd = Crowd(Limits(connections=2))
    busy = [Guest("a", idle=False), Guest("a", idle=False)]
    for guest in busy:
        assert crowd.enter(guest) is None
    refused = crowd.enter(Guest("b"))
    assert isinstance(refused, Refusal)
    assert refused.status == 503


def test_leaving_without_having_entered_changes_nothing() -> None:
    crowd = Crowd(Limits())
    crowd.leave(Guest("a"))
    assert crowd.count == 0

"""Who is believed about where a request came from, and what it came to (M11: signed hosts are those of the outside)."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from handlers.forwarded import MAX_HOPS, Proxies, Seen

PROXY, CALLER = "10.0.0.1", "192.0.2.7"
NOBODY = Proxies()
TRUSTING = Proxies([ip_network("10.0.0.0/8"), ip_network("::1/128"), ip_network("127.0.0.0/8")])


def headers(*fields: tuple[str, str], host: str = "registry:5000") -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict([("Host", host), *fields]))


def seen(*fields: tuple[str, str], peer: str = PROXY, proxies: Proxies = TRUSTING) -> Seen:
    found = proxies.seen(peer, headers(*fields))
    assert proxies.remote(peer, headers(*fields)) == found.remote
    return found


def test_without_trusted_proxies_only_the_connection_counts() -> None:
    told = (
        ("X-Forwarded-For", CALLER),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("Forwarded", "for=1.1.1.1"),
    )
    assert seen(*told, proxies=Proxies()) == Seen(PROXY, "http", "registry:5000")


def test_a_forwarder_that_is_not_trusted_is_the_caller() -> None:
    assert seen(("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Host", "evil"), peer=CALLER).remote == CALLER
    assert seen(("Forwarded", "for=1.1.1.1;host=evil;proto=https"), peer=CALLER) == Seen(
        CALLER, "http", "registry:5000"
    )


@pytest.mark.parametrize(
    "told",
    [
        [("X-Forwarded-For", CALLER), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "Registry.Example.org:443")],
        [("Forwarded", f"for={CALLER};proto=https;host=registry.example.org")],
        [("Forwarded", f'For="{CALLER}:4711" ; Proto=HTTPS; host="registry.example.org:443"')],
        [
            ("x-forwarded-for", f"{CALLER}:4711"),
            ("Forwarded", f"for={CALLER};proto=https;host=registry.example.org"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "registry.example.org"),
        ],
    ],
)
def test_a_trusted_proxy_says_who_asked_and_what_for(told: list[tuple[str, str]]) -> None:
    assert seen(*told) == Seen(CALLER, "https", "registry.example.org")


def test_addresses_count_from_the_right_up_to_the_first_that_is_not_trusted() -> None:
    for told in (
        [("X-Forwarded-For", f"1.1.1.1, {CALLER}, 10.0.0.3"), ("X-Forwarded-For", "10.0.0.2")],
        [("Forwarded", f"for=1.1.1.1, for={CALLER};proto=https"), ("Forwarded", "for=10.0.0.2")],
    ):
        assert seen(*told).remote == CALLER


def test_when_all_are_trusted_the_first_one_asked() -> None:
    assert seen(("X-Forwarded-For", "10.0.0.4, 10.0.0.3")).remote == "10.0.0.4"


@pytest.mark.parametrize(
    "word", ["unknown", "_hidden", "", "1.2.3.4.5", "999.1.1.1", "registry", "[::1", "a:b:c", "1.1.1.1:x:y"]
)
def test_behind_a_word_that_is_no_address_nobody_vouches_for_anything(word: str) -> None:
    assert seen(("X-Forwarded-For", f"{CALLER}, {word}, 10.0.0.2")).remote == "10.0.0.2"
    assert seen(("X-Forwarded-For", f"{CALLER}, {word}")).remote == PROXY


@pytest.mark.parametrize(
    "line",
    [
        "for",
        "for=1.1.1.1;;",
        'for="1.1.1.1',
        "for=1.1.1.1,,",
        "=1.1.1.1",
        "for=1.1.1.1 for=2.2.2.2",
        "for: 1.1.1.1",
        "\x00",
    ],
)
def test_a_forwarded_header_that_is_not_well_formed_says_nothing(line: str) -> None:
    assert seen(("Forwarded", line)) == Seen(PROXY, "http", "registry:5000")


def test_when_the_two_spellings_differ_neither_counts() -> None:
    """A proxy passes on the one it does not know as the client wrote it."""
    told = ("X-Forwarded-For", CALLER), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=1.1.1.1;host=evil")
    assert seen(*told) == Seen(PROXY, "http", "registry:5000")


@pytest.mark.parametrize("host", ["evil/path", "evil@good", "a b", "a..b", "h:99999", "h:", "[::1", "", "x" * 300, "ĥ"])
def test_a_host_that_is_none_is_not_taken_from_anybody(host: str) -> None:
    assert seen(("X-Forwarded-For", CALLER), ("X-Forwarded-Host", host)).host == "registry:5000"
    assert Proxies().seen(CALLER, headers(host=host)).host == ""


def test_the_port_of_the_scheme_is_not_part_of_a_host() -> None:
    """Clients leave it away, and a signature must name what they send."""
    assert Proxies().seen(CALLER, headers(host="Registry:80")).host == "registry"
    assert Proxies().seen(CALLER, headers(host="registry:443")).host == "registry:443"
    assert Proxies().seen(CALLER, headers(host="[FD00::1]:80")).host == "[fd00::1]"
    assert seen(("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "registry:443")).host == "registry"


def test_a_proxy_that_says_no_address_may_say_the_rest() -> None:
    assert seen(("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "out")) == Seen(PROXY, "https", "out")
    assert seen(("Forwarded", "proto=https;host=out")) == Seen(PROXY, "https", "out")
    assert seen(("X-Forwarded-Proto", "gopher")).scheme == "http"


def test_of_several_proxies_each_may_say_its_own_or_the_last_one_says_all() -> None:
    each = ("X-Forwarded-Proto", "https, http"), ("X-Forwarded-Host", "out, in")
    assert seen(("X-Forwarded-For", f"{CALLER}, 10.0.0.2"), *each) == Seen(CALLER, "https", "out")
    one = ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "out")
    assert seen(("X-Forwarded-For", f"1.1.1.1, {CALLER}, 10.0.0.2"), *one) == Seen(CALLER, "https", "out")


def test_an_address_in_the_clothes_of_another_family_is_the_same() -> None:
    assert seen(("X-Forwarded-For", "::ffff:10.0.0.9, ::ffff:10.0.0.2"), peer="::ffff:10.0.0.1").remote == "10.0.0.9"
    assert seen(("Forwarded", 'for="[2001:db8::1]:1234"'), peer="::1").remote == "2001:db8::1"


def test_a_long_chain_is_read_to_a_limit() -> None:
    chain = ", ".join(["10.0.0.5"] * 10_000 + ["10.0.0.6"] * (MAX_HOPS - 1) + ["10.0.0.7"])
    assert seen(("X-Forwarded-For", chain)).remote == "10.0.0.6"


def local(
    peer: str, *fields: tuple[str, str], host: str = "127.0.0.1:5000", proxies: Proxies = NOBODY, current: bool = True
) -> bool:
    return proxies.local(peer, headers(*fields, host=host), current=current)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_a_caller_on_this_machine_is_local_as_long_as_nobody_is_in_between(peer: str) -> None:
    """H151, T06: what a proxy on this machine passes on does not come from this machine."""
    assert local(peer)
    for name in ("X-Forwarded-For", "x-forwarded-port", "Forwarded", "X-Real-IP", "VIA", "Origin", "CF-Connecting-IP"):
        assert not local(peer, (name, "127.0.0.1"))
    assert not local(peer, ("Sec-Fetch-Site", "cross-site"))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:5000"])
def test_who_is_here_calls_us_by_a_name_of_this_machine(host: str) -> None:
    """T06."""
    assert local("127.0.0.1", host=host)


@pytest.mark.parametrize(
    "host", ["registry.example.org", "localhost.example.org", "10.0.0.1:5000", "", "127.0.0.1.nip.io", "[::]", "::1"]
)
def test_a_proxy_that_adds_no_header_is_told_by_the_name_it_passes_on(host: str) -> None:
    """T06, H151: so does a page whose own name was pointed at this machine."""
    assert not local("127.0.0.1", host=host)


def test_a_proxy_that_adds_no_header_is_told_by_its_old_protocol() -> None:
    """T06: what nginx does when it is told nothing but where to pass on to."""
    assert not local("127.0.0.1", current=False)


def test_a_trusted_proxy_is_never_a_caller() -> None:
    """T06: one that forgot its headers lends nobody its place."""
    assert not local("127.0.0.1", proxies=TRUSTING)
    assert not local("::1", host="localhost", proxies=TRUSTING)


def test_an_address_is_all_that_is_taken_of_one() -> None:
    assert seen(("X-Forwarded-For", "fe80::1%eth0\x1b[31m")).remote == "fe80::1"
    assert seen(("X-Forwarded-For", "fe80::1%" + "x" * 100)).remote == PROXY


@pytest.mark.parametrize("peer", ["", "10.0.0.1", "128.0.0.1", "::", "::ffff:10.0.0.1", "fe80::1%eth0", "localhost"])
def test_any_other_caller_is_not_local(peer: str) -> None:
    assert not local(peer)


WORDS = st.sampled_from(
    ["for", "=", ";", ",", '"', "\\", " ", "1.1.1.1", "10.0.0.2", "[::1]", ":80", "proto", "host", "x"]
)


@given(st.lists(WORDS, max_size=20).map("".join), st.lists(WORDS, max_size=20).map("".join), st.text(max_size=10))
def test_whatever_is_forwarded_an_address_and_a_host_come_of_it(forwarded: str, chain: str, host: str) -> None:
    found = seen(("Forwarded", forwarded), ("X-Forwarded-For", chain), ("X-Forwarded-Host", host))
    assert found.scheme in ("http", "https")
    assert Proxies().seen(found.remote, headers(host=found.host)).host in (found.host, found.host.removesuffix(":80"))

"""Where heads end and what they say, however the bytes are cut."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from handlers.heads import Framing, Head, HeadCollector, Refusal

LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    LOOP.close()


def collector(max_bytes: int = 4096) -> HeadCollector:
    def make() -> HttpRequestParser:
        return HttpRequestParser(BaseProtocol(LOOP), LOOP, 65536, max_line_size=1000, auto_decompress=False)

    return HeadCollector(make, max_bytes=max_bytes, max_line_bytes=1000)


def feed(heads: HeadCollector, *pieces: bytes) -> Head | Refusal | None:
    """Feed until something comes of it; nothing may be left over then."""
    found: Head | Refusal | None = None
    for number, piece in enumerate(pieces):
        found = heads.feed(piece)
        if found is not None:
            assert number == len(pieces) - 1
    return found


PUT = b"PUT /v2/x HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n"
GET = b"GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n"


def test_a_head_is_told_from_what_lies_behind_it() -> None:
    found = feed(collector(), PUT + b"hello\r\n\r\n")
    assert isinstance(found, Head)
    assert (found.message.method, found.framing.length_bytes, found.end) == ("PUT", 12, len(PUT))


@given(st.lists(st.integers(min_value=1, max_value=len(PUT + GET) - 1), max_size=8), st.booleans())
def test_heads_are_found_however_they_are_cut(cuts: list[int], blank: bool) -> None:
    heads = collector()
    stream = (b"\r\n" if blank else b"") + GET + PUT + GET
    edges = sorted({0, len(stream), *cuts})
    methods = []
    for start, stop in pairwise(edges):
        at = 0
        while at < stop - start:
            found = heads.feed(stream[start:stop], at)
            assert not isinstance(found, Refusal)
            if found is None:
                break
            methods.append(found.message.method)
            at = found.end
    assert methods == ["GET", "PUT", "GET"]
    assert heads.pending_bytes == 0


@given(st.binary(max_size=200), st.lists(st.integers(min_value=1, max_value=199), max_size=5))
def test_nonsense_never_raises(nonsense: bytes, cuts: list[int]) -> None:
    heads = collector()
    edges = sorted({0, len(nonsense), *(cut for cut in cuts if cut < len(nonsense))})
    for start, stop in pairwise(edges):
        if heads.feed(nonsense[start:stop]) is not None:
            break


@given(st.text(alphabet="0123456789+-_, x\t", max_size=22))
def test_a_length_is_digits_and_nothing_else(text: str) -> None:
    found = feed(collector(), b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %s\r\n\r\n" % text.encode())
    spelled = text.strip(" \t")
    if spelled.isdigit() and int(spelled) < 2**63:
        assert isinstance(found, Head)
        assert found.framing == Framing(int(spelled), expects_continue=False)
    else:
        assert isinstance(found, Refusal)
        assert found.status == 400


@pytest.mark.parametrize(
    ("expect", "version", "waits"),
    [
        (b"100-continue", b"1.1", True),
        (b"100-Continue", b"1.1", True),
        (b"100-continue", b"1.0", False),
        (b"tea", b"1.1", False),
    ],
)
def test_only_who_can_be_told_to_go_on_waits_for_it(expect: bytes, version: bytes, waits: bool) -> None:
    head = b"PUT / HTTP/%s\r\nHost: h\r\nContent-Length: 5\r\nExpect: %s\r\n\r\n" % (version, expect)
    found = feed(collector(), head)
    assert isinstance(found, Head)
    assert found.framing.expects_continue == waits


def test_the_limit_counts_all_pieces_and_starts_anew_for_each_head() -> None:
    heads = collector(max_bytes=200)
    for _ in range(5):
        assert isinstance(heads.feed(GET), Head)
    assert heads.feed(GET[:-2]) is None
    found = feed(heads, b"A: " + b"a" * 100 + b"\r\n", b"B: " + b"b" * 100)
    assert isinstance(found, Refusal)
    assert found.status == 431


@pytest.mark.parametrize("piece", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), b"\x16\x03\x01"])
def test_a_tls_hello_is_told_from_other_nonsense(piece: bytes) -> None:
    """Who tries TLS first (skopeo with --tls-verify=false) leaves one in the access log at each push."""
    assert feed(collector(), piece) == Refusal(400, "a TLS hello on a port without TLS")
    other = feed(collector(), b"\x17" + piece + b"\r\n\r\n")
    assert other == Refusal(400, "the request is not well-formed HTTP/1.1")

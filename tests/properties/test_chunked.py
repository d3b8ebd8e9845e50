"""The chunked decoder, however its input is cut, and whatever nonsense it is fed."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from handlers.chunked import (
    FREE_CHUNKS,
    MAX_LINE_BYTES,
    MAX_TRAILER_BYTES,
    MIN_MEAN_BYTES,
    ChunkedDecoder,
    State,
)

EXTENSION = st.sampled_from([b"", b";a", b";a=b", b' ;q="x;y"', b";" + b"e" * 200])
TRAILER = st.sampled_from([b"A: b\r\n", b"Digest: sha-256=abc\r\n", b"x-empty:\r\n"])


@st.composite
def encoded(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body and one of the ways to spell it in chunks."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=300), max_size=12))
    spelled = b""
    for chunk in chunks:
        size = draw(st.sampled_from([b"%x", b"%X", b"000%x"])) % len(chunk)
        spelled += size + draw(EXTENSION) + b"\r\n" + chunk + b"\r\n"
    spelled += draw(st.sampled_from([b"0", b"000"])) + draw(EXTENSION) + b"\r\n"
    spelled += b"".join(draw(st.lists(TRAILER, max_size=3))) + b"\r\n"
    return b"".join(chunks), spelled


CUTS = st.lists(st.integers(min_value=0, max_value=5000), max_size=30)


def pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    return [whole[start:stop] for start, stop in pairwise(edges)]


def decode(parts: list[bytes]) -> tuple[bytes, bytes, State]:
    """The data, what was left behind the end, and the last state."""
    decoder = ChunkedDecoder()
    data, rest = b"", b""
    for part in parts:
        if decoder.state in (State.ENDED, State.BROKEN):
            rest += part
            continue
        buffer = bytearray(part + b"behind the received bytes")
        count, taken = decoder.feed(memoryview(buffer), len(part))
        assert 0 <= count <= taken <= len(part)
        assert buffer[len(part) :] == b"behind the received bytes"
        data += buffer[:count]
        rest += part[taken:]
    return data, rest, decoder.state


@given(encoded(), st.binary(max_size=50), CUTS)
def test_a_body_is_decoded_and_what_follows_is_left_alone(
    body: tuple[bytes, bytes], next_: bytes, cuts: list[int]
) -> None:
    content, spelled = body
    assert decode(pieces(spelled + next_, cuts)) == (content, next_, State.ENDED)


@given(encoded())
def test_single_bytes_are_as_good_as_the_whole(body: tuple[bytes, bytes]) -> None:
    content, spelled = body
    assert decode([bytes([byte]) for byte in spelled]) == (content, b"", State.ENDED)


@given(encoded(), st.data())
def test_a_body_that_is_cut_short_never_looks_whole(body: tuple[bytes, bytes], data: st.DataObject) -> None:
    content, spelled = body
    short = spelled[: data.draw(st.integers(min_value=0, max_value=len(spelled) - 1))]
    decoded, rest, state = decode([short] if short else [])
    assert state not in (State.ENDED, State.BROKEN)
    assert rest == b""
    assert content.startswith(decoded)


@given(st.binary(max_size=400), CUTS)
def test_nonsense_never_raises_and_reads_the_same_however_it_is_cut(nonsense: bytes, cuts: list[int]) -> None:
    assert decode([nonsense] if nonsense else []) == decode(pieces(nonsense, cuts))


SIZES = (
    st.text(alphabet="0123456789abcdefABCDEFxX+-_ \t\n\r.;g", max_size=20)
    .map(str.encode)
    .filter(lambda size: b"\r\n" not in size)
)


@given(SIZES)
@example(b"+5")
@example(b"-5")
@example(b"0x5")
@example(b"1_0")
@example(b" 5")
@example(b"5 ")
@example(b"")
@example(b"f" * 16)
@example(b"5\n")
def test_a_size_is_hex_digits_and_nothing_else(size: bytes) -> None:
    digits, semicolon, _ = size.partition(b";")
    spelled = digits.rstrip(b" \t") if semicolon else digits
    fine = 0 < len(spelled) <= 15 and all(byte in b"0123456789abcdefABCDEF" for byte in spelled)
    fine = fine and b"\r" not in size and b"\n" not in size
    _, _, state = decode([size + b"\r\n"])
    assert (state in (State.DATA, State.TRAILER)) == fine
    assert fine or state is State.BROKEN


def test_lines_and_trailers_have_a_limit() -> None:
    long = b"5;" + b"e" * MAX_LINE_BYTES
    assert decode([long])[2] is State.BROKEN
    assert decode([bytes([byte]) for byte in long + b"ee"])[2] is State.BROKEN
    line = b"a: " + b"b" * 1000 + b"\r\n"
    assert decode([b"0\r\n" + line * (MAX_TRAILER_BYTES // 1000 + 1)])[2] is State.BROKEN
    assert decode([b"0\r\n" + line * 10 + b"\r\n"])[2] is State.ENDED


def test_line_feeds_alone_end_nothing() -> None:
    for broken in (b"5\nhello\r\n", b"5\r\nhello\n", b"0\n\n", b"0\r\n\n", b"0\r\nA: b\n\r\n", b"5\r\nhelloX\r\n"):
        assert decode([broken])[2] is State.BROKEN
        assert decode([bytes([byte]) for byte in broken])[2] is State.BROKEN


def chunks_of(size: int, count: int) -> bytes:
    return (b"%x\r\n" % size + b"x" * size + b"\r\n") * count


def test_a_body_of_nothing_but_tiny_chunks_is_refused() -> None:
    end = b"0\r\n\r\n"
    line_by_line = chunks_of(1, FREE_CHUNKS)
    assert decode([line_by_line + end]) == (b"x" * FREE_CHUNKS, b"", State.ENDED)
    for parts in ([line_by_line, chunks_of(1, 1000)], [bytes([byte]) for byte in line_by_line + chunks_of(1, 1)]):
        data, _, state = decode(parts)
        assert (data, state) == (b"x" * FREE_CHUNKS, State.BROKEN)  # what came before is kept


def test_many_chunks_of_a_fair_mean_are_fine() -> None:
    end = b"0\r\n\r\n"
    assert decode([chunks_of(MIN_MEAN_BYTES, 2 * FREE_CHUNKS) + end])[2] is State.ENDED
    assert decode([chunks_of(MIN_MEAN_BYTES - 1, 2 * FREE_CHUNKS) + end])[2] is State.BROKEN
    mixed = chunks_of(2 * MIN_MEAN_BYTES, FREE_CHUNKS) + chunks_of(1, FREE_CHUNKS)
    assert decode([mixed + end])[2] is State.ENDED


def test_a_size_line_is_read_without_a_look_at_what_follows() -> None:
    """A chunk of 16 bytes must not cost what reading a line of 4 KiB costs."""
    body = memoryview(bytearray(chunks_of(MIN_MEAN_BYTES, 8000)))

    class Looked(ChunkedDecoder):
        __slots__ = ("long_way",)

        def __init__(self) -> None:
            super().__init__()
            self.long_way = 0

        def _read_line(self, piece: memoryview, source: int, length: int) -> int:
            self.long_way += 1
            return super()._read_line(piece, source, length)

    decoder = Looked()
    assert decoder.feed(body, len(body)) == (MIN_MEAN_BYTES * 8000, len(body))
    assert decoder.long_way <= 1  # the CRLF at the very end, whose size line has not come

"""The decoder of chunked transfer encoding (RFC 9112 section 7.1): state and bytes only, no connection and no thread.

It works in place: the data of the chunks is moved together at the begin of the buffer it was received in, so that a
mebibyte of 32 KiB chunks costs one hash call and one write instead of 32 of each.

Strict where laxness would let two readers of one message disagree about where it ends (request smuggling): sizes are
1 to 15 hex digits and nothing else, every line ends in CRLF, chunk extensions and trailers are skipped but bounded.

Each chunk costs the interpreter two microseconds, during which nobody else is served. So a body of nothing but tiny
chunks is refused.
"""

import re
from enum import Enum
from typing import Final

MAX_LINE_BYTES: Final = 4096
"""A size line with its extensions. None of the clients sends extensions at all."""
MAX_TRAILER_BYTES: Final = 16 * 1024
"""All trailer lines together."""
FREE_CHUNKS: Final = 4096
"""So many chunks may be as small as they like: a program that sends line by line."""
MIN_MEAN_BYTES: Final = 64
"""Of more chunks, the mean must reach this. Clients send chunks of 1 KiB (few) to 32 KiB (most) and above."""

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?", re.ASCII)
_PLAIN_SIZE: Final = {
    False: re.compile(rb"([0-9A-Fa-f]{1,15})\r\n", re.ASCII),
    True: re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n", re.ASCII),
}
"""A size line as all clients send it, by whether the end of a chunk's data stands before it."""
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*", re.ASCII)


class State(Enum):
    """What the decoder expects next."""

    SIZE = "a size line"
    DATA = "chunk data"
    DATA_END = "the CRLF behind chunk data"
    TRAILER = "a trailer line, or the empty line that ends the body"
    ENDED = "nothing: the body is complete"
    BROKEN = "nothing: the framing is malformed"


class ChunkedDecoder:
    """Follows one chunked body through any number of pieces, however they are cut."""

    __slots__ = ("_chunks", "_data_bytes", "_left", "_line", "_trailer_bytes", "state")

    def __init__(self) -> None:
        self.state = State.SIZE
        self._left = 0
        """Bytes of the current chunk's data that are still to come."""
        self._line = b""
        """The begin of a line whose end has not come yet."""
        self._trailer_bytes = 0
        self._chunks = 0
        self._data_bytes = 0
        """What the size lines of those have announced."""

    def feed(self, piece: memoryview, length: int) -> tuple[int, int]:
        """Decode the first `length` bytes of `piece`, which is writable.

        Returns:
            How many bytes of data now stand at the begin of `piece`, and how many of the `length` were taken. Fewer
            are taken than offered only when the body has ended (what follows is the next request) or is broken.
        """
        source = put = 0
        while source < length and self.state not in (State.ENDED, State.BROKEN):
            if self.state is State.DATA:
                count = min(self._left, length - source)
                if put != source:
                    piece[put : put + count] = piece[source : source + count]
                put += count
                source += count
                self._left -= count
                if not self._left:
                    self.state = State.DATA_END
            else:
                source = self._read_plain_size(piece, source, length) or self._read_line(piece, source, length)
        return put, source

    def _read_plain_size(self, piece: memoryview, source: int, length: int) -> int:
        """Take a size line that is here as a whole and has no extension; 0 when the next line is not such a one."""
        if self.state is State.TRAILER or self._line:
            return 0
        match = _PLAIN_SIZE[self.state is State.DATA_END].match(piece, source, length)
        if match is None:
            return 0
        self.state = self._after_size(int(match[1], 16))
        return match.end()

    def _read_line(self, piece: memoryview, source: int, length: int) -> int:
        """Take up to and including the next line end; returns the index behind what was taken."""
        room = (0 if self.state is State.DATA_END else MAX_LINE_BYTES) + 2 - len(self._line)
        window = bytes(piece[source : min(length, source + room)])
        end = window.find(b"\n")
        if end < 0:
            self._line += window
            if len(window) == room:
                self.state = State.BROKEN
            return source + len(window)
        line = self._line + window[: end + 1]
        self._line = b""
        self.state = self._after_line(line[:-2]) if line.endswith(b"\r\n") else State.BROKEN
        return source + end + 1

    def _after_line(self, line: bytes) -> State:
        if self.state is State.SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                return State.BROKEN
            return self._after_size(int(match[1], 16))
        if self.state is State.DATA_END:
            return State.BROKEN if line else State.SIZE
        if not line:
            return State.ENDED
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_TRAILER_BYTES or _TRAILER.fullmatch(line) is None:
            return State.BROKEN
        return State.TRAILER

    def _after_size(self, size_bytes: int) -> State:
        """A chunk of `size_bytes` begins."""
        if not size_bytes:
            return State.TRAILER
        if self._chunks >= FREE_CHUNKS and self._data_bytes < MIN_MEAN_BYTES * self._chunks:
            return State.BROKEN
        self._chunks += 1
        self._data_bytes += size_bytes
        self._left = size_bytes
        return State.DATA

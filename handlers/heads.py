"""Where a request head ends, and what it says about the body behind it; bytes in, values out, no I/O.

aiohttp's parser is given exactly one head and never a byte of a body. Where two readers of the same bytes could
disagree about the end of a body (a proxy before us and we), the request is refused and the connection closed
(RFC 9112 sections 6.1, 6.3 and 11.2).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs
from aiohttp.http import HttpRequestParser, HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HEAD_END: Final = b"\r\n\r\n"
_LINE_ENDS: Final = re.compile(rb"[\r\n]*")
"""Empty lines before a request are to be ignored (RFC 9112 section 2.2)."""
MAX_LENGTH_BYTES: Final = 2**63 - 1
_LENGTH: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is answered before any handler sees it; the connection is closed after it."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Framing:
    """How the body behind a head is delimited."""

    length_bytes: int | None
    """None: chunked."""
    expects_continue: bool


NO_BODY: Final = Framing(0, expects_continue=False)
_MALFORMED: Final = Refusal(400, "the request is not well-formed HTTP/1.1")
_TLS_HELLO: Final = b"\x16\x03"
_TLS: Final = Refusal(400, "a TLS hello on a port without TLS")
_MANY_HEADERS: Final = Refusal(431, "there are too many headers")


@dataclass(frozen=True, slots=True)
class Head:
    """A complete request head that may be acted upon."""

    message: RawRequestMessage
    framing: Framing
    end: int
    """Where it ended in the bytes that completed it. Behind lies the begin of the body, or of the next request."""


class HeadCollector:
    """Finds the end of one head after the other, however the bytes are cut."""

    __slots__ = ("_line_bytes", "_make_parser", "_max_bytes", "_max_line_bytes", "_parser", "_tail", "pending_bytes")

    def __init__(self, make_parser: Callable[[], HttpRequestParser], *, max_bytes: int, max_line_bytes: int) -> None:
        self._make_parser = make_parser
        self._parser = make_parser()
        self._max_bytes = max_bytes
        self._max_line_bytes = max_line_bytes
        self._tail = b""
        """The last bytes of an incomplete head: the empty line may be cut."""
        self._line_bytes: int | None = None
        """The length of the request line, once its end has come in a head that is not whole."""
        self.pending_bytes = 0
        """How much of an incomplete head has come."""

    def feed(self, data: bytes, at: int = 0) -> Head | Refusal | None:
        """Go on with `data` from `at`: the head that ends there, why it is refused, or None when more is needed.

        After a head, the next call begins behind its body; after a refusal there is none. What lies behind the head is
        not copied: who sends a thousand requests at a time must not make us move their bytes a thousand times.
        """
        if not self.pending_bytes:
            at = _LINE_ENDS.match(data, at).end()  # type: ignore[union-attr]  # it matches the empty string
            if at == len(data):
                return None
            if data.startswith(_TLS_HELLO, at):
                return _TLS
        end = self._find_end(data, at)
        fed = data[at:end] if end else data[at:]
        try:
            if self.pending_bytes + len(fed) > self._max_bytes:
                return self._too_long(fed)
            messages, upgrade, _ = self._parser.feed_data(fed)
        except LineTooLong:
            return self._too_long(fed)
        except HttpProcessingError as error:
            return _MANY_HEADERS if "Too many headers" in error.message else _MALFORMED
        except ValueError:  # yarl, about a target that is no URL
            return _MALFORMED
        if len(messages) != (end > 0):
            return _MALFORMED  # the parser and we disagree about where the head ends
        if messages:
            return self._complete(messages[0][0], end, upgrade=upgrade)
        self._note_line(fed)
        self._tail = (self._tail + fed)[-3:]
        self.pending_bytes += len(fed)
        return None

    def _find_end(self, data: bytes, at: int) -> int:
        """Where the head ends; 0 when it does not end in `data`."""
        if self._tail:  # the empty line may have been cut
            found = (self._tail + data[at : at + 3]).find(HEAD_END)
            if found >= 0:
                return at + found + len(HEAD_END) - len(self._tail)
        found = data.find(HEAD_END, at)
        return found + len(HEAD_END) if found >= 0 else 0

    def _note_line(self, fed: bytes) -> None:
        if self._line_bytes is None:
            end = (self._tail + fed).find(b"\r\n")
            if end >= 0:
                self._line_bytes = self.pending_bytes - len(self._tail) + end

    def _too_long(self, fed: bytes) -> Refusal:
        self._note_line(fed)
        if self._line_bytes is None or self._line_bytes > self._max_line_bytes:
            return Refusal(414, "the request line is too long")
        return Refusal(431, "the headers are too long")

    def _complete(self, message: RawRequestMessage, end: int, *, upgrade: bool) -> Head | Refusal:
        self._tail = b""
        self._line_bytes = None
        self.pending_bytes = 0
        framing = framing_of(message)
        if isinstance(framing, Refusal):
            return framing
        if upgrade or framing is not NO_BODY:
            self._parser = self._make_parser()  # the old one waits for the body, or believes to be done with HTTP
        return Head(message, framing, end)


def framing_of(message: RawRequestMessage) -> Framing | Refusal:
    """The framing that the head `message` announces, or why this request is not accepted."""
    headers = message.headers
    if message.version not in (HttpVersion10, HttpVersion11):
        return Refusal(400, "this server speaks HTTP/1.1")
    if message.method == hdrs.METH_CONNECT:
        return Refusal(405, "this is not a proxy")
    if hdrs.TRANSFER_ENCODING in headers:
        return _chunked(message)
    length = headers.get(hdrs.CONTENT_LENGTH)
    if length is None:
        return NO_BODY
    if len(headers.getall(hdrs.CONTENT_LENGTH)) > 1 or not _LENGTH.fullmatch(length):
        return Refusal(400, "Content-Length is not one count of bytes")
    length_bytes = int(length)
    if length_bytes > MAX_LENGTH_BYTES:
        return Refusal(400, "Content-Length is beyond any size")
    return Framing(length_bytes, _expects_continue(message)) if length_bytes else NO_BODY


def _chunked(message: RawRequestMessage) -> Framing | Refusal:
    codings = message.headers.getall(hdrs.TRANSFER_ENCODING)
    if hdrs.CONTENT_LENGTH in message.headers:
        return Refusal(400, "Content-Length and Transfer-Encoding exclude each other")
    if len(codings) > 1 or codings[0].lower() != "chunked" or message.version != HttpVersion11:
        return Refusal(400, "the only transfer coding understood here is chunked, in HTTP/1.1")
    return Framing(None, _expects_continue(message))


def _expects_continue(message: RawRequestMessage) -> bool:
    return message.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and message.version == HttpVersion11


def no_message() -> RawRequestMessage:
    """Stands for a request that was not understood, so that its refusal takes the way of every answer."""
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    return RawRequestMessage("UNKNOWN", "/", HttpVersion11, headers, (), True, None, False, False, URL("/"))

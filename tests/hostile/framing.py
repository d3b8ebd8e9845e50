"""Bytes on the wire where two readers might disagree, or a careless one would hang; one row each.

`{upload}` in them is the path of a fresh session. What is refused ends the connection: nothing that was sent behind it
may be taken for a request (each row that could smuggle has a request behind it).
"""

from tests.hostile.rows import Raw

BEHIND = b"GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"
"""A request that must not be answered."""


def patch(headers: bytes, body: bytes = b"") -> bytes:
    """A PATCH of a fresh session."""
    return b"PATCH {upload} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + headers + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    """A chunked PATCH."""
    return patch(b"Transfer-Encoding: chunked", body)


_LENGTHS = {
    "plus": b"+5",
    "minus": b"-5",
    "hex": b"0x5",
    "fraction": b"5.0",
    "exponent": b"5e0",
    "underscore": b"0_5",
    "list": b"5, 5",
    "list of others": b"5, 6",
    "semicolon": b"5;x",
    "space inside": b"5 5",
    "word": b"five",
    "empty": b"",
    "NUL": b"5\0",
    "Arabic digit": "٥".encode(),
    "latin-1 digit": b"\xb2",
    "beyond 64 bits": b"18446744073709551621",
    "beyond 63 bits": b"9223372036854775808",
    "beyond any number": b"9" * 100,
    "vertical tab": b"\x0b5",
}
LENGTHS = [
    *(
        Raw(f"Content-Length, {what}", patch(b"Content-Length: " + text, b"hello" + BEHIND), (400,))
        for what, text in _LENGTHS.items()
    ),
    Raw("two equal lengths", patch(b"Content-Length: 5\r\nContent-Length: 5", b"hello" + BEHIND), (400,)),
    Raw("two lengths", patch(b"Content-Length: 5\r\nContent-Length: 50", b"hello" + BEHIND), (400,)),
    Raw("two lengths of two spellings", patch(b"Content-Length: 5\r\ncontent-length: 6", b"hello" + BEHIND), (400,)),
    Raw("a length larger than a file can be", patch(b"Content-Length: 9223372036854775807", b"hello"), (413, 507)),
]

_CODINGS = {
    "gzip": b"gzip",
    "chunked, then gzip": b"chunked, gzip",
    "gzip, then chunked": b"gzip, chunked",
    "chunked twice": b"chunked, chunked",
    "identity": b"identity",
    "almost chunked": b"xchunked",
    "chunked with a parameter": b"chunked;q=1",
    "chunked in quotes": b'"chunked"',
    "vertical tab": b"\x0bchunked",
    "NUL": b"chunked\0",
    "empty": b"",
    "comma": b",chunked",
    "latin-1": b"chunked\xff",
}
_WHOLE = b"5\r\nhello\r\n0\r\n\r\n"
CODINGS = [
    *(
        Raw(f"Transfer-Encoding, {what}", patch(b"Transfer-Encoding: " + text, _WHOLE + BEHIND), (400,))
        for what, text in _CODINGS.items()
    ),
    Raw("chunked and a length", patch(b"Content-Length: 5\r\nTransfer-Encoding: chunked", _WHOLE + BEHIND), (400,)),
    Raw("a length, chunked behind", patch(b"Transfer-Encoding: chunked\r\nContent-Length: 4", _WHOLE + BEHIND), (400,)),
    Raw(
        "chunked and no length at all",
        patch(b"Content-Length: 0\r\nTransfer-Encoding: chunked", _WHOLE + BEHIND),
        (400,),
    ),
    Raw("two codings", patch(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", _WHOLE + BEHIND), (400,)),
    Raw("a space before the colon", patch(b"Transfer-Encoding : chunked", _WHOLE + BEHIND), (400,)),
    Raw("a tab before the colon", patch(b"Content-Length\t: 5", b"hello" + BEHIND), (400,)),
    Raw("a folded coding", patch(b"Transfer-Encoding:\r\n chunked", _WHOLE + BEHIND), (400,)),
    Raw("a folded length", patch(b"Content-Length: 5\r\n 0", b"hello" + BEHIND), (400,)),
    Raw("hidden behind a bare line end", patch(b"X-A: b\nTransfer-Encoding: chunked", _WHOLE + BEHIND), (400,)),
    Raw("hidden behind a bare return", patch(b"X-A: b\rTransfer-Encoding: chunked", _WHOLE + BEHIND), (400,)),
    Raw(
        "chunked in HTTP/1.0",
        b"PATCH {upload} HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + _WHOLE + BEHIND,
        (400,),
    ),
]

_SIZES = {
    "hex prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "plus hex": b"+1f\r\nhello\r\n0\r\n\r\n",
    "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"1_0\r\nhello\r\n0\r\n\r\n",
    "space first": b" 5\r\nhello\r\n0\r\n\r\n",
    "space inside": b"5 5\r\nhello\r\n0\r\n\r\n",
    "empty": b"\r\nhello\r\n0\r\n\r\n",
    "extension alone": b";a=b\r\nhello\r\n0\r\n\r\n",
    "no hex": b"g\r\nhello\r\n0\r\n\r\n",
    "fraction": b"5.0\r\nhello\r\n0\r\n\r\n",
    "NUL": b"5\0\r\nhello\r\n0\r\n\r\n",
    "Arabic digit": "٥\r\nhello\r\n0\r\n\r\n".encode(),
    "17 digits": b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    "16 zeros and a digit": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    "100,000 digits": b"0" * 100_000 + b"5\r\nhello\r\n0\r\n\r\n",
    "a bare line end": b"5\nhello\r\n0\r\n\r\n",
    "a bare return": b"5\rhello\r\n0\r\n\r\n",
    "bare line ends throughout": b"5\nhello\n0\n\n",
    "a bare line end behind the data": b"5\r\nhello\n0\r\n\r\n",
    "data longer than said": b"5\r\nhello world\r\n0\r\n\r\n",
    "data shorter than said": b"b\r\nhello\r\n0\r\n\r\n" + b"x" * 10,
    "an extension of 5000 bytes": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "an extension with NUL": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
    "a bare line end in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a trailer that is none": b"5\r\nhello\r\n0\r\nno trailer\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n",
    "a trailer with NUL": b"5\r\nhello\r\n0\r\nA: \0\r\n\r\n",
    "a trailer of 5000 bytes": b"5\r\nhello\r\n0\r\nA: " + b"b" * 5000 + b"\r\n\r\n",
    "a thousand trailers": b"5\r\nhello\r\n0\r\n" + b"A-Trailer: some text\r\n" * 1000 + b"\r\n",
    "a bare line end as the end": b"5\r\nhello\r\n0\r\n\n",
}
CHUNKS = [Raw(f"chunk, {what}", chunked(body + BEHIND), (400,)) for what, body in _SIZES.items()]

GOOD = [
    Raw("chunk, an extension", chunked(b"5;a=b\r\nhello\r\n0;c\r\n\r\n"), (202,)),
    Raw("chunk, a trailer", chunked(b"5\r\nhello\r\n0\r\nContent-Length: 50\r\nHost: y\r\n\r\n"), (202,)),
    Raw("chunk, upper case and zeros", chunked(b"000A\r\nhelloworld\r\n00\r\n\r\n"), (202,)),
    Raw("a hundred chunks of a byte", chunked(b"1\r\na\r\n" * 100 + b"0\r\n\r\n"), (202,)),
    Raw("20,000 chunks of a byte", chunked(b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n"), (400,)),
    Raw("chunked in capitals", patch(b"Transfer-Encoding: CHUNKED", _WHOLE), (202,)),
    Raw("empty lines first", b"\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (200,)),
    Raw("HTTP/1.0", b"GET /v2/ HTTP/1.0\r\n\r\n", (200,)),
    Raw("the absolute form", b"GET http://x/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", (200,)),
    Raw("an expectation met", patch(b"Expect: 100-continue\r\nContent-Length: 5", b"hello"), (202,)),
]


def line(text: bytes) -> bytes:
    """A request with that first line."""
    return text + b"\r\nHost: x\r\nConnection: close\r\n\r\n"


LINES = [
    *(
        Raw(f"version {version.decode('latin-1')}", line(b"GET /v2/ " + version) + BEHIND, (400, 505))
        for version in (
            b"HTTP/0.9",
            b"HTTP/2.0",
            b"HTTP/3",
            b"HTTP/11",
            b"HTTP/1.",
            b"HTTP/1.10",
            b"HTTP/1,1",
            b"HTTP/1.1 x",
            b"http/1.1",
            b"HTTPS/1.1",
            b"HTP/1.1",
            b"ICE/1.0",
            b"HTTP/-1.1",
            b"HTTP/1.\xb9",
            b"/1.1",
        )
    ),
    Raw("no version", b"GET /v2/\r\n\r\n", (400, 505)),
    Raw("no target", line(b"GET HTTP/1.1"), (400,)),
    Raw("no method", line(b"/v2/ HTTP/1.1"), (400,)),
    Raw("a method alone", line(b"GET"), (400,)),
    Raw("two spaces", line(b"GET  /v2/no/such/tags/list HTTP/1.1"), (400, 404)),
    Raw("RTSP", line(b"GET /v2/no/such/tags/list RTSP/1.0"), (400, 404)),
    Raw("tabs", line(b"GET\t/v2/\tHTTP/1.1"), (400,)),
    Raw("a space in the target", line(b"GET /v2/ x HTTP/1.1"), (400,)),
    Raw("a NUL in the target", line(b"GET /v2/\0 HTTP/1.1"), (400,)),
    Raw("a tab in the target", line(b"GET /v2/\tx HTTP/1.1"), (400,)),
    Raw("a bare return in the target", line(b"GET /v2/\rx HTTP/1.1"), (400,)),
    Raw("a NUL in the method", line(b"G\0ET /v2/ HTTP/1.1"), (400,)),
    Raw("a method in latin-1", line(b"G\xe4T /v2/ HTTP/1.1"), (400,)),
    Raw("a method with a colon", line(b"GET: /v2/ HTTP/1.1"), (400,)),
    Raw("a method of 10,000 characters", line(b"G" * 10_000 + b" /v2/ HTTP/1.1"), (400, 414)),
    Raw("a target in latin-1", line(b"GET /v2/l\xe4b/tags/list HTTP/1.1"), (400,)),
    Raw("a target in UTF-8", line("GET /v2/läb/tags/list HTTP/1.1".encode()), (400,)),
    Raw("a target without a slash", line(b"GET v2/ HTTP/1.1"), (400, 404)),
    Raw("a star", line(b"GET * HTTP/1.1"), (400, 404)),
    Raw("all options", line(b"OPTIONS * HTTP/1.1"), (400, 404, 405)),
    Raw("a backslash", line(b"GET \\v2\\ HTTP/1.1"), (400, 404)),
    Raw("a fragment", line(b"GET /v2/no/such/tags/list#x HTTP/1.1"), (400, 404)),
    Raw("an absolute form without a host", line(b"GET http:///v2/no HTTP/1.1"), (400, 404)),
    Raw("an absolute form with a password", line(b"GET http://u:p@x/v2/no HTTP/1.1"), (400, 404)),
    Raw("an absolute form of another scheme", line(b"GET file:///etc/passwd HTTP/1.1"), (400, 404)),
    Raw("an absolute form with a wrong port", line(b"GET http://x:99999999/v2/ HTTP/1.1"), (400,)),
    Raw("an absolute form with half an address", line(b"GET http://[::1/v2/ HTTP/1.1"), (400,)),
    Raw("a tunnel", line(b"CONNECT x:443 HTTP/1.1"), (400, 405)),
    Raw("a tunnel to a path", line(b"CONNECT /v2/ HTTP/1.1"), (400, 405)),
    Raw("no Host", b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n", (400,)),
    Raw("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    Raw("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60 + b"\r\n\r\n", (400,)),
    Raw("an SSH greeting", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", (400,)),
    Raw("a status line", b"HTTP/1.1 200 OK\r\n\r\n", (400,)),
    Raw("a header without a colon", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", (400,)),
    Raw("a header first", b"Host: x\r\n\r\n", (400,)),
    Raw("a folded first header", b"GET /v2/ HTTP/1.1\r\n Host: x\r\n\r\n", (400,)),
    Raw("bare line ends", b"GET /v2/ HTTP/1.1\nHost: x\nConnection: close\n\n\r\n\r\n", (400,)),
    Raw("64 KiB without a line end", b"A" * 65_536, (414,)),
    Raw("an endless header", b"GET /v2/ HTTP/1.1\r\nHost: " + b"x" * 100_000, (431,)),
    Raw("an endless list of headers", b"GET /v2/ HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, (431,)),
    Raw("nothing but line ends", b"\r\n" * 100, (0,)),
    Raw("a NUL", b"\0\r\n\r\n", (400,)),
]

TRUNCATED = [
    Raw("half a request line", b"GET /v", (0, 400)),
    Raw("half a head", b"GET /v2/ HTTP/1.1\r\nHost", (0, 400)),
    Raw("half a counted body", patch(b"Content-Length: 100", b"hello"), (0, 400)),
    Raw("no body at all", patch(b"Content-Length: 100"), (0, 400)),
    Raw("half a chunk", chunked(b"64\r\nhello"), (0, 400)),
    Raw("half a chunk's size", chunked(b"6"), (0, 400)),
    Raw("no last chunk", chunked(b"5\r\nhello\r\n"), (0, 400)),
    Raw("half a last chunk", chunked(b"5\r\nhello\r\n0\r\n"), (0, 400)),
    Raw(
        "half a manifest",
        b"PUT /v2/lab/tools/manifests/half HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{",
        (0, 400),
    ),
    Raw(
        "half a chunked manifest",
        b"PUT /v2/lab/tools/manifests/half HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        (0, 400),
    ),
    Raw(
        "half a body with everything",
        b"POST /v2/lab/tools/blobs/uploads/?digest={absent} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nx",
        (0, 400),
    ),
    Raw(
        "half a closing body",
        b"PUT {upload}?digest={absent} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nx",
        (0, 400),
    ),
]

ROWS = [*LENGTHS, *CODINGS, *CHUNKS, *GOOD, *LINES]

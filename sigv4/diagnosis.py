"""Why a signature is not the right one: which single element, if it were another one, would make it so (G19).

Each suspicion is a request with one element changed. The first whose signature is the one that came tells what the
client signed, or what was changed on the way. This costs a few dozen hashes, and only a request that is refused anyway.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from sigv4.canonical import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Pair,
    canonical_request,
    decoded,
    encoded,
    encoded_path,
    joined,
)
from sigv4.places import DEFAULT_PORTS
from sigv4.presigning import PAYLOAD_ARGUMENT, PREFIX, SESSION_ARGUMENT
from sigv4.refusals import Element, shown
from sigv4.signing import Credentials, Scope, signature

METHODS: Final = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")
SUSPECTS: Final = 16
"""How many arguments are suspected of having been added later."""


@dataclass(frozen=True, slots=True)
class Elements:
    """Everything that a signature covers; `uri` and `query` are canonical.

    `headers` are the signed ones apart from `host`, in the order of names.
    """

    method: str
    uri: str
    query: str
    host: str
    headers: tuple[Pair, ...]
    payload: str
    stamp: str
    scope: Scope

    def canonical(self) -> str:
        """The canonical request."""
        signed = sorted([("host", self.host), *self.headers])
        return canonical_request(self.method, self.uri, self.query, signed, self.payload)

    def signed_by(self, secret: str, expected: str) -> bool:
        """Whether `expected` is their signature; takes the same time however much of it is right."""
        return compare_digest(signature(secret, self.stamp, self.scope, self.canonical()), expected)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a refused request had besides.

    Where it says it went, its path as it came, its arguments decoded, what it said of its body, and all keys of ours.
    """

    hosts: Sequence[str]
    raw_path: str
    arguments: Sequence[Pair]
    sent_payload: str | None
    others: Mapping[str, Credentials]


Suspicion = tuple[Element, str, Elements]


def diagnose(true: Elements, expected: str, credentials: Credentials, around: Circumstances) -> tuple[Element, str]:
    """The element that differs, and a sentence about it for the log."""
    for element, told, changed in _suspicions(true, around):
        if changed.signed_by(credentials.secret, expected):
            return element, told
    for key_id, other in around.others.items():
        if key_id != credentials.key_id and true.signed_by(other.secret, expected):
            return Element.KEY, "signed with another key of ours than it names"
    told = sha256(true.canonical().encode()).hexdigest()
    return Element.UNEXPLAINED, (
        "no single element explains it: a wrong secret, or several things changed; "
        f"our canonical request hashes to {told}"
    )


def _suspicions(true: Elements, around: Circumstances) -> Iterator[Suspicion]:
    yield from _hosts(true, around)
    for method in METHODS:
        if method != true.method:
            yield Element.METHOD, f"signed for {method}, used for {shown(true.method)}", replace(true, method=method)
    yield from _payloads(true, around)
    yield from _paths(true, around)
    yield from _arguments(true, around)


def _hosts(true: Elements, around: Circumstances) -> Iterator[Suspicion]:
    """Another host: the one the request went to, one without its port, or with the default one."""
    bare = [host.rpartition(":")[0] for host in around.hosts if host.rpartition(":")[2].isdigit()]
    ports = [f"{host}:{port}" for host in (true.host, *around.hosts, *bare) for port in DEFAULT_PORTS.values()]
    for host in dict.fromkeys([*around.hosts, *bare, *ports]):
        if host != true.host:
            yield Element.HOST, f"signed for {shown(host)}, expected {shown(true.host)}", replace(true, host=host)


def _payloads(true: Elements, around: Circumstances) -> Iterator[Suspicion]:
    """Another payload line: the story that G19 tells."""
    lines = (UNSIGNED_PAYLOAD, EMPTY_SHA256, around.sent_payload)
    said = dict(around.arguments).get(PAYLOAD_ARGUMENT)
    for line in dict.fromkeys((*lines, said)):
        if line is not None and line != true.payload:
            told = f"signed with {shown(line)}, but x-amz-content-sha256 makes it {shown(true.payload)}"
            yield Element.PAYLOAD, told, replace(true, payload=line)


def _paths(true: Elements, around: Circumstances) -> Iterator[Suspicion]:
    """Another spelling of the same path."""
    once, raw = true.uri, around.raw_path
    spellings = {
        "as it came, not encoded our way": raw,
        "encoded twice": encoded_path(once),
        "encoded twice from what came": encoded_path(raw),
        "not encoded at all": decoded(once),
        "normalised": posixpath.normpath(once),
        "with a slash at its end": f"{once}/",
        "without its first segment, as in virtual-host style": "/" + once[1:].partition("/")[2],
    }
    for told, uri in spellings.items():
        if uri != once:
            yield Element.PATH, f"signed {told}", replace(true, uri=uri)


def _arguments(true: Elements, around: Circumstances) -> Iterator[Suspicion]:
    """One argument more than was signed, or a blank that was a plus."""
    ready = [(encoded(name), encoded(value)) for name, value in around.arguments]
    for index, (name, value) in enumerate(around.arguments[:SUSPECTS]):
        rest = ready[:index] + ready[index + 1 :]
        if name == SESSION_ARGUMENT:
            told = "the session token was added after signing"
            yield Element.SESSION, told, replace(true, query=joined(rest))
        elif not name.lower().startswith(PREFIX):
            told = f"the argument {shown(name)} was added after signing"
            yield Element.QUERY, told, replace(true, query=joined(rest))
            if " " in value:
                plus = (ready[index][0], encoded(value.replace(" ", "+")))
                told = f"a plus in the argument {shown(name)} came without its encoding"
                yield Element.QUERY, told, replace(true, query=joined([*rest, plus]))

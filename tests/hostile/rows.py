"""What a row of the corpus is: one hostile request and the status that is right for it.

In targets, `{blob}`, `{manifest}` and `{absent}` are digests (the first two are in `lab/tools`), `{upload}` is the path
of a fresh upload session. Text becomes bytes by latin-1, so that a row can say any byte.
"""

from typing import NamedTuple

Headers = tuple[tuple[str, str], ...]


class Row(NamedTuple):
    """A request that is well-formed as far as its parts allow."""

    name: str
    method: str
    target: str
    status: int
    code: str = ""
    """The code the error must have; "" is any."""
    headers: Headers = ()
    body: bytes = b""


class Raw(NamedTuple):
    """Bytes as they go over the wire; `statuses` may hold 0: closed without an answer."""

    name: str
    sent: bytes
    statuses: tuple[int, ...]


def zeros(count: int) -> str:
    """That many zeros."""
    return "0" * count


def quoted(text: str) -> str:
    """Every byte of the UTF-8 of `text` as a percent escape."""
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))

"""A body whose SHA-256 was announced, and is therefore checked while it passes on its way."""

import hashlib
import hmac

from multipart.bodies import Body, Ending, Poured, Sink
from multipart.refusals import PartMismatch


class AnnouncedBody:
    """Another body, of which a hash is known beforehand (`multipart.bodies.Body`)."""

    def __init__(self, body: Body, sha256: str) -> None:
        self._body = body
        self._sha256 = sha256

    @property
    def length_bytes(self) -> int | None:
        """That of the body."""
        return self._body.length_bytes

    async def pour(self, sink: Sink, *, limit_bytes: int | None = None) -> Poured:
        """Receive the body to its end into `sink`.

        Raises:
            PartMismatch: it came whole and hashes to something else; the sink has got all of it by then.
        """
        passing = _Hashing(sink)
        poured = await self._body.pour(passing, limit_bytes=limit_bytes)
        if poured.ending is Ending.WHOLE and not hmac.compare_digest(passing.sha256, self._sha256):
            raise PartMismatch("the body does not have the SHA-256 that its URL was signed for")
        return poured

    def stop(self) -> None:
        """Stop the body."""
        self._body.stop()


class _Hashing:
    """A sink that hashes what it passes on to another one."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: memoryview) -> None:
        """Pass `data` on."""
        self._hash.update(data)
        self._sink.write(data)

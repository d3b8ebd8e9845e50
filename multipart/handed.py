"""Which URLs of the object store were handed out for a session, and what they prove about the bytes sent to them.

A URL that was signed with a hash lets the store refuse every other body. So when all that were ever handed out for a
part were signed with the same hash, what the store has there needs no proof (s3-sigv4 4, option a) - unless the part
came through us as well. After a restart nobody knows which there were, and nothing is taken for proven.
"""

from typing import Final

NATIVE: Final = "native"
"""Clients put parts into the object store themselves."""
BUFFERED: Final = "buffered"
"""Parts come through us."""


class Handed:
    """The URLs of one session."""

    def __init__(self) -> None:
        self.until_s = 0.0
        """When the last of them ends; what they reach has to stay until then."""
        self._hashes: dict[int, set[str | None]] = {}
        self._came_to_us: dict[int, set[str]] = {}
        self._forgotten = False

    def note(self, number: int, sha256: str | None, expires_at_s: float) -> None:
        """One was handed out for that part; `sha256` is what the store sees to, None if it sees to nothing."""
        self._hashes.setdefault(number, set()).add(sha256)
        self.until_s = max(self.until_s, expires_at_s)

    def received(self, number: int, sha256: str) -> None:
        """The part came through us, with that hash: no URL says anything about what was sent on to the store."""
        self._came_to_us.setdefault(number, set()).add(sha256)

    def forget(self) -> None:
        """An earlier process may have handed out others."""
        self._forgotten = True

    def none(self, number: int) -> bool:
        """Whether nothing can have come by any: what is there came through us."""
        return not self._forgotten and number not in self._hashes

    def prove(self, number: int, sha256: str) -> bool:
        """Whether nothing else than bytes with that hash can have come by them, nor through us."""
        ours = self._came_to_us.get(number, set())
        return not self._forgotten and self._hashes.get(number) == {sha256} and ours <= {sha256}

"""The keys that a store knows us by: where they come from, which pair works now, and how they change (M17, G04).

    1. the pair of the settings                      AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
    2. the pairs of a file, read when it changes     lines with those names, and with the names of 3
    3. the second pair of the settings               S3_OTHER_ACCESS_KEY_ID, S3_OTHER_SECRET_ACCESS_KEY
    4. nothing of these: the standard AWS files and services, renewed as they say

A store that refuses one pair is asked with the next; whichever works stays the first from then on. So the keys of a
store are changed without a stop: put the new pair beside the old one, change the store, take the old one away.
"""

import logging
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from backends.base import in_thread
from backends.s3.errors import CallFailed, StoreRefused, Trouble
from backends.s3.settings import StoreSettings
from model.clock import Clock
from sigv4.signing import Credentials

log: Final = logging.getLogger("holdfast.store")

LOOK_AGAIN_S: Final = 5.0
"""How often a file of keys is looked at; one that the store refuses is looked at right then."""
FIRST: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
SECOND: Final = ("S3_OTHER_ACCESS_KEY_ID", "S3_OTHER_SECRET_ACCESS_KEY")
TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a variable
_REMEDY: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or S3_CREDENTIALS_FILE"

Seen = tuple[int, int, int]
"""What tells one state of a file from another: its inode, its length, when it was written."""


class Keys:
    """All pairs there are, the one that works first."""

    def __init__(self, settings: StoreSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._pairs: list[Credentials] = []
        self._in_file: list[Credentials] = []
        self._seen: Seen | None = None
        self._unread = ""
        """Why the file cannot be read any more, as the log was told."""
        self._look_at_s = 0.0
        self._chain: Any = None

    def now(self) -> Credentials:
        """The pair that works, as far as we know."""
        return self._pairs[0]

    async def open(self) -> None:
        """Find the pairs. Raises: StoreRefused when there are none."""
        if not self._settings.key_id and self._settings.credentials_file is None:
            self._chain = await _standard_chain()
        await self._look_again()
        if not self._pairs:
            raise StoreRefused("there are no keys for the store", _REMEDY)

    async def current(self) -> Credentials:
        """The pair to use now; looks at the file, and renews borrowed keys, when it is time for that."""
        if self._chain is not None or self._clock.monotonic_s() >= self._look_at_s:
            await self._look_again()
        return self.now()

    async def other_than(self, refused: Collection[Credentials]) -> Credentials | None:
        """A pair that was not refused, from now on the first; None: there is none, also after looking again."""
        if self.now() in refused:
            await self._look_again()
        for pair in self._pairs:
            if pair not in refused:
                self._pairs = [pair, *(each for each in self._pairs if each != pair)]
                return pair
        return None

    async def _look_again(self) -> None:
        """Make `_pairs` what it should be now; keeps the one that works first, if it is still there."""
        self._look_at_s = self._clock.monotonic_s() + LOOK_AGAIN_S
        if self._chain is not None:
            await self._renew()
            return
        path = self._settings.credentials_file
        if path is not None:
            await self._read(path)
        said = self._settings
        first = _pair(said.key_id, said.secret, said.session_token or None)
        found = [first, *self._in_file, _pair(said.other_key_id, said.other_secret)]
        pairs = list(dict.fromkeys(pair for pair in found if pair is not None))
        if self._pairs and self._pairs[0] in pairs:
            pairs.remove(self._pairs[0])
            pairs.insert(0, self._pairs[0])
        self._pairs = pairs or self._pairs

    async def _read(self, path: Path) -> None:
        """Read the file if it is another one than last time; what cannot be read changes nothing but the first time."""
        try:
            seen, text, mode = await in_thread(None, lambda: _text_if_new(path, self._seen))
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or "not a text file"
            if self._seen is None:
                raise StoreRefused(f"the file of keys {path} cannot be read: {reason}", _REMEDY) from error
            if reason != self._unread:
                self._unread = reason
                log.warning("the file of keys %s cannot be read any more: %s; the keys stay as they were", path, reason)
            return
        self._unread = ""
        if text is None:
            return
        if mode & stat.S_IROTH:
            log.warning(
                "everybody on this machine may read the file of keys %s; take that away: chmod 600 %s", path, path
            )
        pairs = pairs_of(text)
        if not pairs:
            lacks = lacking(text)
            if self._seen is None:
                raise StoreRefused(f"the file of keys {path} has {lacks}", f"write {FIRST[0]}=... and {FIRST[1]}=...")
            log.warning("the file of keys %s has %s; the keys stay as they were", path, lacks)
        if pairs and self._seen is not None:
            log.info("the file of keys %s was read again: %s", path, ", ".join(pair.key_id for pair in pairs))
        if pairs:
            self._in_file = pairs
        self._seen = seen

    async def _renew(self) -> None:
        """Ask the standard chain; it renews what is about to end."""
        try:
            frozen = await self._chain.get_frozen_credentials()
        except Exception as error:  # whatever its parsers make of what a credential_process or a service says
            if not self._pairs:
                raise StoreRefused(f"the keys for the store cannot be had: {error}", _REMEDY) from error
            raise CallFailed(Trouble.WRONG_KEY, f"the keys for the store cannot be renewed: {error}") from error
        ends = getattr(self._chain, "_expiry_time", None)  # no public name has it, and URLs must not outlive it
        self._pairs = [
            Credentials(frozen.access_key, frozen.secret_key, frozen.token, ends.timestamp() if ends else None)
        ]


def lacking(text: str) -> str:
    """What is wrong with a file of keys that has no pair in it: `no AWS_SECRET_ACCESS_KEY in it`."""
    said = _said(text)
    for pair in (FIRST, SECOND):
        missing = [name for name in pair if not said.get(name)]
        if len(missing) == 1:
            return f"no {missing[0]} in it"
    return "no keys in it"


def _said(text: str) -> dict[str, str]:
    said: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            said[name.strip()] = value.strip().strip("\"'")
    return said


def pairs_of(text: str) -> list[Credentials]:
    """The pairs in a file of keys: `NAME=value` lines, as a shell or an environment file has them."""
    said = _said(text)
    first = _pair(said.get(FIRST[0], ""), said.get(FIRST[1], ""), said.get(TOKEN) or None)
    second = _pair(said.get(SECOND[0], ""), said.get(SECOND[1], ""))
    return [pair for pair in (first, second) if pair is not None]


def for_botocore(keys: Keys) -> Any:
    """What a session of aiobotocore takes for its provider of credentials: always the pair that works now."""
    from aiobotocore.credentials import AioCredentials
    from botocore.credentials import ReadOnlyCredentials

    class Current(AioCredentials):  # type: ignore[misc]  # it comes without types
        """Credentials that are looked up at each signature."""

        async def get_frozen_credentials(self) -> Any:
            """The pair that works now."""
            pair = keys.now()
            return ReadOnlyCredentials(pair.key_id, pair.secret, pair.token)

    class Provider:
        """The only place that the session looks at."""

        async def load_credentials(self) -> Any:
            """The credentials above."""
            return Current(keys.now().key_id, keys.now().secret)

    return Provider()


async def _standard_chain() -> Any:
    """The credentials of the standard AWS files and services. Raises: StoreRefused when there are none."""
    from aiobotocore.session import get_session

    try:
        found = await get_session().get_credentials()
    except Exception as error:  # as when they are renewed
        raise StoreRefused(f"the standard AWS credentials cannot be used: {error}", _REMEDY) from error
    if found is None:
        raise StoreRefused("there are no keys for the store, not even standard AWS credentials", _REMEDY)
    return found


def _pair(key_id: str, secret: str, token: str | None = None) -> Credentials | None:
    return Credentials(key_id, secret, token) if key_id and secret else None


def _text_if_new(path: Path, seen: Seen | None) -> tuple[Seen, str | None, int]:
    """The text of a file, or None when it is the one seen before, and its mode. Blocks."""
    status = path.stat()
    now = (status.st_ino, status.st_size, status.st_mtime_ns)
    return now, None if now == seen else path.read_text(encoding="utf-8"), status.st_mode

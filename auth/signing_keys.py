"""The secrets that our own signed URLs are signed with: a file in the data folder, made when missing, rotatable.

    {"version": 1, "keys": [{"id": "hf...", "secret": "...", "made_at_s": 1, "accepted_until_s": null}, ...]}

The first key signs; it alone is accepted without an end. A key that was replaced is accepted as long as the longest
URL lives, so that a rotation breaks no transfer. They have nothing to do with the credentials of any store (s3-sigv4
1.9). A key's id stands in every URL; it is random and tells nothing.
"""

import json
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final

from auth.refusals import SigningKeysUnusable
from model.clock import Clock
from sigv4.signing import Credentials
from store.opening import sync_folder

FILE_NAME: Final = "signing-keys.json"
REVOKE_COMMAND: Final = "registry.py keys rotate --revoke"
LONGEST_URL_S: Final = 24 * 3600
MAX_KEYS: Final = 5
"""Rotated more often than URLs end: the oldest goes early."""

_VERSION: Final = 1
_LAST_S: Final = 253_402_300_799
"""The end of the year 9999: what can be told as a date."""
_PRIVATE: Final = 0o600
_MAX_BYTES: Final = 64 * 1024
_ID: Final = re.compile(r"[A-Za-z0-9]{8,64}", re.ASCII)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{40,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """One secret; `accepted_until_s` is None for the one that signs."""

    id: str
    secret: str = field(repr=False)
    made_at_s: float
    accepted_until_s: float | None = None

    @property
    def credentials(self) -> Credentials:
        """As signing takes it."""
        return Credentials(self.id, self.secret)


class SigningKeys:
    """The keys of one data folder, whose lock the caller holds; safe to ask while another thread rotates."""

    def __init__(self, path: Path, clock: Clock, keys: Sequence[Key], longest_url_s: float) -> None:
        self._path = path
        self._clock = clock
        self._longest_url_s = longest_url_s
        self._rotating = Lock()
        self._set(keys)

    @classmethod
    def open(cls, data_dir: Path, clock: Clock, *, longest_url_s: float = LONGEST_URL_S) -> "SigningKeys":
        """The keys in `data_dir`, made now when there are none yet. Blocks.

        `longest_url_s` is how long the URLs of this server live at most, and so for how long a replaced key counts.

        Raises:
            SigningKeysUnusable: the file is damaged, others may read it, or it cannot be read or written.
        """
        path = data_dir / FILE_NAME
        keys = _read(path)
        if keys is None:
            keys = [_new_key(clock.now_s())]
            try:
                _write(path, keys)
            except OSError as error:
                raise SigningKeysUnusable(
                    path, f"it cannot be written ({error.strerror})", "make room, or let this user write there"
                ) from error
        return cls(path, clock, keys, longest_url_s)

    def __repr__(self) -> str:
        return f"SigningKeys({str(self._path)!r}, {len(self._keys)} keys)"

    @property
    def current(self) -> Credentials:
        """What new URLs are signed with."""
        return self._current

    def accepted(self) -> Mapping[str, Credentials]:
        """Every key that counts now, by its id."""
        if len(self._keys) == 1:
            return self._only
        now_s = self._clock.now_s()
        return {
            key.id: key.credentials
            for key in self._keys
            if key.accepted_until_s is None or now_s < key.accepted_until_s
        }

    def former(self) -> list[Key]:
        """The replaced keys that still count, the newest first."""
        now_s = self._clock.now_s()
        return [key for key in self._keys if key.accepted_until_s is not None and now_s < key.accepted_until_s]

    def rotate(self, *, revoke: bool = False) -> Key:
        """Sign with a new key from now on, durably; the new key. Blocks.

        The old ones count as long as their URLs may live or, with `revoke`, not any more: every URL handed out so far
        ends.

        Raises:
            OSError: the file could not be written; URLs are signed and believed as before.
        """
        with self._rotating:
            now_s = self._clock.now_s()
            made = _new_key(now_s)
            keys = [made]
            if not revoke:
                current = self._keys[0]
                ended = Key(current.id, current.secret, current.made_at_s, now_s + self._longest_url_s)
                keys = [made, ended, *self.former()][:MAX_KEYS]
            _write(self._path, keys)
            self._set(keys)
            return made

    def _set(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)
        self._current = self._keys[0].credentials
        self._only: Mapping[str, Credentials] = {self._current.key_id: self._current}


def _new_key(now_s: float) -> Key:
    return Key(f"hf{secrets.token_hex(8)}", secrets.token_urlsafe(32), now_s)


def _read(path: Path) -> list[Key] | None:
    """What the file holds; None when there is none."""
    try:
        with path.open("rb") as file:
            told = os.fstat(file.fileno())
            text = file.read(_MAX_BYTES + 1) if stat.S_ISREG(told.st_mode) else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SigningKeysUnusable(path, f"it cannot be read ({error.strerror})", "let this user read it") from error
    if told.st_mode & 0o077:
        raise SigningKeysUnusable(
            path,
            f"others than its owner may use it (mode {stat.S_IMODE(told.st_mode):04o})",
            f"chmod 600 {path}; if somebody may have read it, then: {REVOKE_COMMAND}",
        )
    try:
        if len(text) > _MAX_BYTES:
            raise ValueError("too long")
        return _parsed(json.loads(text))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SigningKeysUnusable(path, "it is damaged") from None  # the cause would quote what it holds


def _parsed(document: Any) -> list[Key]:
    """The keys in a document. ValueError, KeyError or TypeError when it is none of ours."""
    if document["version"] != _VERSION:
        raise ValueError("a version that is not known")
    keys = [_key(**row) for row in document["keys"]]
    if [key.accepted_until_s is None for key in keys] != [True, *[False] * (len(keys) - 1)]:
        raise ValueError("the first key signs, and only that")
    if len({key.id for key in keys}) != len(keys):
        raise ValueError("an id twice")
    return keys


def _key(id: str, secret: str, made_at_s: float, accepted_until_s: float | None) -> Key:
    times = (made_at_s, accepted_until_s) if accepted_until_s is not None else (made_at_s,)
    if not _ID.fullmatch(id) or not _SECRET.fullmatch(secret):
        raise ValueError("not a key")
    if not all(type(each) in (int, float) and 0 <= each <= _LAST_S for each in times):
        raise ValueError("not a time")
    return Key(id, secret, made_at_s, accepted_until_s)


def _write(path: Path, keys: Sequence[Key]) -> None:
    """Put the keys in the file, whole or not at all, and past a power cut; nobody else may ever read them. OSError."""
    rows = [
        {"id": key.id, "secret": key.secret, "made_at_s": key.made_at_s, "accepted_until_s": key.accepted_until_s}
        for key in keys
    ]
    text = json.dumps({"version": _VERSION, "keys": rows}, indent=1) + "\n"
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, _PRIVATE)
        file.write(text.encode())
        file.flush()
        os.fsync(fd)
    unfinished.replace(path)
    sync_folder(path.parent)

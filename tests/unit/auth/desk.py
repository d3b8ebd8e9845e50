"""A clock that is set by hand, and a signer with keys of its own in a folder."""

from dataclasses import dataclass
from pathlib import Path

from auth.signed_urls import UrlSigner
from auth.signing_keys import FILE_NAME, SigningKeys

NOW_S = 1_795_000_000.0


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.at_s = NOW_S

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s


@dataclass
class Desk:
    """A data folder with its keys, open."""

    folder: Path
    clock: SetClock
    keys: SigningKeys
    signer: UrlSigner

    @property
    def file(self) -> Path:
        return self.folder / FILE_NAME

    def again(self) -> "Desk":
        """The same folder, opened by the next process."""
        return open_desk(self.folder, self.clock)


def open_desk(folder: Path, clock: SetClock) -> Desk:
    keys = SigningKeys.open(folder, clock)
    return Desk(folder, clock, keys, UrlSigner(keys, clock))

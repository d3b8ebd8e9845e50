"""What the models of uploads have in common: how often they run, what a client knows, and patches of a while."""

import hashlib
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings

from multipart.parts import ListedPart


def model_runs(examples: int, *, steps: int = 25) -> settings:
    """So many lives of so many steps, the same in every run; what fails is told as it came, not made smaller."""
    return settings(
        max_examples=examples,
        phases=[Phase.explicit, Phase.generate],
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


@dataclass
class Known:
    """What the client of one session knows: its blob, cut into `pieces`, and what it sent of it."""

    id: str
    target: str
    pieces: list[bytes]
    declared: bool
    held: dict[int, bytes] = field(default_factory=dict)
    """The acknowledged parts."""
    assembled: bool = False
    etags: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    """Of those that the client put into the store itself: what it put there, and what the store called that."""

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        return self.held == dict(enumerate(self.pieces, 1))

    def listed(self) -> list[ListedPart]:
        return [ListedPart(number, self.etag(number)) for number in sorted(self.held)]

    def etag(self, number: int) -> str:
        """What the client was answered for what is there now."""
        content, etag = self.etags.get(number, (None, ""))
        return etag if self.held[number] is content else hashlib.sha256(self.held[number]).hexdigest()


@dataclass
class Undone:
    """A patch that is taken back at the end of the block."""

    patch: pytest.MonkeyPatch

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self.patch.undo()

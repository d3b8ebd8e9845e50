"""Fair turns: who waits for something scarce is served by address in turn, so that many streams of one starve nobody.

Within an address it is first come first served. All clients behind a proxy are one address, and so are those of a unix
socket.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final, Generic, Protocol, TypeVar

T = TypeVar("T")

WORKING_AT_ONCE: Final = 8
"""So many turns are with the worker threads at a time; those that wait behind them are served by address."""


class Turn(Protocol):
    """Something to be done in a thread."""

    def work(self) -> None:
        """Do it; in the thread. Whoever does it tells the end to `Turns.ended`, on the loop."""

    def refused(self, error: RuntimeError) -> None:
        """There are no threads any more, and no work will be called."""


class Lines(Generic[T]):
    """A queue with a line for each address; the heads of the lines are taken in turn."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}
        """Never an empty one; the address whose turn is next comes first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, peer: str, item: T) -> None:
        """Queue `item` in the line of `peer`."""
        self._lines.setdefault(peer, deque()).append(item)
        self._count += 1

    def heads(self) -> Iterator[tuple[str, T]]:
        """The first of each line, the address whose turn is next first."""
        return ((peer, line[0]) for peer, line in self._lines.items())

    def popleft(self) -> T:
        """Take the item whose turn it is.

        Raises:
            StopIteration: there is none.
        """
        return self.pop(next(iter(self._lines)))

    def pop(self, peer: str) -> T:
        """Take the first item of the line of `peer`, which goes behind all others.

        Raises:
            KeyError: there is none.
        """
        line = self._lines.pop(peer)
        item = line.popleft()
        if line:
            self._lines[peer] = line
        self._count -= 1
        return item

    def remove(self, peer: str, item: T) -> None:
        """Take `item` out of the line of `peer`, whose turn stays.

        Raises:
            KeyError, ValueError: it is not there.
        """
        line = self._lines[peer]
        line.remove(item)
        if not line:
            del self._lines[peer]
        self._count -= 1


class Turns:
    """Gives turns of a pool of threads to addresses in turn. Used on the event loop only.

    The pool itself serves first come first served; so it is given no more than `at_once` turns at a time.
    """

    def __init__(self, workers: Executor, at_once: int = WORKING_AT_ONCE) -> None:
        self._workers = workers
        self._at_once = at_once
        self._waiting: Lines[Turn] = Lines()
        self.running = 0
        """Turns that are with the pool and have not told their end."""

    @property
    def waiting(self) -> int:
        """Turns that are not with the pool yet."""
        return len(self._waiting)

    def take(self, peer: str, turn: Turn) -> None:
        """Have `turn.work` called in a thread when it is the turn of `peer`."""
        if self.running < self._at_once:
            self._begin(turn)
        else:
            self._waiting.append(peer, turn)

    def ended(self) -> None:
        """A turn whose work was called has ended; the next begins."""
        self.running -= 1
        while self._waiting and self.running < self._at_once:
            self._begin(self._waiting.popleft())

    def _begin(self, turn: Turn) -> None:
        try:
            self._workers.submit(turn.work)
        except RuntimeError as error:  # the pool was shut down
            turn.refused(error)
        else:
            self.running += 1

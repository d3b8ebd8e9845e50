"""What the way of parts into an object store asks of their session (`multipart/part_sending.py`)."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from multipart.follower import Follower
from multipart.kept import Kept
from multipart.limits import Held
from multipart.partfiles import PartFiles
from multipart.parts import Layout
from store.uploads import UploadRow


class Sent(Protocol):
    """The session, as far as its way into the store is concerned."""

    row: UploadRow
    files: PartFiles
    held: Held
    follower: Follower
    parts: dict[int, Kept]

    @property
    def id(self) -> str:
        """The upload id."""
        ...

    @property
    def layout(self) -> Layout | None:
        """How a declared size is cut."""
        ...

    @property
    def is_native(self) -> bool:
        """Whether clients may put parts into the store themselves."""
        ...

    def part_turn(self, number: int) -> AbstractAsyncContextManager[None]:
        """One at a time for each part."""
        ...

    def part_turns(self, numbers: Iterable[int]) -> AbstractAsyncContextManager[None]:
        """The same for several parts."""
        ...

    async def drop(self, numbers: list[int]) -> None:
        """These parts are missing from now on."""
        ...

    async def remove_part_files(self, numbers: Iterable[int]) -> None:
        """Remove the parts' own files."""
        ...

    async def verify_parts(self) -> None:
        """Hash again what is not proven yet."""
        ...

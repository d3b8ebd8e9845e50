"""What is left of a session in parts after a restart: the ledger's rows against the files that are there (pure).

A row says that a part was synced; a file may be missing or short all the same, because somebody removed it, or because
a crash cut a completion short:

    while joining         <id>.data is there and part 1 is not: it is taken apart again
    after the commit's    neither is there, and the rows are a whole: the bytes may lie under their digest already;
    rename                the completion, asked again, brings them back and proves them
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multipart.partfiles import PART
from multipart.parts import Layout
from store.upload_parts import PartRow
from store.uploads import UploadRow


@dataclass(frozen=True, slots=True)
class Remains:
    """What a session has after a restart."""

    kept: Sequence[PartRow]
    lost: Sequence[int]
    """Parts whose bytes are not there; their rows go."""
    files: frozenset[str]
    """The names in the spool folder that belong to it."""
    moved_away: bool = False
    joined: bool = False
    """The whole file has to be taken apart before anything else."""


def remains(row: UploadRow, layout: Layout | None, rows: Sequence[PartRow], sizes: Mapping[str, int]) -> Remains:
    """Decide what to keep, given the sizes of all files in the spool folder."""
    data = f"{row.id}.data"
    if row.assembled_digest is not None:
        return Remains(rows, [], frozenset({data}), moved_away=data not in sizes)
    if layout is not None:
        return _of_declared(layout, rows, data, sizes)
    return _of_files(row.id, rows, data, sizes)


def _of_declared(layout: Layout, rows: Sequence[PartRow], data: str, sizes: Mapping[str, int]) -> Remains:
    size_bytes = sizes.get(data)
    if size_bytes is None:
        return _without_file(rows, moved_away=len(rows) == layout.count)
    kept: list[PartRow] = []
    lost: list[int] = []
    for part in rows:
        if layout.span(part.number).stop <= size_bytes:
            kept.append(part)
        else:
            lost.append(part.number)
    return Remains(kept, lost, frozenset({data}))


def _of_files(upload_id: str, rows: Sequence[PartRow], data: str, sizes: Mapping[str, int]) -> Remains:
    names = {part.number: f"{upload_id}{PART}{part.number}" for part in rows}
    first = next((part for part in rows if part.number == 1), None)
    joined = first is not None and names[1] not in sizes and sizes.get(data, -1) >= first.size_bytes
    whole = bool(rows) and rows[-1].number == len(rows)
    if whole and not joined and names[1] not in sizes:
        others = frozenset(name for name in names.values() if name in sizes)
        return Remains(rows, [], others, moved_away=True)
    kept: list[PartRow] = []
    lost: list[PartRow] = []
    for part in rows:
        there = joined if part.number == 1 and joined else sizes.get(names[part.number]) == part.size_bytes
        (kept if there else lost).append(part)
    files = {names[part.number] for part in kept}
    return Remains(kept, [part.number for part in lost], frozenset(files | {data} if joined else files), joined=joined)


def _without_file(rows: Sequence[PartRow], *, moved_away: bool) -> Remains:
    if moved_away:
        return Remains(rows, [], frozenset(), moved_away=True)
    return Remains([], [part.number for part in rows], frozenset())

"""What is left of a session in parts after a restart: the ledger's rows against the files that are there (pure).

A row says that a part was synced; a file may be missing or short all the same, because somebody removed it, or because
a crash cut a completion short:

    while joining         <id>.data is there and part 1 is not: it is taken apart again
    after the commit's    neither is there, and the rows are a whole: the bytes may lie under their digest already;
    rename                the completion, asked again, brings them back and proves them
    let go                a part's file is not there, and the object store has the part: there it stays
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
    trimmed: frozenset[int] = frozenset()
    """Parts of those kept that only the object store has."""


def remains(
    row: UploadRow, layout: Layout | None, rows: Sequence[PartRow], sizes: Mapping[str, int], *, afar: bool = False
) -> Remains:
    """Decide what to keep, given the sizes of all files in the spool folder.

    `layout` is that of one file for all parts; `afar`: an object store has what the rows have its ETags of.
    """
    data = f"{row.id}.data"
    if row.assembled_digest is not None and afar:
        return Remains(rows, [], frozenset(), trimmed=frozenset(part.number for part in rows))
    if row.assembled_digest is not None:
        return Remains(rows, [], frozenset({data}), moved_away=data not in sizes)
    if layout is not None:
        return _of_declared(layout, rows, data, sizes)
    return _of_files(row.id, rows, data, sizes, afar)


def _of_declared(layout: Layout, rows: Sequence[PartRow], data: str, sizes: Mapping[str, int]) -> Remains:
    size_bytes = sizes.get(data)
    if size_bytes is None:
        return _without_file(rows, moved_away=len(rows) == layout.count and not _is_elsewhere(rows))
    kept: list[PartRow] = []
    lost: list[int] = []
    for part in rows:
        if layout.span(part.number).stop <= size_bytes:
            kept.append(part)
        else:
            lost.append(part.number)
    return Remains(kept, lost, frozenset({data}))


def _of_files(upload_id: str, rows: Sequence[PartRow], data: str, sizes: Mapping[str, int], afar: bool) -> Remains:
    names = {part.number: f"{upload_id}{PART}{part.number}" for part in rows}
    there_only = (part for part in rows if afar and part.store_etag)
    trimmed = {part.number for part in there_only if sizes.get(names[part.number]) != part.size_bytes}
    first = next((part for part in rows if part.number == 1 and 1 not in trimmed), None)
    joined = first is not None and names[1] not in sizes and sizes.get(data, -1) >= first.size_bytes
    whole = bool(rows) and rows[-1].number == len(rows) and not _is_elsewhere(rows)
    if whole and not joined and names[1] not in sizes:
        others = frozenset(name for name in names.values() if name in sizes)
        return Remains(rows, [], others, moved_away=True)
    kept: list[PartRow] = []
    lost: list[PartRow] = []
    for part in rows:
        there = joined if part.number == 1 and joined else sizes.get(names[part.number]) == part.size_bytes
        (kept if there or part.number in trimmed else lost).append(part)
    files = frozenset(names[part.number] for part in kept) | frozenset({data} if joined else ())
    return Remains(kept, [part.number for part in lost], files, joined=joined, trimmed=frozenset(trimmed))


def _without_file(rows: Sequence[PartRow], *, moved_away: bool) -> Remains:
    if moved_away:
        return Remains(rows, [], frozenset(), moved_away=True)
    return Remains([], [part.number for part in rows], frozenset())


def _is_elsewhere(rows: Sequence[PartRow]) -> bool:
    """Whether an object store has, or had, some of the parts: then no commit of ours took them away."""
    return any(part.store_etag for part in rows)

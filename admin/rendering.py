"""Answers as a person reads them: aligned columns, human sizes and ages, and words where a list is empty."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from model.units import human_bytes, human_span

Answer = dict[str, Any]
GAP: Final = "  "
DIGITS: Final = 12
"""Of a digest in a table: enough to tell one from another."""


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Lines with columns; numbers and sizes (heads that end in `>`) are aligned to the right."""
    cells = [[head.rstrip(">") for head in heads], *([clean(str(cell)) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        fitted = (
            cell.rjust(width) if head.endswith(">") else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        )
        yield GAP.join(fitted).rstrip()


def clean(text: str) -> str:
    """`text` without what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)


def counted(number: int, noun: str) -> str:
    """`1 tag`, `2 tags`, `3 repositories`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{number} {noun}s"


def repositories(answer: Answer) -> Iterator[str]:
    """`repo list`."""
    rows = answer["repositories"]
    if not rows:
        yield "No repositories."
        return
    total = answer["total"]
    told = [[*_holding(row), human_bytes(row["shared_bytes"])] for row in rows]
    last = [*_holding(total | {"name": f"total: {counted(total['repositories'], 'repository')}"}), ""]
    yield from table(["REPOSITORY", "MANIFESTS>", "TAGS>", "UNIQUE>", "SHARED>"], [*told, last])


def _holding(row: Answer) -> list[object]:
    return [row["name"], row["manifests"], row["tags"], human_bytes(row["unique_bytes"])]


def question(held: Answer) -> str:
    """What is asked before a repository is deleted."""
    uploads = f" ({counted(held['uploads'], 'upload')} under way would begin it anew)" if held["uploads"] else ""
    return f"Delete {_held(held)}{uploads}? [y/N] "


def _held(held: Answer) -> str:
    return f"{held['name']} with {counted(held['manifests'], 'manifest')} and {counted(held['tags'], 'tag')}"


def deleted_repository(held: Answer) -> Iterator[str]:
    """`repo delete`."""
    yield f"Deleted {_held(held)}."
    if held["unique_bytes"]:
        size = human_bytes(held["unique_bytes"])
        yield f"{size} of it were in no other repository; the files of blobs stay, this version does not free them."


def tags(answer: Answer) -> Iterator[str]:
    """`tag list`."""
    yield from (clean(tag) for tag in answer["tags"]) if answer["tags"] else [f"No tags in {answer['repository']}."]


def copied_tag(answer: Answer) -> Iterator[str]:
    """`tag copy`."""
    former = answer["former_digest"]
    before = f" (was {former})" if former not in (None, answer["digest"]) else ""
    yield f"{answer['repository']}:{answer['tag']} is {answer['digest']} now{before}."


def deleted_tag(answer: Answer) -> Iterator[str]:
    """`tag delete`."""
    yield f"Deleted {answer['repository']}:{answer['tag']}; its manifest stays as {answer['digest']}."


def uploads(answer: Answer) -> Iterator[str]:
    """`uploads list`."""
    rows = answer["uploads"]
    if not rows:
        yield "No open uploads."
        return
    told = [_upload(row) for row in rows]
    heads = ["ID", "REPOSITORY", "BYTES>", "AGE>", "IDLE>", "OWNER"]
    if any(row["kind"] == "parts" for row in rows):
        heads += ["PARTS>", "TARGET"]
        told = [[*cells, *_parts(row)] for cells, row in zip(told, rows, strict=True)]
    if any(row["in_store"] for row in rows):
        heads += ["MODE", "IN STORE>", "WAITING>"]
        told = [[*cells, *_in_store(row)] for cells, row in zip(told, rows, strict=True)]
    if any(row["proving"] for row in rows):
        heads += ["PROVEN>"]
        told = [[*cells, _proving(row)] for cells, row in zip(told, rows, strict=True)]
    yield from table(heads, told)
    hindered = Counter(trouble for row in rows if (trouble := _hindrance(row)))
    yield from (f"! {counted(number, 'upload')}: {clean(trouble)}" for trouble, number in hindered.items())


def _upload(row: Answer) -> list[object]:
    idle = "receiving" if row["receiving"] else human_span(row["idle_s"])
    held = _of(_known(row, row["bytes"], human_bytes), row["size_bytes"] and human_bytes(row["size_bytes"]))
    return [row["id"], row["repository"], held, human_span(row["age_s"]), idle, row["owner"] or "-"]


def _parts(row: Answer) -> list[object]:
    parts = "-" if row["kind"] == "sequence" else _of(_known(row, row["parts"], str), row["total_parts"])
    algorithm, colon, rest = (row["target"] or "-").partition(":")
    return [parts, f"{algorithm}{colon}{rest[:DIGITS]}"]


def _in_store(row: Answer) -> list[object]:
    """Its mode, what the object store has of it, and what waits to be sent there, `!` where something hinders it."""
    there = row["in_store"]
    if there is None:
        return [row["mode"], "-", "-"]
    waiting = f"{'! ' if _hindrance(row) else ''}{human_bytes(there['waiting_bytes'])}"
    return [row["mode"], _known(row, there["bytes"], human_bytes), waiting]


def _hindrance(row: Answer) -> str:
    """Why what waits to be sent to the object store is not sent; empty where it is, or nothing waits."""
    there = row["in_store"]
    return there["trouble"] if there and there["waiting_bytes"] else ""


def _known(row: Answer, count: int, told: Callable[[int], str]) -> str:
    """A number of a session. What clients of a native one brought to the store is not asked for: `71+`, at least."""
    if row["mode"] != "native" or row["proving"] is not None:
        return told(count)
    return f"{told(count)}+" if count else "?"


def _proving(row: Answer) -> str:
    """How far a whole that clients put into the store has been read again."""
    proving = row["proving"]
    return "-" if proving is None else _of(human_bytes(proving["bytes"]), human_bytes(proving["of_bytes"]))


def _of(held: str, whole: object) -> str:
    """`3 of 7`, or only `3` when the whole is not known."""
    return held if whole is None else f"{held} of {whole}"


def aborted_upload(answer: Answer) -> Iterator[str]:
    """`uploads abort`."""
    yield f"Aborted upload {answer['id']} to {answer['repository']}; {human_bytes(answer['bytes'])} are dropped."


def rotated_keys(answer: Answer) -> Iterator[str]:
    """`keys rotate`."""
    yield f"Signed URLs are made with key {clean(answer['key'])} now."
    for former in answer["former"]:
        yield f"Those made with {clean(former['key'])} count until {clean(former['accepted_until'])}, or their own end."
    if not answer["former"]:
        yield "Every signed URL that was handed out before has ended."


def new_copy(answer: Answer) -> Iterator[str]:
    """`catalog backup`."""
    yield f"Copied the catalog to {clean(answer['path'])} ({human_bytes(answer['size_bytes'])})."
    if answer.get("bucket"):
        yield "It is in the bucket too."
    elif "bucket" in answer and "bucket_unknown" not in answer:
        yield "It holds no names yet, so it was not sent to the bucket."
    yield from _bucket_unknown(answer)


def copies(answer: Answer) -> Iterator[str]:
    """`catalog copies`, `restore --list`."""
    rows = answer["copies"]
    if not rows:
        yield "No copies of the catalog yet."
    else:
        whose = any(row.get("registry") for row in rows)
        told = [[*_copy(row), *([row["registry"] or "-"] if whose else []), row["path"]] for row in rows]
        yield from table(["TAKEN", "AGE>", "SIZE>", *(["REGISTRY"] if whose else []), "FILE"], told)
    if "bucket_registry" in answer:
        yield f"The bucket belongs to registry {clean(answer['bucket_registry'])}."
    yield from _bucket_unknown(answer)


def _copy(row: Answer) -> list[str]:
    return [row["taken_at"], human_span(row["age_s"]), human_bytes(row["size_bytes"])]


def _bucket_unknown(answer: Answer) -> Iterator[str]:
    if "bucket_unknown" in answer:
        yield f"The bucket could not be asked: {clean(answer['bucket_unknown'])}."


def taken_over(answer: Answer) -> Iterator[str]:
    """`storage take-over`."""
    below = f", below {clean(answer['prefix'])}/" if answer["prefix"] else ""
    yield f"The bucket {clean(answer['bucket'])}{below} belongs to registry {answer['registry']}, this folder's."
    former = answer["former"]
    if former is not None:
        since = f" since {clean(former['since'])}" if former["since"] else ""
        yield f"It was registry {clean(former['registry'])}'s{since}, which does not start there any more."
        yield "Its blobs and the copies of its catalog stay; what it was uploading is forgotten now."


def restored(answer: Answer) -> Iterator[str]:
    """`restore`."""
    yield f"{clean(answer['restored'])} is the catalog now."
    if answer["replaced"]:
        yield f"What it replaced is kept in {clean(answer['replaced'])}."


def status(answer: Answer) -> Iterator[str]:
    """`status`."""
    free, size = human_bytes(answer["free_bytes"]), human_bytes(answer["size_bytes"])
    holds = [counted(answer[plural], noun) for plural, noun in (("repositories", "repository"), ("tags", "tag"))]
    rows = [
        ("server", f"version {answer['version']}, process {answer['pid']}, up for {human_span(answer['uptime_s'])}"),
        ("ready", f"no: {answer['not_ready']}" if answer["not_ready"] else "yes"),
        ("listening", ", ".join(answer["listening"])),
        ("folder", answer["data_dir"]),
        ("storage", answer["storage_root"]),
        *([("bucket", answer["bucket"])] if answer.get("bucket") else []),
        ("free", f"{free} of {size}"),
        ("catalog", human_bytes(answer["catalog_bytes"])),
        ("content", ", ".join([*holds, counted(answer["manifests"], "manifest")])),
        ("now", f"{counted(answer['connections'], 'connection')}, {counted(answer['uploads'], 'open upload')}"),
    ]
    yield from (f"{name:<10} {clean(told)}" for name, told in rows)

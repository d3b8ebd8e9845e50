"""The command: `python -m bench` compares this registry with the peers that are installed or named."""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import crowds, many_tags, object_store, one_part, parts, presign, small, transfers
from bench.bucket import Bucket, opened
from bench.case import Case, Sizes
from bench.content import MIB, Content
from bench.contest import Contest, Failure, tell
from bench.loader import BenchError, Loader, compiled
from bench.servers import CHECKOUT, OUR_NAME, Distribution, Kind, OursOnStore, installed_peers, ours, peer
from bench.table import DISTURBED_CORES, Row, as_json, markdown, rows_of

CASES: list[Case] = [
    *(*transfers.CASES, *small.CASES, *crowds.CASES, *many_tags.CASES),
    *(*parts.CASES, *one_part.CASES, *presign.CASES, *object_store.CASES),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0: every case came off on every server, 1: one did not, 2: nothing could run."""
    options = _options().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that servers are stopped on the way out
    if options.list:
        print("\n".join(case.name for case in CASES))
        return 0
    try:
        return _compare(options)
    except BenchError as error:
        tell(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        return 130


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--peer", action="append", default=[], metavar="NAME=BINARY", help="a distribution registry; repeatable")
    add("--ours", type=Path, default=CHECKOUT / "registry.py", help="registry.py of the checkout to measure")
    add("--ours-flag", action="append", default=[], metavar="FLAG", help="one more flag for `registry.py serve`")
    add("--s3", metavar="WHERE", help="measure on an object store: http://HOST[:PORT]/BUCKET, or swift (README.md)")
    add("--without", action="append", default=[], metavar="NAME", help="leave a server out; repeatable")
    add("--subject", metavar="NAME", help="the server that the others are compared with (default: holdfast)")
    add("--only", metavar="NAME,...", help="cases, or beginnings of their names up to a dash")
    add("--rounds", type=int, default=5, help="rounds per case (default: 5)")
    add("--quick", action="store_true", help="about an eighth of the work: shows that all works")
    add("--dir", type=Path, help="where the data lies (default: a new folder in the system's temporary one)")
    add("--crowd-mib", type=int, default=256, help="size of each blob of the case crowd (default: 256)")
    add("--repositories", type=int, default=10_000, help="repositories of 10 tags in many-tags (default: 10000)")
    add("--peer-repositories", type=int, default=200, help="the same for peers, which fill slowly (default: 200)")
    add("--parts-gib", type=int, default=2, help="size of the blob of the case parts-big (default: 2)")
    add("--part-mib", type=int, default=64, help="size of its parts (default: 64)")
    add("--json", type=Path, metavar="FILE", help="write every value of every round here as well")
    add("--list", action="store_true", help="name the cases and end")
    return parser


def _compare(options: argparse.Namespace) -> int:
    cases = chosen(options.only)
    binary = compiled()
    sizes = _sizes(options)
    if options.dir:
        options.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as name:
        folder = Path(name)
        with opened(options.s3, folder) if options.s3 else contextlib.nullcontext() as bucket:
            kinds = _kinds(options) if bucket is None else [_on_store(options, bucket)]
            cases = [case for case in cases if any(map(case.is_for, kinds))]
            if not cases:
                raise BenchError("none of these cases is for such a server: those with s3 need --s3, the others none")
            _need_room(folder, sizes, kinds, cases, options.rounds)
            content = Content(folder / "pattern")
            contest = Contest(kinds, Loader(binary, content.pattern_file, folder), content, sizes, folder)
            rows = [row for case in cases for row in rows_of(contest.run(case, min(options.rounds, case.rounds)))]
        where = _where(folder)
    names = [kind.name for kind in kinds]
    print(_heading(kinds, options, where), markdown(rows, names), sep="\n\n")
    for failure in contest.failures:
        print(f"\n**ERROR** {failure.case}, {failure.server}: {failure.reason}")
    if options.json:
        options.json.write_text(json.dumps(_record(rows, contest.failures, kinds, options, where), indent=1))
    return 1 if contest.failures else 0


def _sizes(options: argparse.Namespace) -> Sizes:
    full = Sizes(
        crowd_blob_mib=options.crowd_mib,
        repositories=options.repositories,
        peer_repositories=options.peer_repositories,
        parts_gib=options.parts_gib,
        part_mib=options.part_mib,
    )
    if not options.quick:
        return full
    crowd_blob_mib, repositories = max(1, options.crowd_mib // 8), max(10, options.repositories // 10)
    return replace(full, quick=True, crowd_blob_mib=crowd_blob_mib, repositories=repositories)


def _need_room(folder: Path, sizes: Sizes, kinds: Sequence[Kind], cases: Sequence[Case], rounds: int) -> None:
    """Each case keeps what all its rounds pushed until it is over.

    Raises:
        BenchError: the disk has not that much.
    """
    needed, free = most_room(sizes, kinds, cases, rounds), shutil.disk_usage(folder).free
    if free < needed:
        raise BenchError(f"{folder} has {free // MIB} MiB free, up to {needed // MIB} are needed: name another --dir")


def most_room(sizes: Sizes, kinds: Sequence[Kind], cases: Sequence[Case], rounds: int) -> int:
    """The bytes that the largest of the cases needs on the disk, for all servers that take part in it."""
    servers = {case.name: sum(map(case.is_for, kinds)) for case in cases}
    needed = (servers[case.name] * case.room(sizes, min(rounds, case.rounds)) for case in cases)
    return max(needed, default=0)


def _kinds(options: argparse.Namespace) -> list[Kind]:
    """The servers, the subject first.

    Raises:
        BenchError: a peer is not a registry, or there is no server, or not the one that was named as the subject.
    """
    found: list[Kind] = [] if OUR_NAME in options.without else [ours(options.ours, tuple(options.ours_flag))]
    named: list[Distribution] = [_named_peer(text) for text in options.peer]
    taken = {each.binary for each in named}
    left_out = {*options.without, *(each.name for each in named)}
    found += [each for each in installed_peers() if each.binary not in taken and each.name not in left_out] + named
    if not found:
        raise BenchError("nothing to measure: no peer is installed, and none is named with --peer NAME=BINARY")
    subject = options.subject or found[0].name
    if subject not in (kind.name for kind in found):
        raise BenchError(f"no server is called {subject}; there are: {', '.join(kind.name for kind in found)}")
    return sorted(found, key=lambda kind: kind.name != subject)


def _on_store(options: argparse.Namespace, bucket: Bucket) -> Kind:
    """The one server of a run on an object store, which is compared with the bare store."""
    found = ours(options.ours, tuple(options.ours_flag))
    return OursOnStore(found.entry, found.flags, version=found.version, bucket=bucket)


def _named_peer(text: str) -> Distribution:
    name, separator, binary = text.partition("=")
    if not name or not separator or not binary:
        raise BenchError(f"--peer wants NAME=BINARY, not {text!r}")
    return peer(name, Path(binary))


def chosen(only: str | None) -> list[Case]:
    """The cases whose name, or a beginning of it up to a dash, was asked for; all when nothing was.

    Raises:
        BenchError: a word fits no case.
    """
    if not only:
        return CASES
    words = only.split(",")
    for word in words:
        if not any(_fits(case, word) for case in CASES):
            raise BenchError(f"no case is called {word}; there are: {', '.join(case.name for case in CASES)}")
    return [case for case in CASES if any(_fits(case, word) for word in words)]


def _fits(case: Case, word: str) -> bool:
    return case.name == word or case.name.startswith(f"{word}-")


def _where(folder: Path) -> str:
    """The filesystem of the data: the mount with the longest path above the folder."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [mount for mount in mounts if folder.is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[1]))[2] if above else "unknown"


def _heading(kinds: Sequence[Kind], options: argparse.Namespace, filesystem: str) -> str:
    servers = ", ".join(f"{kind.name} {kind.version}" for kind in kinds)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    shortened = " **--quick: too short to quote.**" if options.quick else ""
    legend = (
        "Cells: median of the rounds (lowest-highest); server CPU; peak RSS. "
        f"*: something else took more than {DISTURBED_CORES} cores meanwhile."
    )
    return f"{servers}. {machine}, data on {filesystem}, {options.rounds} rounds.{shortened}\n{legend}"


def _record(
    rows: Sequence[Row], failures: Sequence[Failure], kinds: Sequence[Kind], options: argparse.Namespace, where: str
) -> dict[str, object]:
    return {
        "servers": {kind.name: kind.version for kind in kinds},
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "filesystem": where,
        "rounds": options.rounds,
        "quick": options.quick,
        "rows": as_json(rows, [kind.name for kind in kinds]),
        "errors": [f"{failure.case}, {failure.server}: {failure.reason}" for failure in failures],
    }


if __name__ == "__main__":
    sys.exit(main())

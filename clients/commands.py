"""`push` and `pull` as rows of the command line: what they take, what they build, how they end."""

import argparse
import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from certs.trust import CaFileUnusable, client_context
from cli import PROGRAM, Command, Invocation, UsageError, mention, say
from clients.authorizing import Authorizer
from clients.credentials import Credentials, stored
from clients.job import Job, PushJob
from clients.journal import Journal, cache_folder
from clients.peer import Peer, open_session
from clients.plans import NotPushable
from clients.problems import Problem
from clients.progress import Progress
from clients.pulling import NotPullable, pull_file, pull_layout
from clients.pushing import push as push_all
from clients.reading import Disk
from clients.references import NotAReference, Reference, parse
from clients.retrying import Insistence
from clients.sources import plan_of
from model.clock import SystemClock
from model.units import GIB, HOUR_S, KIB, MIB, MINUTE_S

MOST_PARALLEL: Final = 64
_SIZES: Final = {"": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_SPANS: Final = {"": 1, "s": 1, "m": MINUTE_S, "min": MINUTE_S, "h": HOUR_S}


def push(invocation: Invocation) -> int:
    """Push an OCI layout, a `docker save` archive or a file to a registry. Interrupted, the same command goes on."""
    options = invocation.options
    return _ended(lambda: _push(invocation, parse(options.dest, plain_http=options.plain_http)), "pushed")


def pull(invocation: Invocation) -> int:
    """Pull an image or index into an OCI layout, or a single file. Interrupted, the same command goes on."""
    options = invocation.options
    if (options.target is None) == (options.output is None):
        raise UsageError("name either a folder to pull into, or a file with --output FILE")
    return _ended(lambda: _pull(invocation, parse(options.ref, plain_http=options.plain_http)), "pulled")


async def _push(invocation: Invocation, reference: Reference) -> None:
    options, clock = invocation.options, SystemClock()
    if reference.digest is not None:
        raise UsageError("a push goes to a tag; its digest is made from what is pushed")
    plan = await asyncio.to_thread(plan_of, options.source, ref=options.ref, tag=reference.tag, media_type=options.type)
    folder = options.journal_dir or cache_folder(invocation.environ)
    destination = f"{reference.base}/{reference.repository}"
    with Journal.open(folder, destination, str(options.source), clock) as journal:
        async with _job(invocation, reference, "pushing", "pull,push") as job:
            more = {"part_size_bytes": options.part_size, "announce": options.announce_hashes}
            found = await push_all(PushJob.of(job, journal=journal, **more), plan)
    for digest, tag in found:
        say(reference.shown(digest, tag))


async def _pull(invocation: Invocation, reference: Reference) -> None:
    options = invocation.options
    async with _job(invocation, reference, "pulling", "pull") as job:
        if options.output is not None:
            digest = await pull_file(job, reference, options.output, options.platform)
        else:
            digest = await pull_layout(job, reference, options.target, options.platform)
    say(reference.shown(str(digest), None if reference.digest else reference.wanted))


@contextlib.asynccontextmanager
async def _job(invocation: Invocation, reference: Reference, verb: str, actions: str) -> AsyncIterator[Job]:
    """Everything that a push and a pull have in common, for the length of the block."""
    options, environ, clock = invocation.options, invocation.environ, SystemClock()
    given = _given_credentials(options)
    authorizer = Authorizer(
        lambda: given or stored(reference.netloc, reference.repository, environ),
        environ.get("HOLD_TOKEN", ""),
        f"repository:{reference.repository}:{actions}",
    )
    trust = client_context(options.ca_file, insecure=options.insecure)
    progress = Progress(sys.stderr, verb, clock, quiet=options.quiet)
    disk = Disk(options.parallel + 2)
    try:
        async with open_session(trust, options.parallel) as session, progress.shown():
            yield Job(
                peer=Peer(session, reference.base, authorizer, clock),
                repository=reference.repository,
                insistence=Insistence(clock, progress.note, give_up_after_s=options.give_up_after),
                progress=progress,
                disk=disk,
                parallel=options.parallel,
                gate=asyncio.Semaphore(options.parallel),
            )
    finally:
        disk.close()


def _given_credentials(options: argparse.Namespace) -> Credentials | None:
    """What the command line says; stdin is read only for a password."""
    if bool(options.username) != options.password_stdin:
        raise UsageError("--username and --password-stdin belong together")
    return Credentials(options.username, sys.stdin.readline().rstrip("\r\n")) if options.username else None


def _ended(work: Callable[[], Coroutine[Any, Any, None]], done: str) -> int:
    """Do it, and say in one or two lines what became of it; the exit code."""
    try:
        with asyncio.Runner() as runner:
            runner.run(_interruptible(work()))
    except (NotAReference, NotPushable, NotPullable, CaFileUnusable) as problem:
        raise UsageError(str(problem)) from problem
    except Problem as problem:
        mention(f"{PROGRAM}: {problem}")
        return 1
    except asyncio.CancelledError:
        mention(f"{PROGRAM}: stopped; the same command goes on where it stopped. What was {done} is not lost.")
        return 130
    return 0


async def _interruptible(work: Coroutine[Any, Any, None]) -> None:
    """Do it until Ctrl-C or SIGTERM, which let it put away what it knows."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


def _amount(units: dict[str, int], what: str) -> Callable[[str], int]:
    """A reader of numbers with units, for argparse."""

    def read(text: str) -> int:
        match = re.fullmatch(r"(\d{1,12})\s*([A-Za-z]*)", text)
        if match is None or match[2] not in units or int(match[1]) == 0:
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}, such as 64{list(units)[2]}")
        return int(match[1]) * units[match[2]]

    return read


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _parallel(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PARALLEL:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_PARALLEL}")
    return int(text)


def _push_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=_path, metavar="SOURCE", help="an OCI layout folder, a docker save archive, or any file"
    )
    parser.add_argument(
        "dest", metavar="DEST", help="[http://]HOST[:PORT]/REPOSITORY[:TAG]; the tag is latest if not said"
    )
    parser.add_argument("--ref", metavar="NAME", help="which image of SOURCE: its name in there, or sha256:...")
    parser.add_argument("--type", metavar="TYPE", help="push SOURCE as one file of this media type")
    parser.add_argument(
        "--part-size", type=_amount(_SIZES, "size"), metavar="SIZE", help="of parts; else the server says"
    )
    parser.add_argument("--announce-hashes", action="store_true", help="have the hash of each part signed into its URL")
    parser.add_argument(
        "--journal-dir", type=_path, metavar="FOLDER", help="where to note how far it is (~/.cache/holdfast)"
    )
    _common_arguments(parser)


def _pull_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="[http://]HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]")
    parser.add_argument(
        "target", type=_path, nargs="?", metavar="TARGET", help="an OCI layout folder; made, or added to"
    )
    parser.add_argument(
        "--output", type=_path, metavar="FILE", help="the only layer of REF (a SIF, an artifact) into this file"
    )
    parser.add_argument("--platform", metavar="OS/ARCH", help="only this image of an index, for example linux/amd64")
    _common_arguments(parser)


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parallel", type=_parallel, default=4, metavar="N", help="transfers at once (4)")
    parser.add_argument("--username", metavar="NAME", help="who you are; else what docker and podman have stored")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.add_argument("--ca-file", type=_path, metavar="FILE", help="trust what this authority (PEM) signed, too")
    parser.add_argument("--insecure", action="store_true", help="trust any certificate")
    parser.add_argument(
        "--plain-http", action="store_true", help="no TLS; the default for this machine's own addresses"
    )
    parser.add_argument(
        "--give-up-after", type=_amount(_SPANS, "time"), default=600, metavar="TIME", help="without progress (10m)"
    )
    parser.add_argument("--quiet", action="store_true", help="only say how it ended")


COMMANDS: Final = (
    Command(("push",), "push an image, an archive or a file, resumably", push, _push_arguments, ()),
    Command(("pull",), "pull an image or a file, resumably", pull, _pull_arguments, ()),
)

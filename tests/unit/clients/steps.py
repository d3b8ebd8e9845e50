"""What the tests of the client do over and over: make a file, a job against a fake registry, and push."""

import contextlib
import hashlib
import random
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from clients.authorizing import Authorizer
from clients.credentials import Credentials
from clients.job import Job, PushJob
from clients.journal import Journal
from clients.peer import Peer, open_session
from clients.plans import Plan
from clients.progress import Progress
from clients.pulling import pull_file, pull_layout
from clients.pushing import push
from clients.reading import Disk
from clients.references import Reference, parse
from clients.retrying import Insistence
from clients.sources import plan_of
from model.clock import SystemClock
from model.digests import Digest
from tests.support import needs

MIB = 1 << 20


class Page:
    """Stands in for a terminal, or for a file that messages go to."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.text = ""
        self._terminal = terminal

    def write(self, text: str, /) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        return self._terminal


def some_file(path: Path, size: int, seed: int = 1) -> Path:
    """A file of bytes that do not repeat."""
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def sha256(path: Path) -> str:
    """`sha256:...` of a file."""
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def self_signed(folder: Path) -> Path:
    """A certificate of `localhost` that signed itself, and its key beside it as `key.pem`."""
    path = folder / "leaf.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost"]
    where = ["-keyout", str(folder / "key.pem"), "-out", str(path), "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([needs.tool("openssl"), "req", "-x509", *made, *where], check=True, capture_output=True)
    return path


def tls_context(certificate: Path) -> ssl.SSLContext:
    """What a server with such a certificate listens with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


@contextlib.asynccontextmanager
async def a_job(
    url: str,
    *,
    credentials: Credentials | None = None,
    hold_token: str = "",
    page: Page | None = None,
    parallel: int = 4,
    give_up_after_s: float = 20.0,
    trust: Any = False,
) -> AsyncIterator[Job]:
    """A job against the repository a/b at `url`, impatient."""
    clock = SystemClock()
    progress = Progress(page or Page(), "moving", clock)
    disk = Disk(parallel + 2)
    session: aiohttp.ClientSession
    try:
        async with open_session(trust, parallel) as session:
            yield Job(
                peer=Peer(session, url, Authorizer(lambda: credentials, hold_token, "repository:a/b:pull,push"), clock),
                repository="a/b",
                insistence=Insistence(clock, progress.note, give_up_after_s=give_up_after_s, first_pause_s=0.002),
                progress=progress,
                disk=disk,
                parallel=parallel,
            )
    finally:
        disk.close()


@contextlib.asynccontextmanager
async def a_push(url: str, source: Path, **how: Any) -> AsyncIterator[tuple[PushJob, Plan]]:
    """A push of a source to a/b:1, ready to go; its journal is in `journal` beside the source."""
    ref, media_type, tag = how.pop("ref", None), how.pop("media_type", None), how.pop("tag", "1")
    more = {name: how.pop(name) for name in ("part_size_bytes", "announce", "in_one_bytes") if name in how}
    async with a_job(url, **how) as job:
        plan = plan_of(source, ref=ref, tag=tag, media_type=media_type)
        with Journal.open(source.parent / "journal", url, str(source), SystemClock()) as journal:
            yield PushJob.of(job, journal=journal, **more), plan


async def pushed(url: str, source: Path, **how: Any) -> list[tuple[str, str | None]]:
    """Push a source to a/b:1."""
    async with a_push(url, source, **how) as (job, plan):
        return await push(job, plan)


async def pulled(url: str, target: Path, wanted: str = "1", **how: Any) -> Digest:
    """Pull a/b:`wanted` into a folder, or with `output=True` into a file."""
    output, platform = how.pop("output", False), how.pop("platform", None)
    reference: Reference = parse(f"{url}/a/b{'@' if ':' in wanted else ':'}{wanted}")
    async with a_job(url, **how) as job:
        return await (pull_file if output else pull_layout)(job, reference, target, platform)

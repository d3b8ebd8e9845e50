"""A real S3 server as a child process, with what is in its buckets: start, stop, kill, start again on the same state.

It is OpenStack Swift (`swift_s3.py`), which verifies signatures, hashes and expiry; nothing here pretends. What a
bucket holds is asked with botocore, never with code of ours.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import unquote

from tests.support import needs
from tests.support.listening import Listening, free_port

REGISTRY: Final = "holdfast/registry"
ROOT: Final = Path(__file__).resolve().parents[2]

Rule = Literal["header", "minio", "query", "literal"]
RULES: Final[tuple[Rule, ...]] = ("header", "minio", "query", "literal")
"""The four families of servers, by how they find the payload line of a presigned request."""

SWIFT_PYTHON: Final = ROOT / "build" / "swift" / "bin" / "python"
DEBIAN_PYTHON: Final = Path("/usr/bin/python3")
SCRIPT: Final = ROOT / "tests" / "support" / "swift_s3.py"
REGION: Final = "us-east-1"
NOWHERE: Final = "http://127.0.0.1:1"
"""As the external endpoint: clients cannot reach the store there, so everything goes through us."""
START_S: Final = 60.0
STOP_S: Final = 20.0


class Request(NamedTuple):
    """What the store answered, from its own log."""

    method: str
    path: str
    """With the bucket, percent-decoded."""
    query: str
    status: int
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True)
class Upload:
    """A multipart upload that is neither complete nor aborted."""

    key: str
    upload_id: str


def swift_python() -> Path:
    """The interpreter that has Swift; `make venv` makes it."""
    if not SWIFT_PYTHON.exists():
        needs.missing("needs the S3 server in build/swift, which `make venv` makes")
    return SWIFT_PYTHON


def debian_python() -> Path:
    """Debian's own interpreter, if its older Swift is installed (.ci/install-clients does that): a literal family."""
    tried = subprocess.run([DEBIAN_PYTHON, "-c", "import swift, eventlet"], capture_output=True, check=False)
    if tried.returncode:
        needs.missing("needs Debian's python3-swift, which .ci/install-clients installs")
    return DEBIAN_PYTHON


class ObjectStore(Listening):
    """An S3 server on a free port of 127.0.0.1; a context manager that leaves neither process nor state behind.

    Args:
        rule: the family it belongs to.
        min_part: the smallest part but the last, in bytes; S3's 5 MiB unless given.
        domain: with it, `BUCKET.DOMAIN` as Host is understood as well.
        python: the interpreter that has Swift.
        port: the port to listen on; a free one if not given. It stays the same over restarts, as does the content.
        folder: where its state lies, in a folder of its own; in memory, where that is possible, unless given.
    """

    def __init__(
        self,
        *,
        rule: Rule = "header",
        min_part: int | None = None,
        domain: str = "",
        python: Path | None = None,
        port: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.rule = rule
        self.key_id, self.secret, self.region = "test:tester", "testing123", REGION
        self.port = port or free_port()
        self.python = python or swift_python()
        self.state = Path(tempfile.mkdtemp(prefix="s3-", dir=folder or fast_folder()))
        self.log_path, self._errors = self.state / "requests.log", self.state / "errors.log"
        self._env = {
            "PATH": os.environ["PATH"],
            "SWIFT_S3_RULE": rule,
            "SWIFT_S3_DOMAIN": domain,
            "SWIFT_S3_LOG": str(self.log_path),
        }
        if min_part is not None:
            self._env["SWIFT_S3_MINPART"] = str(min_part)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it, or start it again with what it held; returns once it answers."""
        assert self._process is None, "the store runs already"
        words = [str(self.state), str(self.port), self.key_id, self.secret, self.region]
        command = [str(self.python), "-W", "ignore", str(SCRIPT), *words]
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                command, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, cwd=self.state
            )
        assert self._process.stdout is not None
        word = self._process.stdout.readline().split()
        if word[:1] != [b"READY"]:
            self.kill()
            raise AssertionError(f"the store did not start\n{self.errors()}")
        return self

    def stop(self) -> None:
        """Stop it (SIGTERM); connections to it are ended."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        process = self._running()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def pause(self) -> None:
        """Let it hang: connections are made, and nothing answers (SIGSTOP)."""
        self._running().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                self.kill()
        finally:
            print(f"--- errors of the store on {self.netloc}\n{self.errors()[-5_000:]}")
            shutil.rmtree(self.state, ignore_errors=True)

    def errors(self) -> str:
        """What it complained about, over all its starts."""
        return self._errors.read_text("utf-8", "replace") if self._errors.exists() else ""

    def requests(self) -> list[Request]:
        """Everything it has answered whole so far, over all its starts."""
        text = self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""
        return [_request(line) for line in text.splitlines()]

    def new_bucket(self, name: str | None = None, *, prefix: str = "") -> "Bucket":
        """A new, empty bucket."""
        made = Bucket(self, name or f"b-{secrets.token_hex(6)}", prefix)
        made.make()
        return made

    @cached_property
    def bucket_of_its_own(self) -> "Bucket":
        """The bucket that the store's own `bucket`, `env()`, `objects()` and `uploads()` speak of."""
        return self.new_bucket("holdfast")

    @property
    def bucket(self) -> str:
        """The name of its own bucket, made when first asked for."""
        return self.bucket_of_its_own.name

    def env(self) -> dict[str, str]:
        """What makes `registry.py` store in its own bucket."""
        return self.bucket_of_its_own.env()

    def objects(self, prefix: str = "") -> dict[str, int]:
        """What is in its own bucket: key to size in bytes."""
        return self.bucket_of_its_own.objects(prefix)

    def uploads(self) -> list[Upload]:
        """The unfinished multipart uploads of its own bucket."""
        return self.bucket_of_its_own.uploads()

    @cached_property
    def client(self) -> Any:
        """botocore, asking this store; for looking, not for what the product does."""
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.url,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 2},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the store does not run"
        return self._process


class Bucket:
    """A bucket of a store, and what is in it.

    Args:
        store: whose.
        name: the bucket's.
        prefix: what the registry is told to put before its keys; the keys here are without it.
    """

    def __init__(self, store: ObjectStore, name: str, prefix: str = "") -> None:
        self.store, self.name, self.prefix = store, name, prefix
        self.known_whole: set[tuple[str, tuple[int, str]]] = set()
        """What has been read and was right, as it was listed; it need not be read again."""

    def make(self) -> None:
        """Make it in the store."""
        self.store.client.create_bucket(Bucket=self.name)

    def settings(self, **more: str) -> dict[str, str]:
        """What makes the registry store here, by the settings' names; `more` as it is."""
        return {
            "storage_driver": "s3",
            "s3_bucket": self.name,
            "s3_endpoint": self.store.url,
            "s3_region": self.store.region,
            "aws_access_key_id": self.store.key_id,
            "aws_secret_access_key": self.store.secret,
            **({"s3_path_prefix": self.prefix} if self.prefix else {}),
            **more,
        }

    def env(self, **more: str) -> dict[str, str]:
        """The same as environment variables; `more` by the settings' names."""
        return {f"HOLDFAST_{name.upper()}": value for name, value in self.settings(**more).items()}

    def objects(self, prefix: str = "") -> dict[str, int]:
        """Every object below the prefix, but for the one that says whose bucket it is: key to size in bytes."""
        return {key: size for key, (size, _) in self.listing(prefix).items()}

    def listing(self, prefix: str = "") -> dict[str, tuple[int, str]]:
        """The same: key to size in bytes and ETag, which changes when the bytes do."""
        pages = self.store.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self._full(prefix))
        entries = [each for page in pages for each in page.get("Contents", ())]
        found = [each for each in entries if each["Key"] != self._full(REGISTRY)]
        return {self._bare(each["Key"]): (each["Size"], f"{each['ETag']} {each['LastModified']}") for each in found}

    def uploads(self) -> list[Upload]:
        """The unfinished multipart uploads."""
        pages = self.store.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.name, **({"Prefix": self._full("")} if self.prefix else {})
        )
        return [Upload(self._bare(each["Key"]), each["UploadId"]) for page in pages for each in page.get("Uploads", ())]

    def parts(self, upload: Upload) -> dict[int, int]:
        """The parts of an unfinished upload: number to size in bytes."""
        pages = self.store.client.get_paginator("list_parts").paginate(
            Bucket=self.name, Key=self._full(upload.key), UploadId=upload.upload_id
        )
        return {each["PartNumber"]: each["Size"] for page in pages for each in page.get("Parts", ())}

    def read(self, key: str) -> bytes:
        """An object's bytes."""
        content: bytes = self.store.client.get_object(Bucket=self.name, Key=self._full(key))["Body"].read()
        return content

    def write(self, key: str, content: bytes) -> None:
        """Put an object there."""
        self.store.client.put_object(Bucket=self.name, Key=self._full(key), Body=content)

    def remove(self, key: str) -> None:
        """Take an object away, as nobody should."""
        self.store.client.delete_object(Bucket=self.name, Key=self._full(key))

    def requests(self) -> list[Request]:
        """What was asked of this bucket."""
        begins = f"/{self.name}/"
        return [each for each in self.store.requests() if f"{each.path}/".startswith(begins)]

    def _full(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _bare(self, key: str) -> str:
        return key.removeprefix(f"{self.prefix}/") if self.prefix else key


def fast_folder() -> str | None:
    """Where a store's state is cheapest: in memory, where that takes extended attributes; None: the usual place."""
    for folder in ("/dev/shm",):
        with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=folder) as probe:
            os.setxattr(probe.name, "user.probe", b"1")
            return folder
    return None


def eventually(states: Iterable[bool], patience_s: float = 20.0) -> bool:
    """Whether one of the `states`, looked at one after the other, is true before the patience ends."""
    deadline = time.monotonic() + patience_s
    for state in states:
        if state:
            return True
        if time.monotonic() > deadline:
            return False
    return False


def _request(line: str) -> Request:
    method, target, status, in_bytes, out_bytes = line.split(" ")
    path, _, query = target.partition("?")
    return Request(method, unquote(path), query, int(status or 0), int(in_bytes), int(out_bytes))

"""The bucket that a registry on an object store is measured with, and how it is asked without the registry.

Their URLs are signed before the clock starts, by this checkout's own signer; so what is measured is the store.
"""

import contextlib
import hashlib
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from bench.loader import BenchError
from sigv4.places import place
from sigv4.presigning import Form, presign
from sigv4.signing import Credentials

CHECKOUT: Final = Path(__file__).resolve().parent.parent
SWIFT: Final = "swift"
SWIFT_PYTHON: Final = CHECKOUT / "build" / "swift" / "bin" / "python"
SWIFT_SCRIPT: Final = CHECKOUT / "tests" / "support" / "swift_s3.py"
SWIFT_KEYS: Final = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing123"}
USUAL_BUCKET: Final = "holdfast-bench"
SIGNED_FOR_S: Final = 24 * 3600
SETTLED_WITHIN_S: Final = 600
LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True)
class Bucket:
    """One bucket, reached by plain HTTP; everything of this run lies below `prefix`."""

    url: str
    name: str
    region: str
    keys: Mapping[str, str] = field(repr=False)
    prefix: str
    checks_hashes: bool = False
    """It takes the hash of the body in a signed URL, and compares."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def settings(self, below: str) -> dict[str, str]:
        """What makes a registry keep its blobs here, below a prefix of its own."""
        named = {"S3_BUCKET": self.name, "S3_ENDPOINT": self.url, "S3_REGION": self.region}
        return {"STORAGE_DRIVER": "s3", "S3_PATH_PREFIX": f"{self.prefix}/{below}", **named, **self.keys}

    def path(self, method: str, key: str, *, sha256: str = "") -> str:
        """A signed URL of an object of this run, without scheme and host; with the hash, if it `checks_hashes`."""
        sha256 = sha256 if self.checks_hashes else ""
        return self._signed(method, f"/{self.prefix}/{key}", sha256=sha256).removeprefix(self.url)

    def looked_at(self) -> "Bucket":
        """The same, and whether it checks hashes: then it does for what is sent to it directly what it does for us."""
        checking = replace(self, checks_hashes=True)
        body = b"what is sent"
        try:
            checking._ask("PUT", f"/{self.prefix}/look", body=body, sha256=hashlib.sha256(b"another").hexdigest())
        except urllib.error.HTTPError:
            pass
        else:
            return self
        try:
            checking._ask("PUT", f"/{self.prefix}/look", body=body, sha256=hashlib.sha256(body).hexdigest())
        except urllib.error.HTTPError:
            return self
        self._ask("DELETE", f"/{self.prefix}/look")
        return checking

    def make(self) -> None:
        """Make it, unless it is there. BenchError: the store does not want it."""
        try:
            self._ask("PUT", "/")
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it is there, and ours
                raise BenchError(f"{self.url} does not make the bucket {self.name}: {error.code}") from None
        except OSError as error:
            raise BenchError(f"{self.url} does not answer: {error}") from None

    def below(self, prefix: str) -> list[str]:
        """The keys of this run below a prefix; with slash and all, as the store has them."""
        keys: list[str] = []
        while True:
            asked = {"list-type": "2", "prefix": f"{self.prefix}/{prefix}", "start-after": keys[-1] if keys else ""}
            page = self._ask("GET", "/", {name: value for name, value in asked.items() if value})
            found = re.findall(r"<Key>([^<]*)</Key>", page)
            keys += found
            if not found or "<IsTruncated>true<" not in page:
                return keys

    def clear(self, prefix: str = "") -> None:
        """Remove every object of this run below a prefix."""
        for key in self.below(prefix):
            self._ask("DELETE", f"/{key}")

    def wait_until_settled(self, below: str) -> None:
        """Return when nothing temporary of a registry's is left: it copies what was pushed to its place later on.

        Raises:
            BenchError: it is never done.
        """
        give_up_s = time.monotonic() + SETTLED_WITHIN_S
        while self.below(f"{below}/holdfast/uploads/"):
            if time.monotonic() > give_up_s:
                raise BenchError(f"temporary objects were still there after {SETTLED_WITHIN_S} s")
            time.sleep(LOOK_EVERY_S)

    def _signed(self, method: str, path: str, query: Mapping[str, str] | None = None, *, sha256: str = "") -> str:
        credentials = Credentials(self.keys["AWS_ACCESS_KEY_ID"], self.keys["AWS_SECRET_ACCESS_KEY"])
        return presign(
            credentials,
            place(self.url, self.name),
            method,
            path,
            query,
            region=self.region,
            now_s=time.time(),
            lifetime_s=SIGNED_FOR_S,
            form=Form.HASH if sha256 else Form.PLAIN,
            payload_sha256=sha256 or None,
        ).url

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        sha256: str = "",
    ) -> str:
        headers = {"x-amz-content-sha256": sha256} if sha256 else {}
        url = self._signed(method, path, query, sha256=sha256)
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:  # the store that the person named
            text: str = answer.read().decode()
            return text


@contextlib.contextmanager
def opened(where: str, folder: Path) -> Iterator[Bucket]:
    """The bucket of `--s3`: a URL, or a store of our own that is started for the length of the block.

    Raises:
        BenchError: it cannot be used, and why.
    """
    prefix = f"bench-{secrets.token_hex(4)}"
    if where == SWIFT:
        with _swift(folder) as url:
            bucket = Bucket(url, USUAL_BUCKET, "us-east-1", SWIFT_KEYS, prefix)
            bucket.make()
            yield bucket.looked_at()
        return
    bucket = _named(where, prefix)
    bucket.make()
    try:
        yield bucket.looked_at()
    finally:
        bucket.clear()


def _named(where: str, prefix: str) -> Bucket:
    """The bucket of a URL such as `http://127.0.0.1:9000/bucket`, with the keys of the environment."""
    split = urlsplit(where)
    if split.scheme != "http" or not split.hostname:
        raise BenchError(
            f"--s3 takes `swift`, or a URL of plain http such as http://127.0.0.1:9000/bucket, not {where}"
        )
    keys = {name: os.environ[name] for name in SWIFT_KEYS if name in os.environ}
    if len(keys) < len(SWIFT_KEYS):
        raise BenchError(f"the environment has to have {' and '.join(SWIFT_KEYS)}")
    name = unquote(split.path).strip("/") or USUAL_BUCKET
    region = os.environ.get("S3_REGION") or os.environ.get("AWS_REGION") or "us-east-1"
    return Bucket(f"http://{split.netloc}", name, region, keys, prefix)


@contextlib.contextmanager
def _swift(folder: Path) -> Iterator[str]:
    """The URL of the store that the tests use, with its data in this folder's file system."""
    if not SWIFT_PYTHON.exists():
        raise BenchError("--s3 swift needs the S3 server in build/swift, which `make venv` makes")
    (folder / "swift").mkdir()
    words = [str(folder / "swift"), "0", *SWIFT_KEYS.values()]
    with subprocess.Popen(
        [str(SWIFT_PYTHON), "-W", "ignore", str(SWIFT_SCRIPT), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    ) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            word, _, port = said.strip().partition(" ")
            if word != "READY":
                raise BenchError("the S3 server in build/swift did not start; what it says stands above")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()

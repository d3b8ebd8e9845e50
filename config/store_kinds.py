"""The kinds of values that say where an object store is: its address, the bucket, what lies below, secrets, files.

They follow `config/kinds.py`: a value that makes no sense raises ValueError with what is expected and an example.
"""

import re
from pathlib import Path
from typing import Final

from config.kinds import Kind
from model.hosts import DEFAULT_PORTS, host_of

BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
PREFIX_WORD: Final = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
REGION: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
SECRET: Final = re.compile(r"[!-~]{1,4096}", re.ASCII)
MAX_PREFIX: Final = 256


def store_address() -> Kind[str]:
    """[http[s]://]host[:port], or nothing; kept in lower case as it was said, with or without the scheme."""
    expects = "HOST[:PORT] or http[s]://HOST[:PORT], for example https://minio.lab:9000, or empty"

    def parse(raw: object) -> str:
        text = str(raw).strip()
        if not text:
            return ""
        scheme, separator, rest = text.rpartition("://")
        scheme = scheme.lower()
        rest, _, path = rest.partition("/")
        if path.strip("/"):
            raise ValueError("an endpoint has no path: the bucket goes into s3_bucket, the rest into s3_path_prefix")
        host = _host(rest)
        if not host or (separator and scheme not in DEFAULT_PORTS):
            raise ValueError(f"expected {expects}")
        return f"{scheme}://{host_of(rest, scheme)}" if scheme else host

    return Kind(expects, "URL", parse, str)


def _host(text: str) -> str:
    """`text` as host[:port] with its port, whichever that is; "" when it is no such thing."""
    return max((host_of(text, scheme) for scheme in DEFAULT_PORTS), key=len)


def bucket() -> Kind[str]:
    """The name of a bucket, or nothing."""
    expects = "the name of a bucket: 3 to 63 letters, digits, '.', '_' and '-', for example registry, or empty"

    def parse(raw: object) -> str:
        text = str(raw).strip()
        if "/" in text or "://" in text:
            raise ValueError(f"expected {expects}; the host goes into s3_endpoint, a path below it into s3_path_prefix")
        if text and not (BUCKET.fullmatch(text) and ".." not in text):
            raise ValueError(f"expected {expects}")
        return text

    return Kind(expects, "NAME", parse, str)


def path_prefix() -> Kind[str]:
    """What the keys in the bucket begin with, without slashes at its ends; or nothing."""
    expects = "words of letters, digits, '.', '_' and '-', single slashes between, for example lab/registry, or empty"

    def parse(raw: object) -> str:
        text = str(raw).strip().strip("/")
        words = text.split("/") if text else []
        if len(text) > MAX_PREFIX or any(word in (".", "..") or not PREFIX_WORD.fullmatch(word) for word in words):
            raise ValueError(f"expected {expects}; such keys need no escaping, which stores and proxies do differently")
        return text

    return Kind(expects, "PREFIX", parse, str)


def region() -> Kind[str]:
    """The region that requests are signed for."""
    expects = "the name of a region, for example us-east-1, garage or auto"

    def parse(raw: object) -> str:
        text = str(raw).strip()
        if not REGION.fullmatch(text):
            raise ValueError(f"expected {expects}")
        return text

    return Kind(expects, "REGION", parse, str)


def secret() -> Kind[str]:
    """A secret or the name of one, as somebody else made it, or nothing. Never shown."""
    expects = "printable ASCII characters without blanks, or empty"

    def parse(raw: object) -> str:
        text = str(raw).strip()
        if text and not SECRET.fullmatch(text):
            raise ValueError(f"expected {expects}")
        return text

    return Kind(expects, "SECRET", parse, lambda value: "set" if value else "empty", secret=True)


def key_id() -> Kind[str]:
    """The public half of a pair of keys, or nothing."""
    hidden = secret()
    return Kind(hidden.expects, "ID", hidden.parse, str)


def file_or_none(example: str) -> Kind[Path | None]:
    """A file, or nothing; a relative one counts from the working directory and is made absolute at once."""
    expects = f"a file, for example {example}, or empty"

    def parse(raw: object) -> Path | None:
        if raw == "":
            return None
        if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
            raise ValueError(f"expected {expects}")
        try:
            return Path(raw).expanduser().absolute()
        except RuntimeError:
            raise ValueError("the home folder it names is not known; write the path in full") from None

    return Kind(expects, "FILE", parse, lambda value: "" if value is None else str(value))

"""The kinds of values a setting can have: from what a person writes to a typed value, and back.

A kind accepts text (environment, flags, TOML strings) and, where TOML has a type of its own for it, that type. What it
writes it can read again (`parse(show(value)) == value`), so the output of one command can be the input of another.
A value that makes no sense raises ValueError with the second half of a sentence: what is expected, with an example.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final, Generic, TypeVar

from model.hosts import DEFAULT_PORTS, host_of
from model.units import DAY_S, GIB, HOUR_S, KIB, MIB, MINUTE_S

T = TypeVar("T")

SIZES: Final[Mapping[str, int]] = {
    "b": 1,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": 1024 * GIB,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
# Biggest first: a value is shown in the largest unit that leaves no fraction.
SHOWN_SIZES: Final = (("TiB", 1024 * GIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB))
DURATIONS_MS: Final[Mapping[str, int]] = {
    "ms": 1,
    "s": 1000,
    "m": 1000 * MINUTE_S,
    "h": 1000 * HOUR_S,
    "d": 1000 * DAY_S,
}
QUANTITY: Final = re.compile(r"([0-9]{1,18}) ?([A-Za-z]*)", re.ASCII)
ON: Final = frozenset({"true", "on", "yes", "1"})
OFF: Final = frozenset({"false", "off", "no", "0"})


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One kind of value.

    `expects` says it in words and `metavar` in one. `parse` raises ValueError for what it cannot take. `suffix` is the
    unit that stands in the names of attributes of this kind but not in the names of settings, because there the value
    carries its unit itself. `alone` is what a flag without a value means; empty: it needs one. What is `secret` is
    never repeated: not where it is shown, and not in the message about a mistake.
    """

    expects: str
    metavar: str
    parse: Callable[[object], T]
    show: Callable[[T], str]
    suffix: str = ""
    alone: str = ""
    secret: bool = False


@dataclass(frozen=True)
class Address:
    """Where to listen: a host name or IP address (IPv6 without its brackets), and a port; 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address() -> Kind[Address]:
    """HOST:PORT."""
    expects = "HOST:PORT, for example 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000"

    def parse(raw: object) -> Address:
        host, _, port = str(raw).strip().rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        sane = re.fullmatch(r"[0-9A-Za-z._:%-]+", host) and (":" in host) == bracketed
        if not sane or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
            raise ValueError(f"expected {expects}")
        return Address(host, int(port))

    return Kind(expects, "HOST:PORT", parse, str)


def public_url() -> Kind[str]:
    """scheme://host[:port], or nothing; kept as it is signed: lower case, and without the scheme's own port."""
    expects = "scheme://HOST[:PORT] without a path, for example https://registry.example.org, or empty"

    def parse(raw: object) -> str:
        text = str(raw).strip()
        if not text:
            return ""
        scheme, _, rest = text.removesuffix("/").lower().partition("://")
        host = host_of(rest, scheme) if scheme in DEFAULT_PORTS else ""
        if not host:
            raise ValueError(f"expected {expects}")
        return f"{scheme}://{host}"

    return Kind(expects, "URL", parse, str)


Network = IPv4Network | IPv6Network


def networks() -> Kind[tuple[Network, ...]]:
    """Addresses and networks, between commas or blanks."""
    expects = "IP addresses or networks between commas, for example 127.0.0.1, 10.0.0.0/8, fd00::/8, or empty"

    def parse(raw: object) -> tuple[Network, ...]:
        try:
            return tuple(ip_network(word) for word in re.split(r"[,\s]+", str(raw).strip()) if word)
        except ValueError:
            raise ValueError(f"expected {expects} (of a network's address, the bits behind its prefix are 0)") from None

    return Kind(expects, "NETWORKS", parse, lambda value: ", ".join(map(_show_network, value)))


def _show_network(network: Network) -> str:
    """One address is shown as one."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def token() -> Kind[str]:
    """A secret that can stand in a header, or nothing. It is never shown: `show` says whether there is one."""
    expects = "at least 16 printable ASCII characters without blanks, or empty"

    def parse(raw: object) -> str:
        text = str(raw).strip()
        if text and not re.fullmatch(r"[!-~]{16,512}", text, re.ASCII):
            raise ValueError(f"expected {expects}")
        return text

    return Kind(expects, "SECRET", parse, lambda value: "set" if value else "empty", secret=True)


def folder() -> Kind[Path]:
    """A folder; a relative one counts from the working directory and is made absolute at once."""
    expects = "a folder, for example /var/lib/holdfast"

    def parse(raw: object) -> Path:
        if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
            raise ValueError(f"expected {expects}")
        try:
            return Path(raw).expanduser().absolute()
        except RuntimeError:
            raise ValueError("the home folder it names is not known; write the path in full") from None

    return Kind(expects, "DIR", parse, str)


def folder_or_none() -> Kind[Path | None]:
    """A folder, or nothing at all."""
    some = folder()
    return Kind(
        f"{some.expects}, or empty",
        some.metavar,
        lambda raw: None if raw == "" else some.parse(raw),
        lambda value: "" if value is None else some.show(value),
    )


def count(least: int, most: int) -> Kind[int]:
    """A whole number between two limits, both included."""
    expects = f"a whole number from {least} to {most}"

    def parse(raw: object) -> int:
        text = str(raw).strip()
        if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"expected {expects}")
        return int(text)

    return Kind(expects, "N", parse, str)


def size(least: int, most: int) -> Kind[int]:
    """A number of bytes: a plain number, or one with a unit (KiB, MiB, GiB are powers of 1024; kB, MB, GB of 1000)."""
    expects = f"a size from {show_size(least)} to {show_size(most)}, for example 64KiB, 4MiB or 1GiB"

    def parse(raw: object) -> int:
        match = QUANTITY.fullmatch(str(raw).strip())
        factor = SIZES.get((match[2] or "b").lower()) if match else None
        if match is None or factor is None or not least <= int(match[1]) * factor <= most:
            raise ValueError(f"expected {expects}")
        return int(match[1]) * factor

    return Kind(expects, "SIZE", parse, show_size)


def duration(least_s: float, most_s: float) -> Kind[float]:
    """A time in seconds, written with a unit: 500ms, 30s, 90m, 24h, 7d. Without one it would be a guess."""
    limits = f"{show_duration(least_s)} to {show_duration(most_s)}"
    expects = f"a time from {limits} with its unit, for example 30s, 90m, 24h or 7d"

    def parse(raw: object) -> float:
        match = QUANTITY.fullmatch(str(raw).strip())
        factor_ms = DURATIONS_MS.get(match[2]) if match else None
        if match is None or factor_ms is None or not least_s <= int(match[1]) * factor_ms / 1000 <= most_s:
            raise ValueError(f"expected {expects}")
        return int(match[1]) * factor_ms / 1000

    return Kind(expects, "TIME", parse, show_duration, suffix="_s")


def switch() -> Kind[bool]:
    """On or off."""
    expects = "on or off"

    def parse(raw: object) -> bool:
        word = str(raw).strip().lower()
        if word not in ON | OFF:
            raise ValueError(f"expected {expects}")
        return word in ON

    return Kind(expects, "on|off", parse, lambda value: "on" if value else "off", alone="on")


def choice(*words: str, refused: Mapping[str, str] | None = None) -> Kind[str]:
    """One of a few words; `refused` explains words that somebody may well try."""
    expects = f"{', '.join(words[:-1])} or {words[-1]}"

    def parse(raw: object) -> str:
        word = str(raw).strip().lower()
        if word not in words:
            raise ValueError((refused or {}).get(word, f"expected {expects}"))
        return word

    return Kind(expects, "|".join(words), parse, str)


def show_size(value_bytes: int) -> str:
    """`4MiB`; a plain number when no unit fits evenly."""
    return next(
        (f"{value_bytes // unit}{name}" for name, unit in SHOWN_SIZES if value_bytes and value_bytes % unit == 0),
        str(value_bytes),
    )


def show_duration(value_s: float) -> str:
    """`24h`; the largest unit that leaves no fraction, days only from two on, as people say it."""
    value_ms = round(value_s * 1000)
    if value_ms == 0:
        return "0s"
    fitting = (
        f"{value_ms // unit_ms}{name}"
        for name, unit_ms in reversed(list(DURATIONS_MS.items()))
        if value_ms % unit_ms == 0 and value_ms >= unit_ms * (2 if name == "d" else 1)
    )
    return next(fitting, f"{value_ms}ms")

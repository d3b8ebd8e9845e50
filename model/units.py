"""Units of size and time, so that a constant reads as what it is."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

MINUTE_S: Final = 60
HOUR_S: Final = 60 * MINUTE_S
DAY_S: Final = 24 * HOUR_S


def human_bytes(count_bytes: int) -> str:
    """A size as a person reads it: `0 B`, `1.5 MiB`; binary units, one decimal from KiB on."""
    size = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{int(size)} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def human_span(seconds: float) -> str:
    """A length of time as a person reads it: `45 s`, `12 min`, `5 h`, `3 d`; whole units, the largest that fits."""
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)} {unit}"
    return f"{max(0, int(seconds))} s"

"""JSON objects that strangers send: read strictly, and never dearer to read than their bytes are to send.

Reading JSON keeps the whole process waiting, whichever thread does it, and two megabytes of `[],[],` take as long as
hundreds of honest ones. So what a document can become at the most is counted before it is read.
"""

import json
from typing import Any, Final

MAX_ELEMENTS: Final = 250_000
"""Lists, objects and what is between commas. An index of 4 MiB has half as many, the list of 10,000 parts an eighth."""


def json_object(content: bytes) -> dict[str, Any]:
    """The JSON object in `content`; where a key comes twice, its last value counts.

    Raises:
        ValueError: it is no UTF-8, no JSON (NaN and Infinity are none), no object, too deep, or has too many elements.
            Its text goes on after "the body", or whatever the caller calls it, and repeats nothing of what was sent.
    """
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MAX_ELEMENTS:
        raise ValueError(f"has more than {MAX_ELEMENTS} elements")
    try:
        # Decoding here keeps json from guessing UTF-16; the hook keeps out NaN and Infinity, which are not JSON.
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:  # no UTF-8, no JSON, or a number with thousands of digits; the cause would repeat what was sent
        raise ValueError("is not UTF-8 JSON") from None
    if isinstance(value, dict):
        return value
    raise ValueError("is not a JSON object")


def _refuse_constant(name: str) -> None:
    raise ValueError(name)

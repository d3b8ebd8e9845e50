"""An answer of a registry, read to its end, and what it says when it says no."""

import email.utils
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from multidict import CIMultiDictProxy

from clients.authorizing import LOGIN
from clients.problems import Refused

PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 522})
"""Statuses that may be others a moment later."""

_XML_WORD: Final = re.compile(r"<(Code|Message)>([^<]*)</\1>")
_REMEDIES: Final = {
    401: LOGIN,
    403: "ask whoever runs the registry for the right to do this, or log in as somebody who may",
    413: "the registry has a limit; whoever runs it can raise it",
}


@dataclass(frozen=True)
class Answer:
    """One response."""

    method: str
    host: str
    path: str
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes = field(repr=False, default=b"")
    remedy: str = ""
    """What to do when it is a refusal; else what mostly helps with its status."""

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is something else."""
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    def why(self) -> str:
        """What the server says about it: of OCI's errors, the hold API's, or S3's."""
        told = self.document()
        errors = told.get("errors")
        if isinstance(errors, list) and errors and isinstance(errors[0], dict):
            told = errors[0]
        name = told.get("error") or told.get("code") or ""
        message = told.get("message") or ""
        problems = told.get("problems")
        more = [str(each) for each in problems[:3]] if isinstance(problems, list) else []
        words = [str(name), str(message), *more]
        if not any(words):
            found = dict(_XML_WORD.findall(self.body[:4096].decode("utf-8", "replace")))
            words = [found.get("Code", ""), found.get("Message", "")]
        return ": ".join(word for word in words if word)[:400]

    def refusal(self, what: str) -> Refused:
        """The problem to raise for an answer that is final."""
        reason = self.why()
        told = f"{what}: {self.host} answered {self.status}{' (' + reason + ')' if reason else ''}"
        return Refused(told, self.status, self.remedy or _REMEDIES.get(self.status, ""))


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """The seconds that a Retry-After header asks for: a number, or a date."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header.strip())
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now_s)
    except (TypeError, ValueError):
        return None

"""Words of a hold request into values: every casing of a field's name, every type checked, no value believed.

Clients of three generations name one field upload_id, uploadId, uploadID, UploadId or UploadID (T02, T05). So names are
compared without underscores and without case, which is nearly what Go's own decoder does. `did` says who the client
claims to be; nothing here or later believes it (H151).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from handlers.hold.refusals import RequestInvalid, UploadIdInvalid
from model.digests import Digest
from model.errors import DigestInvalid, SizeInvalid
from multipart.parts import MAX_PARTS, ListedPart
from multipart.refusals import PartNumberInvalid

MAX_BYTES: Final = 2**63 - 1
MAX_TEXT: Final = 256
"""What upload ids, ETags and identities may have at the most (the lexicons of the hold)."""

ALSO: Final[Mapping[str, tuple[str, ...]]] = {
    "etag": ("token",),
    "parts": ("completedparts",),
    "size": ("filesize",),
    "sha256": ("sha256sum",),
}
"""Other words for a field, in the plain form: those of the library's clients (M04, M07, M13)."""

_TEMP_NAME: Final = re.compile(r"uploads/temp-([A-Za-z0-9._-]{1,128})", re.ASCII)
_HEX: Final = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TempName:
    """`uploads/temp-<id>`: what a client calls a blob whose digest it does not know yet (H075)."""

    id: str

    def __str__(self) -> str:
        return f"uploads/temp-{self.id}"


Target = Digest | TempName


class Fields:
    """The fields of one request, found under any of their spellings."""

    def __init__(self, said: Iterable[tuple[str, object]], *, textual: bool) -> None:
        """`textual`: numbers come as digits, as in a query or a header.

        Raises:
            RequestInvalid: a field is there under several spellings, with different values.
        """
        self._textual = textual
        self._said: dict[str, object] = {}
        for name, value in said:
            key = plain(name)
            if key in self._said and not _same(self._said[key], value):
                raise RequestInvalid(f"{name[:64]} is said twice, and differently")
            self._said[key] = value

    @classmethod
    def of_json(cls, body: Mapping[str, object]) -> Self:
        """The fields of a JSON object; null counts as not said, as Go writes what is empty."""
        return cls(((name, value) for name, value in body.items() if value is not None), textual=False)

    @classmethod
    def of_query(cls, query: Mapping[str, list[str]]) -> Self:
        """The fields of a query."""
        return cls(((name, value) for name, values in query.items() for value in values), textual=True)

    def said(self, name: str) -> object:
        """What is said of a field (named in snake case), unchecked; None when nothing is.

        Raises:
            RequestInvalid: it is said under two of its words, and differently.
        """
        key = plain(name)
        found = [self._said[each] for each in (key, *ALSO.get(key, ())) if each in self._said]
        if any(not _same(found[0], other) for other in found[1:]):
            raise RequestInvalid(f"{name} is said twice, and differently")
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """A field that is text; an empty one counts as not said. RequestInvalid if it is no text, or too long."""
        value = self.said(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise RequestInvalid(f"{name} must be a string")
        if len(value) > MAX_TEXT:
            raise RequestInvalid(f"{name} is longer than {MAX_TEXT} characters")
        return value

    def count(self, name: str) -> int | None:
        """A field that is a whole number; None when it is not said, -1 when it is anything else."""
        value = self.said(name)
        if value is None:
            return None
        if self._textual and isinstance(value, str) and _DIGITS.fullmatch(value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return -1
        return value


def plain(name: str) -> str:
    """The one form of all spellings of a field's name."""
    return name.replace("_", "").lower()


def upload_id(fields: Fields) -> str:
    """The session's id, as the client says it.

    Raises:
        UploadIdInvalid: missing, no text, or longer than any id. The message never repeats it (T04).
    """
    value = fields.said("upload_id")
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise UploadIdInvalid(f"the upload's id is missing, or is not a string of up to {MAX_TEXT} characters")
    return value


def part_number(fields: Fields) -> int:
    """The number of a part: PartNumberInvalid unless it is a whole number from 1 to 10000 (H097, H101)."""
    return numbered(fields.count("part_number"))


def part_word(text: str) -> int:
    """The number of a part as a path has it; PartNumberInvalid as above."""
    return numbered(int(text) if _DIGITS.fullmatch(text) and str(int(text)) == text else None)


def numbered(number: int | None) -> int:
    """`number`, if a part can have it; PartNumberInvalid otherwise."""
    if number is None or not 1 <= number <= MAX_PARTS:
        raise PartNumberInvalid(f"a part number is a whole number from 1 to {MAX_PARTS}")
    return number


def target(text: str) -> Target:
    """The digest or temporary name that `text` spells: there is no third grammar (H076).

    Raises:
        DigestInvalid: neither; above all whatever could lead out of a folder.
    """
    temp = temp_name(text)
    if temp is not None:
        return temp
    if ":" not in text:
        raise DigestInvalid("a digest is sha256:<64 hex>, sha512:<128 hex>, or a temporary name uploads/temp-<id>")
    return Digest.parse(text)


def temp_name(text: str) -> TempName | None:
    """The temporary name that `text` spells, if it is one: letters, digits, '.', '_', '-', but no '..'."""
    match = _TEMP_NAME.fullmatch(text)
    return TempName(match[1]) if match is not None and ".." not in match[1] else None


def said_target(fields: Fields, name: str = "digest") -> Target | None:
    """The field `digest` (or another that is one); None when nothing is said. DigestInvalid as `target`."""
    value = fields.said(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise DigestInvalid(f"{name} must be a string")
    return target(value)


def required_target(fields: Fields, name: str = "digest") -> Target:
    """As `said_target`, and it must be said."""
    found = said_target(fields, name)
    if found is None:
        raise DigestInvalid(f"{name} is missing: a digest, or a temporary name uploads/temp-<id>")
    return found


def size_bytes(fields: Fields, name: str = "size") -> int | None:
    """A size, in bytes; None when it is not said. SizeInvalid unless it is a whole number that a file can have."""
    size = fields.count(name)
    if size is not None and not 0 <= size <= MAX_BYTES:
        raise SizeInvalid(f"{name} must be a whole number of bytes")
    return size


def sha256(fields: Fields) -> str | None:
    """The announced SHA-256 of a body, as 64 lower-case hex characters; None when it is not said (M07).

    Raises:
        DigestInvalid: it is said and is something else.
    """
    value = fields.said("sha256")
    if value is None or value == "":
        return None
    match = _HEX.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise DigestInvalid("sha256 must be 64 hex characters")
    return match[1].lower()


def announced(header: str | None) -> str | None:
    """The SHA-256 that a header says; None for the other things that S3's clients say there."""
    match = _HEX.fullmatch(header) if header is not None else None
    return match[1].lower() if match is not None else None


def did(fields: Fields) -> str | None:
    """Who the client claims to be. RequestInvalid unless it can be written into a log as one word."""
    claim = fields.text("did")
    if claim is not None and not (claim.isascii() and claim.isprintable() and " " not in claim):
        raise RequestInvalid("did must be printable ASCII without blanks")
    return claim


def mode(fields: Fields) -> str | None:
    """The mode that a client asks for: `buffered`, when its way to the store is broken (H048), or `native`, when it
    will have nothing else (H051); None when it is all one. RequestInvalid if it is something else.
    """
    said = fields.text("mode")
    if said not in (None, "buffered", "native"):
        raise RequestInvalid("mode must be buffered or native")
    return said


def listed_parts(fields: Fields) -> list[ListedPart]:
    """The list of a completion, in the client's order; what it lacks or mistakes is the engine's to say.

    Raises:
        RequestInvalid: it is no list of objects with a part number and an ETag each.
    """
    value = fields.said("parts")
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestInvalid("parts must be a list")
    if len(value) > MAX_PARTS:
        raise RequestInvalid(f"parts has {len(value)} entries; {MAX_PARTS} are the most")
    return [_listed(at, each) for at, each in enumerate(value)]


def _listed(at: int, entry: object) -> ListedPart:
    if not isinstance(entry, dict):
        raise RequestInvalid(f"parts[{at}] must be an object with part_number and etag")
    fields = Fields.of_json(entry)
    try:
        number = part_number(fields)
        etag = fields.text("etag")
    except (PartNumberInvalid, RequestInvalid) as error:
        raise RequestInvalid(f"parts[{at}]: {error.message}") from error
    if etag is None:
        raise RequestInvalid(f"parts[{at}]: etag is missing; it is what the answer to the part's PUT said")
    return ListedPart(number, etag)


def _same(one: object, other: object) -> bool:
    """Whether two values are the same, and of one type: JSON's true is not 1."""
    return type(one) is type(other) and one == other

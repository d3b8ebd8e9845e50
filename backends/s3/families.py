"""Families of stores: what each puts on the payload line of a signed URL, and so which forms it takes (s3-sigv4 1.6).

                         U plain   C hash   C, wrong body   G unhashed
    header or minio      200       200      400             403          AWS, Ceph, Swift from 2.34, Storj; MinIO
    query                200       200      400             200          SeaweedFS
    literal              200       403      403             200          Garage, Versity, Scality, Swift before 2.34

Clients that send the hash as a header get form C where it is taken, else G; all others get U.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sigv4.presigning import Form


@dataclass(frozen=True, slots=True)
class Forms:
    """Which forms of a signed URL for PUT the store took; `refuses_wrong`: a body other than the hash says."""

    plain: bool = False
    hashed: bool = False
    refuses_wrong: bool = False
    unhashed: bool = False


HEADER_OR_MINIO: Final = "header or minio"
QUERY: Final = "query"
LITERAL: Final = "literal"
PLAIN_ONLY: Final = "plain URLs only"
NONE: Final = "no signed URLs"

_FAMILIES: Final[Mapping[tuple[bool, bool], str]] = {
    (True, False): HEADER_OR_MINIO,
    (True, True): QUERY,
    (False, True): LITERAL,
    (False, False): PLAIN_ONLY,
}
"""By whether form C and form G are taken."""


def family(forms: Forms) -> str:
    """The family that behaves so."""
    return _FAMILIES[forms.hashed, forms.unhashed] if forms.plain else NONE


def form_with_hash(forms: Forms) -> Form | None:
    """The form for a client that sends the hash of what it sends; None: there is none, it must not send it."""
    if forms.plain and forms.hashed:
        return Form.HASH
    return Form.HEADER_UNHASHED if forms.plain and forms.unhashed else None

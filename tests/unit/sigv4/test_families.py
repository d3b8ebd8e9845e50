"""Each form is accepted by exactly those families of stores that its description names (truth table, s3-sigv4 1.6).

The stores are played here, with a canonical request put together by other code than ours.
"""

import hashlib
import hmac
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from sigv4.presigning import Form
from tests.unit.sigv4.samples import BODY_SHA256, EXAMPLE, REGION, STAMP, signed

OPEN = "UNSIGNED-PAYLOAD"


def payload_line(family: str, argument: str | None, header: str | None) -> str:
    """What a store of that family puts there."""
    rules = {"header": header or OPEN, "minio": argument or header or OPEN, "query": argument or OPEN, "literal": OPEN}
    return rules[family]


def accepts(family: str, url: str, header: str | None) -> bool:
    """Whether such a store takes a PUT of that URL, with or without the header."""
    parts = urlsplit(url)
    arguments = dict(parse_qsl(parts.query, keep_blank_values=True))
    expected = arguments.pop("X-Amz-Signature")
    sent = {"host": parts.netloc} | ({"x-amz-content-sha256": header} if header else {})
    names = arguments["X-Amz-SignedHeaders"].split(";")
    if not set(names) <= set(sent):
        return False
    query = "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in arguments.items()))
    headers = [f"{name}:{sent[name]}" for name in names]
    line = payload_line(family, arguments.get("X-Amz-Content-Sha256"), header)
    canonical = "\n".join(["PUT", parts.path, query, *headers, "", ";".join(names), line])
    scope = f"{STAMP[:8]}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", STAMP, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + EXAMPLE.secret.encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), "sha256").digest()
    return hmac.new(key, text.encode(), "sha256").hexdigest() == expected


# The form, whether the client sends the header, and who accepts that.
TABLE = [
    (Form.PLAIN, False, {"header", "minio", "query", "literal"}),
    (Form.PLAIN, True, {"query", "literal"}),
    (Form.PLAIN_SAID, False, {"header", "minio", "query", "literal"}),
    (Form.HASH_IN_HEADER, True, {"header", "minio"}),
    (Form.HASH_IN_HEADER, False, set()),
    (Form.HASH, True, {"header", "minio", "query"}),
    (Form.HASH, False, set()),
    (Form.HEADER_UNHASHED, True, {"query", "literal"}),
    (Form.HEADER_UNHASHED, False, set()),
]


@pytest.mark.parametrize(("form", "sends", "who"), TABLE, ids=lambda value: getattr(value, "value", None))
def test_a_form_is_accepted_by_those_families(form: Form, sends: bool, who: set[str]) -> None:
    """M09: signing the open payload for a client that sends a hash is the mistake of the first row but one."""
    plain = form in (Form.PLAIN, Form.PLAIN_SAID)
    made = signed(form=form, payload_sha256=None if plain else BODY_SHA256)
    header = BODY_SHA256 if sends else None
    assert {family for family in ("header", "minio", "query", "literal") if accepts(family, made.url, header)} == who

"""Where a push goes: the grammar of references, and which of them may go without TLS."""

import pytest

from clients.references import NotAReference, Reference, is_loopback, parse
from model.digests import Digest

ZERO = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("r.example.org/a/b:1", Reference("https", "r.example.org", "a/b", "1")),
        ("r.example.org:5000/a", Reference("https", "r.example.org:5000", "a")),
        ("http://r.example.org/a", Reference("http", "r.example.org", "a")),
        ("https://localhost/a:x_Y", Reference("https", "localhost", "a", "x_Y")),
        ("localhost:5000/a", Reference("http", "localhost:5000", "a")),
        ("127.9.9.9/a", Reference("http", "127.9.9.9", "a")),
        ("[::1]:5000/a", Reference("http", "[::1]:5000", "a")),
        ("[2001:db8::1]:5000/a", Reference("https", "[2001:db8::1]:5000", "a")),
        (f"R.example.org/a@{ZERO}", Reference("https", "r.example.org", "a", None, Digest.parse(ZERO))),
        (f"r/a:1@{ZERO}", Reference("https", "r", "a", "1", Digest.parse(ZERO))),
    ],
)
def test_references_are_read(text: str, found: Reference) -> None:
    assert parse(text) == found


def test_plain_http_wins_over_everything() -> None:
    assert parse("https://r/a", plain_http=True).base == "http://r"


@pytest.mark.parametrize(
    "text",
    ["", "a", "/a", "r/", "r/A", "ftp://r/a", "r:x/a", "r:99999/a", "r/a:", "r/a:-x", "r/a@sha256:1", "u@r/a", "r//a"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(NotAReference, match=r".+"):
        parse(text)


@pytest.mark.parametrize(("wanted", "text"), [("latest", "r/a"), ("1", "r/a:1"), (ZERO, f"r/a:1@{ZERO}")])
def test_a_manifest_is_asked_by_digest_else_tag_else_latest(wanted: str, text: str) -> None:
    assert parse(text).wanted == wanted


def test_dockers_own_registry_answers_under_another_name() -> None:
    assert (parse("docker.io/a/b").base, parse("docker.io/a/b").name) == (
        "https://registry-1.docker.io",
        "docker.io/a/b",
    )


def test_only_this_machine_is_this_machine() -> None:
    assert [
        host for host in ("localhost", "a.localhost", "127.0.0.2", "[::1]", "10.0.0.1", "local") if is_loopback(host)
    ] == [
        "localhost",
        "a.localhost",
        "127.0.0.2",
        "[::1]",
    ]

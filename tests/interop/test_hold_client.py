"""A chunked writer in front of the hold, in Go: 5 MiB at a time, a temporary name, parts listed without JSON tags.

It was written from the description of the old AppView's client, habits included (tests/interop/goclient/hold.go).
"""

from pathlib import Path

import pytest

from tests.interop.goprogram import GoClient, GoClientFailed
from tests.interop.layouts import filler, sha256
from tests.interop.wire import Registry
from tests.support.content import key_of, stored_blobs
from tests.support.server import Server
from tests.support.waiting import eventually

MEGABYTE = 1_000_000
DOCKERS_WRITE = 32 * 1024
TOKEN = "open-sesame-and-close-again"


def made(path: Path, size_bytes: int) -> Path:
    """A file of that size."""
    path.write_bytes(filler(path.name, size_bytes))
    return path


@pytest.mark.parametrize(
    ("size_bytes", "parts"), [(3 * MEGABYTE, 1), (10 * MEGABYTE, 2), (100 * MEGABYTE, 20)], ids=["3MB", "10MB", "100MB"]
)
def test_a_file_of_any_size_arrives(
    goclient: GoClient, registry: Registry, tmp_path: Path, size_bytes: int, parts: int
) -> None:
    """The flow of the chunked writer, whole: H010, H011, H012, H014, H015, H016, H023, H025, H026, H027, H030, H035.

    H075, H078, H085, H087, H095, H096, H097, H098, H099, H110, H172, H187, H189, H190, H191, H193, H194, H195, T02.
    """
    file = made(tmp_path / f"{size_bytes}.bin", size_bytes)
    digest = sha256(file.read_bytes())

    pushed = goclient("hold-push", file, registry.url, str(DOCKERS_WRITE))

    assert (pushed["digest"], pushed["size"], pushed["parts"]) == (digest, size_bytes, parts)
    assert goclient("hold-fetch", registry.url, digest, tmp_path / "back") == 200
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_writes_that_are_no_divisor_of_a_part_arrive_as_well(
    goclient: GoClient, registry: Registry, tmp_path: Path
) -> None:
    """H095, H096: a part is sent when the buffer has reached 5 MiB, and may then be longer."""
    file = made(tmp_path / "odd.bin", 16 * MEGABYTE + 7)

    pushed = goclient("hold-push", file, registry.url, "777777")

    assert pushed["digest"] == sha256(file.read_bytes())
    assert pushed["parts"] == 3


def test_what_it_pushed_lies_where_distribution_would_have_it(
    goclient: GoClient, registry: Registry, server: Server, tmp_path: Path
) -> None:
    """H079, H174."""
    file = made(tmp_path / "placed.bin", 6 * MEGABYTE)

    digest = goclient("hold-push", file, registry.url, str(DOCKERS_WRITE))["digest"]

    def under_its_digest() -> list[bytes]:
        return [stored.read_bytes() for stored in stored_blobs(server.data) if stored.key == key_of(digest)]

    eventually(lambda: bool(under_its_digest()), "it is settled")
    assert [sha256(content) for content in under_its_digest()] == [digest]


def test_giving_up_by_the_id_alone_leaves_nothing(
    goclient: GoClient, registry: Registry, server: Server, tmp_path: Path
) -> None:
    """H028, H029, H192, T03."""
    gone = goclient("hold-give-up", made(tmp_path / "left.bin", 12 * MEGABYTE), registry.url, str(DOCKERS_WRITE))

    assert gone["status"] == 200
    assert list((server.data / "spool").glob(f"{gone['upload_id']}*")) == []


def test_who_looks_at_no_status_is_not_led_on_by_a_refusal(goclient: GoClient, tmp_path: Path) -> None:
    """T04: the start is refused, what is decoded from that is no session, and nothing is stored."""
    file = made(tmp_path / "refused.bin", 6 * MEGABYTE)
    with Server(tmp_path / "guarded" / "data", env={"HOLD_TOKEN": TOKEN}) as guarded:
        with pytest.raises(GoClientFailed):
            goclient("hold-push", file, guarded.url, str(DOCKERS_WRITE))
        assert list((guarded.data / "spool").iterdir()) == []

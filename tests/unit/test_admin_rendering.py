"""Answers as a person reads them."""

import pytest

from admin import rendering
from model.units import human_span

HELD = {
    "name": "lab/tools",
    "manifests": 1,
    "tags": 2,
    "unique_bytes": 5 * 1024 * 1024,
    "shared_bytes": 0,
    "uploads": 0,
}


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    assert list(rendering.table(["NAME", "SIZE>"], [["a", "5 B"], ["long/name", "12.5 MiB"]])) == [
        "NAME           SIZE",
        "a               5 B",
        "long/name  12.5 MiB",
    ]


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    (_, line) = rendering.table(["OWNER"], [["anna\x1b[2J\n"]])
    assert line == "anna?[2J?"


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [(0, "tag", "0 tags"), (1, "repository", "1 repository"), (2, "repository", "2 repositories")],
)
def test_things_are_counted_as_people_do(number: int, noun: str, told: str) -> None:
    assert rendering.counted(number, noun) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-1, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (86400 * 3.9, "3 d")],
)
def test_an_age_is_told_in_its_largest_unit(seconds: float, told: str) -> None:
    assert human_span(seconds) == told


def test_empty_lists_say_so_in_words() -> None:
    assert list(rendering.repositories({"repositories": [], "total": {}})) == ["No repositories."]
    assert list(rendering.tags({"repository": "lab/x", "tags": []})) == ["No tags in lab/x."]
    assert list(rendering.uploads({"uploads": []})) == ["No open uploads."]
    assert list(rendering.copies({"copies": []})) == ["No copies of the catalog yet."]


def test_a_copy_says_whether_it_is_in_the_bucket_too() -> None:
    taken = {"path": "/srv/backups/c", "size_bytes": 1024}
    assert list(rendering.new_copy(taken)) == ["Copied the catalog to /srv/backups/c (1.0 KiB)."]
    assert list(rendering.new_copy(taken | {"bucket": True}))[1:] == ["It is in the bucket too."]
    assert "not sent to the bucket" in list(rendering.new_copy(taken | {"bucket": False}))[1]
    trouble = {"bucket": False, "bucket_unknown": "the store is dead"}
    assert list(rendering.new_copy(taken | trouble))[1:] == ["The bucket could not be asked: the store is dead."]
    assert list(rendering.copies({"copies": []} | trouble))[1:] == ["The bucket could not be asked: the store is dead."]


def test_deleting_tells_what_it_frees_and_what_may_come_back() -> None:
    assert rendering.question(HELD) == "Delete lab/tools with 1 manifest and 2 tags? [y/N] "
    assert "(1 upload under way would begin it anew)" in rendering.question(HELD | {"uploads": 1})
    told = list(rendering.deleted_repository(HELD))
    assert told[0] == "Deleted lab/tools with 1 manifest and 2 tags."
    assert told[1].startswith("5.0 MiB of it were in no other repository")
    assert len(list(rendering.deleted_repository(HELD | {"unique_bytes": 0}))) == 1


def test_a_copied_tag_tells_the_former_digest_only_when_it_moved() -> None:
    answer = {"repository": "lab/x", "tag": "latest", "digest": "sha256:new", "former_digest": None}
    assert list(rendering.copied_tag(answer)) == ["lab/x:latest is sha256:new now."]
    assert list(rendering.copied_tag(answer | {"former_digest": "sha256:new"})) == ["lab/x:latest is sha256:new now."]
    moved = list(rendering.copied_tag(answer | {"former_digest": "sha256:old"}))
    assert moved == ["lab/x:latest is sha256:new now (was sha256:old)."]


UPLOAD = {
    "id": "one",
    "kind": "parts",
    "repository": "lab/x",
    "bytes": 5 << 20,
    "size_bytes": None,
    "parts": 1,
    "total_parts": None,
    "age_s": 5,
    "idle_s": 5,
    "owner": "anna",
    "target": "uploads/temp-1",
    "receiving": False,
    "mode": "buffered",
    "in_store": None,
    "proving": None,
}


def test_uploads_are_told_with_what_the_store_has_only_where_there_is_one() -> None:
    """H013, H061: and how far a whole is proven that clients put there themselves."""
    head, line = rendering.uploads({"uploads": [UPLOAD]})
    assert head.endswith("PARTS  TARGET") and line.endswith("1  uploads/temp-1")
    there = {"bytes": 3 << 20, "waiting_bytes": 2 << 20, "trouble": "the store does not answer"}
    sending = UPLOAD | {"in_store": there}
    proving = UPLOAD | {"mode": "native", "proving": {"bytes": 1 << 20, "of_bytes": 5 << 20}}
    head, first, second, why = rendering.uploads({"uploads": [sending, proving]})
    assert head.split()[-5:] == ["MODE", "IN", "STORE", "WAITING", "PROVEN"]
    assert "buffered   3.0 MiB  ! 2.0 MiB" in first and first.endswith(" -")
    assert why == "! 1 upload: the store does not answer"
    assert "native" in second and second.endswith("1.0 MiB of 5.0 MiB")


def test_a_table_of_uploads_fits_a_wide_window() -> None:
    """With a reason of any length, and a digest for a target."""
    there = {"bytes": 999 << 20, "waiting_bytes": 999 << 20, "trouble": "the store " + "does not answer " * 20}
    wide: dict[str, object] = {
        "id": "5031bb36-c34d-49f0-bd29-aacae83506f1",
        "repository": "base/debian",
        "target": "sha256:" + "ab" * 32,
    }
    wide |= {"size_bytes": 999 << 20, "bytes": 998 << 20, "parts": 999, "total_parts": 1000, "in_store": there}
    head, *lines, why = rendering.uploads({"uploads": [UPLOAD | wide, UPLOAD | wide]})
    assert max(map(len, (head, *lines))) <= 160
    assert all("sha256:abababababab  buffered" in line for line in lines)
    assert why.startswith("! 2 uploads: the store does not answer")


def test_what_clients_brought_to_the_store_themselves_is_not_told_as_nothing() -> None:
    there = {"bytes": 0, "waiting_bytes": 0, "trouble": ""}
    native = UPLOAD | {"mode": "native", "in_store": there, "total_parts": 100, "size_bytes": 100 << 20}
    _, unasked, asked = rendering.uploads(
        {
            "uploads": [
                native | {"bytes": 0, "parts": 0},
                native | {"bytes": 71 << 20, "parts": 71, "in_store": there | {"bytes": 71 << 20}},
            ]
        }
    )
    assert " ? of 100.0 MiB " in unasked and " ? of 100 " in unasked and unasked.endswith(" ?      0 B")
    assert "71.0 MiB+ of 100.0 MiB" in asked and "71+ of 100" in asked and "native  71.0 MiB+" in asked

"""The tag list: byte order, pages, and what a repository without tags says (oci.md end-8)."""

import random

import pytest

from tests.http.oci.content import IMAGE, artifact, digest_of
from tests.http.oci.serving import Serving, following

REPOSITORY = "lab/tools"
TAGS = sorted(["latest", "1", "10", "2", "A", "Z", "a", "z", "_x", "a.b", "a-b", "a_b", "v1.0", "V1.0", "x" * 128])
CONTENT = artifact("tags")


@pytest.fixture
async def tagged(oci: Serving) -> Serving:
    """A repository whose tags were not pushed in their order."""
    await oci.push(REPOSITORY, b"{}")
    shuffled = random.Random(1).sample(TAGS, len(TAGS))
    query = "?" + "&".join(f"tag={tag}" for tag in shuffled)
    assert (await oci.put_manifest(REPOSITORY, digest_of(CONTENT), CONTENT, IMAGE, query)).status == 201
    return oci


async def test_all_tags_are_listed_in_byte_order(tagged: Serving) -> None:
    answer = await tagged.tags(REPOSITORY)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == {"name": REPOSITORY, "tags": TAGS}
    assert following(answer) is None


@pytest.mark.parametrize("size", [1, 2, 4, 7, len(TAGS) - 1, len(TAGS), len(TAGS) + 1, 1000, 10**15])
async def test_the_pages_together_are_all_tags_in_order(tagged: Serving, size: int) -> None:
    target: str | None = f"/v2/{REPOSITORY}/tags/list?n={size}"
    found: list[str] = []
    while target is not None:
        answer = await tagged.ask("GET", target)
        page, target = answer.json()["tags"], following(answer)
        assert page
        assert len(page) == size or (len(page) < size and target is None), "fewer than asked for only at the end"
        found += page
    assert found == TAGS


@pytest.mark.parametrize("query", ["", "?n=4", "?n=1000"])
async def test_nobody_gets_more_than_one_page_holds(
    tagged: Serving, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr("handlers.params.MAX_PAGE", 3)
    answer = await tagged.tags(REPOSITORY, query)
    assert answer.json()["tags"] == TAGS[:3]
    assert following(answer) == f"/v2/{REPOSITORY}/tags/list?n=3&last={TAGS[2]}"


async def test_the_link_says_the_size_of_the_page_again(tagged: Serving) -> None:
    assert following(await tagged.tags(REPOSITORY, "?n=3")) == f"/v2/{REPOSITORY}/tags/list?n=3&last={TAGS[2]}"


@pytest.mark.parametrize("last", [*TAGS, "0", "B", "latest0", "zz", "a.", "~", "%ff", "a/b"])
async def test_last_is_left_out_and_need_not_exist(tagged: Serving, last: str) -> None:
    behind = [tag for tag in TAGS if tag > (last if last != "%ff" else "\ufffd")]
    assert (await tagged.tags(REPOSITORY, f"?last={last}")).json()["tags"] == behind
    answer = await tagged.tags(REPOSITORY, f"?n=2&last={last}")
    assert answer.json()["tags"] == behind[:2]
    assert (following(answer) is not None) == (len(behind) > 2)


async def test_no_entries_may_be_asked_for(tagged: Serving) -> None:
    answer = await tagged.tags(REPOSITORY, "?n=0")
    assert (answer.status, answer.json()["tags"], following(answer)) == (200, [], None)


@pytest.mark.parametrize("size", ["-1", "x", "", "1.5", "1e3", "+5", "%D9%A1", "0x10"])
async def test_what_is_no_count_is_refused(tagged: Serving, size: str) -> None:
    answer = await tagged.tags(REPOSITORY, f"?n={size}")
    assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


async def test_the_list_can_be_asked_for_by_head(tagged: Serving) -> None:
    whole = await tagged.tags(REPOSITORY)
    answer = await tagged.ask("HEAD", f"/v2/{REPOSITORY}/tags/list")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(whole.body)))


async def test_a_repository_that_does_not_exist_has_no_list(oci: Serving) -> None:
    answer = await oci.tags("no/such")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


async def test_a_repository_without_tags_has_an_empty_list(oci: Serving) -> None:
    await oci.push(REPOSITORY, b"{}")
    for _ in range(2):
        answer = await oci.tags(REPOSITORY)
        assert (answer.status, answer.json()) == (200, {"name": REPOSITORY, "tags": []})
        await oci.put_manifest(REPOSITORY, digest_of(CONTENT), CONTENT, IMAGE)


async def test_an_upload_alone_makes_no_repository(oci: Serving) -> None:
    location = await oci.session(REPOSITORY)
    await oci.patch(location, b"{}")
    assert (await oci.tags(REPOSITORY)).status == 404
    assert (await oci.ask("GET", "/v2/_catalog")).json() == {"repositories": []}


async def test_the_list_follows_every_change_at_once(oci: Serving) -> None:
    await oci.push(REPOSITORY, b"{}")
    for number in range(5):
        await oci.put_manifest(REPOSITORY, f"t{number}", CONTENT, IMAGE)
        assert (await oci.tags(REPOSITORY)).json()["tags"] == [f"t{each}" for each in range(number + 1)]
    for number in range(5):
        await oci.delete(REPOSITORY, "manifests", f"t{number}")
        assert (await oci.tags(REPOSITORY)).json()["tags"] == [f"t{each}" for each in range(number + 1, 5)]

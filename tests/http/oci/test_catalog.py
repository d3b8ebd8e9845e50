"""The list of repositories: byte order, pages, and when one begins and ends."""

import pytest

from tests.http.oci.content import IMAGE, artifact, digest_of
from tests.http.oci.serving import Serving, following

NAMES = sorted(["a", "b", "a/b", "a-b", "a.b", "a0", "library/x", "z/y/x/w", "zz"])
CONTENT = artifact("catalog")


@pytest.fixture
async def filled(oci: Serving) -> Serving:
    """Repositories that were not begun in their order."""
    for name in [*NAMES[1::2], *NAMES[::2]]:
        await fill(oci, name)
    return oci


async def fill(oci: Serving, name: str) -> None:
    await oci.push(name, b"{}")
    assert (await oci.put_manifest(name, "1", CONTENT, IMAGE)).status == 201


async def names(oci: Serving, query: str = "") -> list[str]:
    answer = await oci.ask("GET", f"/v2/_catalog{query}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    found: list[str] = answer.json()["repositories"]
    return found


async def test_an_empty_registry_lists_nothing(oci: Serving) -> None:
    assert await names(oci) == []


async def test_all_repositories_are_listed_in_byte_order(filled: Serving) -> None:
    assert await names(filled) == NAMES


@pytest.mark.parametrize("size", [1, 2, len(NAMES) - 1, len(NAMES), 100, 10**9])
async def test_the_pages_together_are_all_repositories(filled: Serving, size: int) -> None:
    target: str | None = f"/v2/_catalog?n={size}"
    found: list[str] = []
    while target is not None:
        answer = await filled.ask("GET", target)
        found, target = found + answer.json()["repositories"], following(answer)
    assert found == NAMES


@pytest.mark.parametrize("last", [*NAMES, "0", "a/", "a/b/c", "~"])
async def test_last_is_left_out_and_need_not_exist(filled: Serving, last: str) -> None:
    assert await names(filled, f"?last={last}") == [name for name in NAMES if name > last]
    assert await names(filled, f"?n=1&last={last}") == [name for name in NAMES if name > last][:1]


async def test_no_entries_may_be_asked_for(filled: Serving) -> None:
    answer = await filled.ask("GET", "/v2/_catalog?n=0")
    assert (answer.json(), following(answer)) == ({"repositories": []}, None)


@pytest.mark.parametrize("size", ["-1", "x", ""])
async def test_what_is_no_count_is_refused(oci: Serving, size: str) -> None:
    answer = await oci.ask("GET", f"/v2/_catalog?n={size}")
    assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


async def test_a_repository_leaves_the_list_with_its_last_manifest(filled: Serving) -> None:
    await filled.delete("a", "manifests", "1")
    assert await names(filled) == NAMES
    await filled.delete("a", "manifests", digest_of(CONTENT))
    assert await names(filled) == NAMES[1:]
    await fill(filled, "a")
    assert await names(filled) == NAMES


async def test_the_list_can_be_asked_for_by_head(filled: Serving) -> None:
    whole = await filled.ask("GET", "/v2/_catalog")
    answer = await filled.ask("HEAD", "/v2/_catalog")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(whole.body)))

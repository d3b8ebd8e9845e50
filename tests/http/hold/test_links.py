"""URLs for whole blobs where clients reach the store: its own, or ours where that would not do."""

import pytest

from tests.http.client import Answer
from tests.http.hold.client import Hold
from tests.http.hold.conftest import Open
from tests.http.oci.content import noise
from tests.http.reachable import WHERE, Reachable, reachable

REPOSITORY = "lab/app"
LARGE, SMALL = noise(100_000, "large"), noise(100, "small")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Reachable:
    return reachable(monkeypatch)


async def ask(hold: Hold, method: str, digest: str) -> Answer:
    return await hold.post(f"/{method.lower()}-presigned-url", {"digest": digest, "did": "did:plc:tester"})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_large_blob_is_read_at_the_stores_own_url(opened: Open, store: Reachable, method: str) -> None:
    """G07, G08, H041: signed for the address that clients know, for as long as any download."""
    hold = await opened(storage_driver="memory", download_url_hours="2")
    digest = await hold.oci.push(REPOSITORY, LARGE)
    answer = await ask(hold, method, digest)
    said = answer.json()
    assert said["url"].startswith(WHERE) and said["url"].endswith(f"?for={method}")
    assert (said["method"], said["mode"], said["headers"]) == (method, "native", {})
    assert store.lifetimes_s == [7200]


async def test_a_small_one_and_one_of_a_store_that_is_out_of_reach_is_read_at_ours(
    opened: Open, store: Reachable
) -> None:
    """H047: also where downloads are sent to the store, for then it has been decided already."""
    hold = await opened(storage_driver="memory", s3_redirect="on")
    large, small = [await hold.oci.push(REPOSITORY, content) for content in (LARGE, SMALL)]
    said = (await ask(hold, "GET", small)).json()
    assert said["mode"] == "buffered"
    assert (await hold.put(said["url"], None, method="GET")).body == SMALL
    said = (await hold.post("/get-presigned-url", {"digest": large, "mode": "buffered"})).json()
    assert said["mode"] == "buffered", "its way to the store is broken (H048)"
    assert (await hold.put(said["url"], None, method="GET")).body == LARGE
    store.why_not_native = "nobody there"
    said = (await ask(hold, "GET", large)).json()
    assert (await hold.put(said["url"], None, method="GET")).body == LARGE
    assert store.lifetimes_s == []


async def test_without_signed_urls_no_url_of_the_store_is_handed_out_either(opened: Open, store: Reachable) -> None:
    """H044, H045."""
    hold = await opened(storage_driver="memory", disable_presigned_urls="on")
    digest = await hold.oci.push(REPOSITORY, LARGE)
    for method in ("GET", "HEAD"):
        said = (await ask(hold, method, digest)).json()
        assert said["url"].startswith(f"{hold.url}/xrpc/") and said["mode"] == "buffered"
    assert store.lifetimes_s == []

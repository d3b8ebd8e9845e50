"""Whole flows over S3, in each family of servers: skopeo, the hold native and buffered, our own push; a store is real.

A family is known by the last line of what it hashes for a signed URL (docs/s3.md). Debian's older Swift is a real
server of the literal family, beside the one that plays it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.client import Client, digest, noise
from tests.faults.hold import Hold, cut
from tests.http.gate import gate
from tests.http.pushing import PART, kill, sha256, some_file
from tests.http.pushing import Client as Commands
from tests.interop import layouts
from tests.interop.layouts import Layout
from tests.interop.native import store_put
from tests.interop.sandbox import Sandbox
from tests.support.content import check_bucket, left_over
from tests.support.faultproxy import FaultProxy
from tests.support.objectstore import NOWHERE, RULES, Bucket, ObjectStore
from tests.support.server import Server
from tests.support.stores import StoreOf
from tests.support.waiting import eventually

FAMILIES = [*RULES, "debian"]
MIB = 1 << 20
CONTENT = noise("flows", 2 * PART + 4321)
REPOSITORY = "flows/parts"


@dataclass
class Place:
    """A registry over a bucket, with clients sent to the store or not, and a counter on its own connections."""

    server: Server
    bucket: Bucket
    door: FaultProxy
    """Before the registry."""

    @property
    def hold(self) -> Hold:
        return Hold(self.door.port)

    def through_us_bytes(self) -> int:
        """Everything that clients have sent to the registry and got from it."""
        return sum(seen.in_all_bytes for seen in self.door.asked())

    def settled(self) -> None:
        """The bucket has the blobs and nothing else."""
        data, bucket = self.server.data, self.bucket
        eventually(lambda: left_over(data, bucket) == [], "left over:", told=lambda: left_over(data, bucket))
        check_bucket(self.server.data, self.bucket)


@pytest.fixture(params=FAMILIES)
def store(request: pytest.FixtureRequest, object_store_of: StoreOf) -> ObjectStore:
    """A store of each family."""
    if request.param == "debian":
        older: ObjectStore = request.getfixturevalue("debian_store")
        return older
    return object_store_of(request.param)


@pytest.fixture(params=["native", "buffered"])
def place(request: pytest.FixtureRequest, store: ObjectStore, tmp_path: Path) -> Iterator[Place]:
    """With clients that can reach the store, and with clients that cannot."""
    bucket = store.new_bucket()
    outside = store.url if request.param == "native" else NOWHERE
    with (
        Server(tmp_path / "data", env=bucket.env(s3_external_endpoint=outside)) as server,
        FaultProxy(server.netloc) as door,
    ):
        yield Place(server, bucket, door)
    assert "Traceback" not in server.log(), server.log()


def mode_of(place: Place, upload_id: str) -> str:
    """How an upload was begun, as the log says it (H134, H135)."""
    found = re.search(rf"started (\w+) upload: uploadID={upload_id}", place.server.log(), re.IGNORECASE)
    assert found is not None
    return found[1].lower()


@pytest.mark.one_in(2)
def test_an_image_goes_and_comes_back_by_skopeo(place: Place, tmp_path: Path, layout: Layout) -> None:
    """H041, T01: buffered or not makes no difference to OCI clients."""
    image = layout.name(layouts.small_image(layout, "flows"))
    with Sandbox(tmp_path / "sandbox", place.server.netloc) as sandbox:
        there = f"docker://{place.server.netloc}/flows/skopeo:1"
        sandbox.run("skopeo", "copy", "--dest-tls-verify=false", layout.ref(), there)
        sandbox.run("skopeo", "copy", "--src-tls-verify=false", there, f"oci:{sandbox.folder}/back:latest")
        back = {path.name for path in (sandbox.folder / "back" / "blobs" / "sha256").iterdir()}
    assert back == {path.name for path in (layout.path / "blobs" / "sha256").iterdir()}
    assert image["digest"].partition(":")[2] in back
    place.settled()


def test_skopeo_follows_to_the_store_where_downloads_are_sent_there(
    store: ObjectStore, tmp_path: Path, layout: Layout
) -> None:
    """M20, G07: every family answers a plain signed URL, and the bytes are those of the image."""
    layout.name(layouts.small_image(layout, "redirected"))
    bucket = store.new_bucket()
    with (
        Server(tmp_path / "data", env=bucket.env(s3_redirect="on", small_blob_bytes="0")) as server,
        Sandbox(tmp_path / "sandbox", server.netloc) as sandbox,
    ):
        there = f"docker://{server.netloc}/flows/redirected:1"
        sandbox.run("skopeo", "copy", "--dest-tls-verify=false", layout.ref(), there)
        eventually(lambda: left_over(server.data, bucket) == [], "not settled:")
        sandbox.run("skopeo", "copy", "--src-tls-verify=false", there, f"oci:{sandbox.folder}/back:latest")
        back = {path.name for path in (sandbox.folder / "back" / "blobs" / "sha256").iterdir()}
    assert back == {path.name for path in (layout.path / "blobs" / "sha256").iterdir()}
    followed = [
        seen for seen in store.requests() if f"/{bucket.name}/docker/" in seen.path and "X-Amz-Signature" in seen.query
    ]
    assert followed and {(seen.method, seen.status) for seen in followed} == {("GET", 200)}


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "plain"])
def test_parts_of_the_hold_become_a_blob(place: Place, request: pytest.FixtureRequest, announced: bool) -> None:
    """H040, H041, H049, H086, H088, H105, H170, H171, H179, H181, H190, H191, H201: native, no byte comes here."""
    native = "native" in request.node.callspec.id
    parts = cut(CONTENT, PART)
    upload_id = place.hold.start(digest(CONTENT), REPOSITORY, size=len(CONTENT), part_size=PART)
    assert mode_of(place, upload_id) == ("native" if native else "buffered")
    before = place.through_us_bytes()
    etags = {number: store_put(place.hold, upload_id, number, part, announced) for number, part in parts.items()}
    if native:
        assert (place.through_us_bytes() - before) / len(parts) < 2048
        assert not [seen for seen in place.door.asked() if seen.body_bytes > 1024]
    place.hold.complete(upload_id, digest(CONTENT), etags).expect(200)
    assert Client(place.server.port).has_whole(REPOSITORY, CONTENT)
    place.settled()


def test_a_wrong_digest_and_an_abort_leave_nothing(place: Place) -> None:
    """H080, H180, H182, H183, T10: nobody ever sees it, and the store holds nothing of it."""
    hold, parts = place.hold, cut(CONTENT, PART)
    for ending in ("missing", "wrong", "abort"):
        upload_id = hold.start(digest(CONTENT), REPOSITORY, size=len(CONTENT), part_size=PART)
        sent = {1: parts[1], 2: parts[2]} if ending == "missing" else parts
        etags = {number: store_put(hold, upload_id, number, part, False) for number, part in sent.items()}
        if ending == "missing":
            hold.complete(upload_id, digest(CONTENT), {**etags, 3: "0" * 32}).expect(400)
        elif ending == "wrong":
            hold.complete(upload_id, digest(b"something else"), etags).expect(400)
        if ending != "wrong":
            hold.abort(upload_id).expect(200)
        assert not Client(place.server.port).has_whole(REPOSITORY, CONTENT)
    place.settled()
    assert place.bucket.objects("docker/") == {}


@pytest.mark.one_in(3)
def test_our_own_push_survives_the_death_of_the_registry_in_its_middle(place: Place, tmp_path: Path) -> None:
    """H070, H071, H115, T09: the same command goes on where it stopped."""
    big, commands = some_file(tmp_path / "big.bin", 6 * PART + 5), Commands(tmp_path / "home")
    with gate(place.server.netloc) as door:
        push = ("push", big, f"{door.netloc}/a/b:1", "--part-size", "5MiB", "--parallel", "1")
        door.allow(4000)
        pushing = commands.start(*push)
        door.wait_until_it_holds()
        place.server.kill()
        kill(pushing)
        place.server.start()
        door.allow(1 << 40)
        commands.run(*push)
    commands.run("pull", f"{place.server.netloc}/a/b:1", "--output", tmp_path / "back.bin")
    assert sha256(tmp_path / "back.bin") == sha256(big)
    place.settled()

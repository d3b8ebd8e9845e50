"""A registry that starts while its store is away, on a bucket that turns out to be another's: nothing is sent there."""

import pytest

from tests.faults.client import digest, noise
from tests.faults.hold import SMALL_PARTS, Hold
from tests.faults.s3 import MIB, eventually, in_time, is_unavailable, pushed, site_over
from tests.faults.test_s3_troubles import InParts, Small, ready
from tests.support.objectstore import NOWHERE, ObjectStore
from tests.support.server import Server

REPOSITORY = "ill/store"


def test_pushes_wait_where_the_bucket_turns_out_to_be_another_registrys(
    object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes are received, what would be stored is answered 503 and says why; the other is as it was."""
    folder = tmp_path_factory.mktemp("whose")
    with site_over(object_store, folder) as site:
        content = noise("theirs", MIB)
        pushed(site.client, REPOSITORY, content)
        site.settled()
        site.server.terminate()
        before = site.bucket.objects()
        site.proxy.down()
        env = site.bucket.env(s3_endpoint=site.proxy.url, s3_external_endpoint=NOWHERE)
        with Server(folder / "stranger", flags=SMALL_PARTS, env=env) as stranger:
            client = Hold(stranger.port)
            parted = InParts(client, "elsewhere")
            site.proxy.up()
            eventually(lambda: "belongs to another registry" in stranger.log(), "it finds out", patience_s=30)
            assert client.request("GET", "/readyz").status == 503
            for way in (Small(client, "elsewhere"), parted):
                answer = in_time(way.ask)
                is_unavailable(site, answer)
                assert "the bucket belongs to another registry" in answer.body.decode()
            opened = client.open(REPOSITORY)
            client.patch(opened, noise("received", MIB), 0).expect(202)
            assert (site.bucket.objects(), site.bucket.uploads()) == (before, [])
        site.server.start()
        eventually(lambda: ready(site) == 200, "the registry whose bucket it is is as it was")
        assert site.client.blob(REPOSITORY, digest(content)).expect(200).body == content

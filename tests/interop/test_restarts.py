"""Real clients and a registry that does not stay up: what they were told is stored is still there afterwards."""

from collections.abc import Callable

import pytest

from tests.interop import layouts
from tests.interop.goprogram import GoClient
from tests.interop.layouts import Layout
from tests.interop.wire import Registry
from tests.support import needs
from tests.support.server import Server


@pytest.fixture
def ours(server: Server | None) -> Server:
    """The server under test, for stories that stop it; another's registry is not ours to stop."""
    return server or needs.missing("needs a server of its own; unset INTEROP_REGISTRY")


def crash(server: Server) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("end", [Server.restart, crash], ids=["stopped", "killed"])
def test_an_index_pushed_before_is_pulled_after(
    ours: Server, goclient: GoClient, registry: Registry, repo: str, layout: Layout, end: Callable[[Server], object]
) -> None:
    made = layout.name(layouts.two_platforms(layout, repo), "1")
    goclient("crane-push", layout.path, registry.ref(repo, "1"))
    signature = layout.name(layouts.artifact(layout, "a/signature", {"it": b"is I"}, subject=made), "sig")
    goclient("oras-copy", f"oci:{layout.path}:sig", f"{registry.netloc}/{repo}@{signature['digest']}")
    end(ours)

    back = f"ocidir://{layout.path.parent}/back:1"
    assert goclient("regclient-copy-referrers", registry.ref(repo, "1"), back) == made["digest"]
    assert goclient("regclient-referrers", back) == [signature["digest"]]


@pytest.mark.parametrize("end", [Server.restart, crash], ids=["stopped", "killed"])
def test_an_upload_begun_before_is_finished_after(
    ours: Server, registry: Registry, repo: str, end: Callable[[Server], object]
) -> None:
    """The client holds the Location of its last chunk and simply goes on with it."""
    first, last = layouts.filler(f"{repo} 1", 300_000), layouts.filler(f"{repo} 2", 50_000)
    digest = layouts.sha256(first + last)
    opened = registry.request("POST", f"/v2/{repo}/blobs/uploads/", b"")
    octets = {"Content-Type": "application/octet-stream"}
    taken = registry.request("PATCH", opened.headers["Location"], first, octets)
    assert taken.headers["Range"] == "0-299999"
    end(ours)

    location = taken.headers["Location"]
    sign = "&" if "?" in location else "?"
    assert registry.request("PUT", f"{location}{sign}digest={digest}", last, octets).status == 201
    assert registry.blob(repo, digest).body == first + last

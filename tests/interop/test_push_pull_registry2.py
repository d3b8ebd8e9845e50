"""Our push and pull against another registry, the one that everybody has: distribution 2, as Debian packages it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.gate import gate
from tests.http.pushing import MIB, Client, kill, sha256, some_file
from tests.interop import layouts
from tests.interop.layouts import Layout
from tests.interop.sandbox import Sandbox
from tests.interop.wire import Registry
from tests.support import needs
from tests.support.server import free_port

CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}", secret: constant}}
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """distribution 2 over an empty folder."""
    folder = tmp_path_factory.mktemp("registry2")
    port = free_port()
    (folder / "config.yml").write_text(CONFIG.format(root=folder / "data", port=port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [needs.tool("docker-registry"), "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )
    registry = Registry(f"127.0.0.1:{port}")
    try:
        while not _answers(registry):
            assert process.poll() is None, (folder / "log").read_text()
        yield registry
    finally:
        process.terminate()
        process.wait(20)


def _answers(registry: Registry) -> bool:
    try:
        return registry.request("GET", "/v2/").status == 200
    except OSError:
        return False


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "home")


def test_a_large_file_goes_up_in_chunks_and_comes_back(other: Registry, client: Client, tmp_path: Path) -> None:
    """H048: what takes no parts is pushed by plain OCI."""
    big = some_file(tmp_path / "big.bin", 70 * MIB)
    out, _ = client.run("push", big, other.ref("a/big", "1"))
    assert out == f"{other.ref('a/big', '1')}@{other.manifest('a/big', '1').digest}\n"
    client.run("pull", other.ref("a/big", "1"), "--output", tmp_path / "back")
    assert sha256(tmp_path / "back") == sha256(big)


def test_an_index_goes_up_and_comes_back(other: Registry, client: Client, layout: Layout, tmp_path: Path) -> None:
    index = layout.name(layouts.two_platforms(layout, "other"), "1")
    client.run("push", layout.path, other.ref("a/two", "1"))
    assert other.manifest("a/two", "1").digest == index["digest"]
    client.run("pull", other.ref("a/two", "1"), tmp_path / "back")
    assert {path.name for path in (tmp_path / "back/blobs/sha256").iterdir()} == {
        path.name for path in (layout.path / "blobs/sha256").iterdir()
    }


def test_a_push_that_was_killed_arrives_whole(other: Registry, client: Client, tmp_path: Path) -> None:
    """It forgets an upload whose line broke in the middle of a chunk; then it is begun anew, and says so."""
    big = some_file(tmp_path / "big.bin", 100 * MIB, seed=2)
    with gate(other.netloc) as door:
        door.allow(50 * MIB)
        running = client.start("push", big, f"{door.netloc}/a/killed:1")
        door.wait_until_it_holds()
        kill(running)
        door.allow(1 << 40)
        client.run("push", big, f"{door.netloc}/a/killed:1")
    (layer,) = other.manifest("a/killed", "1").json()["layers"]
    assert layouts.sha256(other.blob("a/killed", layer["digest"]).body) == sha256(big)


@pytest.mark.parametrize("made_by", ["docker-archive", "oci-archive"])
def test_archives_of_other_tools_go_up(
    other: Registry, client: Client, sandbox: Sandbox, layout: Layout, tmp_path: Path, made_by: str
) -> None:
    """The old form of `docker save`, and a layout in a tar: blobs are read where they lie."""
    layout.name(layouts.small_image(layout, made_by), "1")
    archive = tmp_path / "image.tar"
    sandbox.run("skopeo", "copy", layout.ref("1"), f"{made_by}:{archive}:example.org/x:1")
    client.run("push", archive, other.ref(f"a/{made_by}", "1"))
    sandbox.run(
        "skopeo",
        "copy",
        "--src-tls-verify=false",
        f"docker://{other.ref(f'a/{made_by}', '1')}",
        f"oci:{tmp_path}/back:1",
    )
    pushed = other.manifest(f"a/{made_by}", "1").json()
    config = json.loads(other.blob(f"a/{made_by}", pushed["config"]["digest"]).body)
    assert len(config["rootfs"]["diff_ids"]) == len(pushed["layers"])

"""docs/multipart.md by hand: its recipe is run as it stands there, by a shell with curl."""

import asyncio
import subprocess
import textwrap
from pathlib import Path

from tests.http.hold.client import Hold
from tests.http.oci.content import digest_of, noise
from tests.repo.tree import ROOT
from tests.support import needs

MIB = 1024 * 1024


def recipe() -> str:
    """The indented lines of the section."""
    page = (ROOT / "docs/multipart.md").read_text(encoding="utf-8")
    section = page.split("## By hand\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("    ")]
    return textwrap.dedent("\n".join(lines))


async def test_the_recipe_for_a_shell_pushes_a_blob(hold: Hold, tmp_path: Path) -> None:
    """H160, H018, H026, H022: each line as written, but for the address."""
    needs.tool("curl")
    content = noise(70 * MIB, "layer")
    (tmp_path / "layer.bin").write_bytes(content)
    script = recipe().replace("http://127.0.0.1:5000", hold.url)
    assert script.count(hold.url) == 1
    command = ["sh", "-euc", script]
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"status":"completed"' in done.stdout
    assert len(list(tmp_path.glob("part.*"))) == 3
    assert (await hold.oci.blob("hello/world", digest_of(content), method="HEAD")).status == 200

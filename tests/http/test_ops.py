"""Health, readiness, metrics and the front page, asked as a monitoring system asks: over HTTP."""

import asyncio
import errno
import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from handlers.boundary import Boundary
from handlers.metrics import Metrics
from handlers.ops import plain_handlers
from handlers.readiness import Readiness
from handlers.stats import Stats
from model.errors import StorageFailed
from rooms import Rooms, open_rooms
from store.values import Page
from tests.repo.tree import ROOT
from tests.support.inside import config_of, put_image
from tests.support.stage import Answer, Served, make_stage

SECRET = "c2VjcmV0LXdvcmQ"


@dataclass
class Watched:
    """A registry as seen from the monitoring system."""

    rooms: Rooms
    served: Served
    readiness: Readiness

    async def ask(self, method: str, path: str, *headers: str) -> Answer:
        """One request on a connection of its own."""
        client = await self.served.connect()
        lines = [f"{method} {path} HTTP/1.1", *headers]
        if not any(line.startswith("Host:") for line in headers):
            lines.append("Host: registry.test:5000")
        await client.send("\r\n".join([*lines, "", ""]).encode())
        answer = await client.answer(bodyless=method == "HEAD")
        await client.close()
        return answer

    async def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every sample by name and labels."""
        text = (await self.ask("GET", "/metrics")).body.decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@asynccontextmanager
async def watched(data_dir: Path, *, metrics: bool = True, **readiness: Any) -> AsyncIterator[Watched]:
    """A whole registry, put together as the entry does it."""
    async with open_rooms(config_of(data_dir)) as rooms:
        services, stats = rooms.services, Stats()
        ready = Readiness(services.repositories, rooms.folder.spool, **readiness)
        server: list[Served] = []
        measured = Metrics(stats, services.sessions, rooms.hot, rooms.catalog, data_dir, lambda: server[0].server)
        plain = plain_handlers(ready, measured if metrics else None)
        async with make_stage("asyncio", None).serve(Boundary(services, plain=plain, observers=[stats])) as served:
            server.append(served)
            yield Watched(rooms, served, ready)


def labels(**given: str) -> frozenset[tuple[str, str]]:
    return frozenset(given.items())


async def test_a_process_that_answers_is_alive(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        answer = await registry.ask("GET", "/healthz")
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics"])
async def test_these_paths_are_for_reading(tmp_path: Path, path: str) -> None:
    async with watched(tmp_path) as registry:
        whole, head = await registry.ask("GET", path), await registry.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
        for method in ("POST", "PUT", "DELETE"):
            refused = await registry.ask(method, path, "Content-Length: 0")
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
            assert refused.json["errors"][0]["code"] == "UNSUPPORTED"


async def test_the_front_page_says_how_to_push_to_the_host_that_was_asked(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        answer = await registry.ask("GET", "/")
        assert answer.headers["content-type"].startswith("text/plain")
        assert b"docker push registry.test:5000/hello/world:1" in answer.body


async def test_the_front_page_repeats_no_nonsense(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        answer = await registry.ask("GET", "/", "Host: <script>x</script>")
        assert b"script" not in answer.body


async def test_a_registry_with_a_catalog_and_room_is_ready(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        answer = await registry.ask("GET", "/readyz")
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert list(registry.rooms.folder.spool.iterdir()) == []


async def not_ready(registry: Watched) -> str:
    """The reason that /readyz gives."""
    answer = await registry.ask("GET", "/readyz")
    assert (answer.status, answer.json["status"]) == (503, "unavailable")
    assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("5", "no-store")
    reason: str = answer.json["reason"]
    return reason


async def test_a_registry_that_stops_is_not_ready(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        assert (await registry.ask("GET", "/readyz")).status == 200
        registry.readiness.stop()
        assert await not_ready(registry) == "the server is stopping"


async def test_a_storage_that_cannot_be_written_is_not_ready(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        shutil.rmtree(registry.rooms.folder.spool)
        assert await not_ready(registry) == "the storage cannot be written: No such file or directory"


async def test_a_storage_that_can_be_looked_at_but_not_written_is_not_ready() -> None:
    ready = readiness(Looked(), Path("/proc/self"), needed_bytes=0)
    assert (await ready.reason()).startswith("the storage cannot be written: ")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_a_storage_without_room_for_a_probe_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(**where: Any) -> None:
        raise OSError(code, "no room")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert await readiness(Looked(), tmp_path).reason() == "the storage is full"


async def test_a_full_storage_is_not_ready(tmp_path: Path) -> None:
    async with watched(tmp_path, needed_bytes=1 << 60) as registry:
        assert re.fullmatch(r"the storage is full: [\d.]+ \wiB are free", await not_ready(registry))


async def test_a_catalog_that_cannot_be_read_is_not_ready(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        registry.rooms.catalog.close()
        assert (await not_ready(registry)).startswith("the catalog cannot be read")


class Looked:
    """Stands in for the catalog: counts the looks, and does what it is told in each."""

    def __init__(self, doing: Callable[[], Awaitable[None]] | None = None) -> None:
        self.looks = 0
        self.doing = doing

    async def page(self, limit: int, last: str | None = None) -> Page:
        self.looks += 1
        if self.doing is not None:
            await self.doing()
        return Page([], more=False)


def readiness(looked: Looked, spool: Path, **more: float) -> Readiness:
    return Readiness(looked, spool, **more)  # type: ignore[arg-type]  # a stand-in


async def test_all_who_ask_at_once_share_one_look_and_it_holds_for_a_while(tmp_path: Path) -> None:
    looked = Looked()
    ready = readiness(looked, tmp_path, fresh_s=60)
    assert await asyncio.gather(*(ready.reason() for _ in range(20))) == [""] * 20
    assert await ready.reason() == ""
    assert looked.looks == 1


async def test_a_finding_that_is_old_is_not_believed(tmp_path: Path) -> None:
    looked = Looked()
    ready = readiness(looked, tmp_path, fresh_s=0)
    assert [await ready.reason() for _ in range(3)] == [""] * 3
    assert looked.looks == 3


async def test_a_storage_that_hangs_is_told_and_takes_one_thread_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, hanging = threading.Event(), Counter[str]()

    def hang(path: Path) -> Any:
        hanging["now"] += 1
        let_go.wait(20)
        return shutil._ntuple_diskusage(0, 0, 1 << 40)

    monkeypatch.setattr(shutil, "disk_usage", hang)
    ready = readiness(Looked(), tmp_path, fresh_s=0, patience_s=0.05)
    for _ in range(3):
        assert await ready.reason() == "the storage does not answer"
    assert hanging["now"] == 1
    let_go.set()
    while await ready.reason():
        pass
    assert hanging["now"] <= 2


async def test_a_trouble_that_passes_is_forgotten(tmp_path: Path) -> None:
    trouble = [StorageFailed("the catalog answered with an error")]

    async def once() -> None:
        if trouble:
            raise trouble.pop()

    ready = readiness(Looked(once), tmp_path, fresh_s=0)
    assert await ready.reason() == "the catalog cannot be read: the catalog answered with an error"
    assert await ready.reason() == ""


async def test_metrics_count_requests_by_endpoint_method_and_status(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        digest = await put_image(registry.rooms, "lab/tools", "1", b"layer")
        for reference in ("1", str(digest), "none", "none", "none"):
            await registry.ask("GET", f"/v2/lab/tools/manifests/{reference}")
        found = await registry.metrics()
        requests = "holdfast_requests_total"
        assert found[requests, labels(endpoint="manifest", method="GET", status="2xx")] == 2
        assert found[requests, labels(endpoint="manifest", method="GET", status="4xx")] == 3
        duration = "holdfast_request_duration_seconds"
        assert found[f"{duration}_count", labels(endpoint="manifest")] == 5
        assert found[f"{duration}_bucket", labels(endpoint="manifest", le="+Inf")] == 5
        assert 0 < found[f"{duration}_sum", labels(endpoint="manifest")] < 60
        assert found["holdfast_response_bytes_total", labels(endpoint="manifest")] > 400


async def test_metrics_tell_what_is_in_use_at_the_moment_of_asking(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        before = await registry.metrics()
        await registry.rooms.services.sessions.open("lab/tools")
        await registry.ask("GET", "/v2/lab/tools/tags/list")
        after = await registry.metrics()
        for name, difference in {
            "holdfast_upload_sessions": 1,
            "holdfast_upload_sessions_receiving": 0,
            "holdfast_spooled_bytes": 0,
            "holdfast_catalog_commits_total": 1,
            "holdfast_receive_buffers_in_use": 0,
        }.items():
            assert after[name, labels()] - before[name, labels()] == difference, name
        assert after["holdfast_sent_bytes_total", labels()] > before["holdfast_sent_bytes_total", labels()]
        assert after["holdfast_connections", labels()] >= 1
        assert after["holdfast_resident_memory_bytes", labels()] > 10_000_000
        assert 0 < after["holdfast_storage_free_bytes", labels()] < after["holdfast_storage_size_bytes", labels()]


async def test_methods_that_nobody_needs_do_not_make_the_metrics_grow(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        for method in ("PROPFIND", "MKCOL", "LOCK", "SEARCH", "PURGE"):
            assert (await registry.ask(method, "/v2/")).status == 405
        assert (await registry.ask("BREW", "/v2/")).status == 400
        found = await registry.metrics()
    methods = {dict(key)["method"]: value for (name, key), value in found.items() if name == "holdfast_requests_total"}
    assert methods == {"OTHER": 5}


async def test_no_secret_and_no_name_reaches_the_metrics(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        await put_image(registry.rooms, "hidden/project", "1", b"layer")
        for path in ("/v2/", f"/v2/hidden/project/manifests/1?X-Signature={SECRET}", f"/{SECRET}", f"/v2/{SECRET}"):
            headers = (f"Authorization: Basic {SECRET}", f"User-Agent: {SECRET}", f"X-Request-Id: {SECRET}")
            await registry.ask("GET", path, *headers)
        text = (await registry.ask("GET", f"/metrics?key={SECRET}")).body.decode()
        assert 'endpoint="manifest"' in text
        assert SECRET not in text
        assert SECRET.lower() not in text.lower()
        assert "hidden" not in text


async def test_without_metrics_there_is_nothing_at_their_path(tmp_path: Path) -> None:
    async with watched(tmp_path, metrics=False) as registry:
        answer = await registry.ask("GET", "/metrics")
        assert (answer.status, answer.json["errors"][0]["code"]) == (404, "NAME_UNKNOWN")


async def test_every_metric_is_in_the_operating_guide_and_no_other(tmp_path: Path) -> None:
    async with watched(tmp_path) as registry:
        await registry.ask("GET", "/v2/")
        text = (await registry.ask("GET", "/metrics")).body.decode()
    guide = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    here = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    explained = set(re.findall(r"\| `(holdfast_\w+)` \|", guide))
    of_a_store = {"holdfast_store_requests_total", "holdfast_store_failures_total", "holdfast_store_up"}
    assert here == explained - of_a_store, "those of an object store come with one (test_store_start.py)"
    assert of_a_store <= explained

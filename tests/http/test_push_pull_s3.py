"""push and pull against our own server on an object store: what goes straight there, and what if it cannot."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.http.pushing import PART, Client, ended, kill, parts_received, sha256, some_file
from tests.interop import layouts
from tests.interop.wire import Registry
from tests.support.faultproxy import FaultProxy
from tests.support.objectstore import Bucket, eventually
from tests.support.server import Server
from tests.support.storefaults import BAD_SIGNATURE, RESET, UNAVAILABLE, Call, Fault, Held, Reset

FROM_NOW_ON = "parts go through the registry from now on\n"
PER_PART_BYTES = 2048
"""What one part costs at the registry: one question and one answer, heads and all."""
PROBE = "/holdfast/probe/"
REST_BYTES = 65_536
"""What a whole push says besides: the start, the completion, a manifest, the empty configuration."""


@dataclass
class Site:
    """A registry, the way that clients take to its store, and the bucket there."""

    server: Server
    store: FaultProxy
    bucket: Bucket

    def stored(self, path: Path) -> bool:
        """Whether the registry serves the file's bytes under its digest."""
        digest = sha256(path)
        return layouts.sha256(Registry(self.server.netloc).blob("a/b", digest).body) == digest

    def at_the_store(self) -> list[int]:
        """The parts that clients put into the store; not those by which the server tries it out."""
        taken = (seen for seen in self.store.asked(Call.PART) if seen.status == 200 and PROBE not in seen.path)
        return sorted(int(number) for seen in taken for number in re.findall(r"partNumber=(\d+)", seen.query))

    def pushed(self, client: Client, path: Path) -> None:
        """Push it, and return when readers may be sent to where it lies."""
        client.run("push", path, f"{self.server.netloc}/a/b:1")
        assert eventually(not self.bucket.objects("holdfast/uploads/") for _ in count())

    def sessions(self) -> list[str]:
        """In which modes uploads were begun."""
        return re.findall(r" started (\w+) upload: ", self.server.log())


@contextmanager
def site(bucket: Bucket, data: Path, **settings: str) -> Iterator[Site]:
    """A registry over a bucket; clients reach the store by an address of their own."""
    with FaultProxy(bucket.store.netloc) as store:
        env = bucket.env(s3_external_endpoint=store.url, **settings)
        with Server(data, env=env) as server:
            yield Site(server, store, bucket)
        assert "Traceback" not in server.log(), server.log()


@pytest.fixture
def here(bucket: Bucket, tmp_path: Path) -> Iterator[Site]:
    with site(bucket, tmp_path / "data") as made:
        yield made


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "home")


def pushing(here: Site, big: Path) -> tuple[str | Path, ...]:
    """The words of a push in parts of 5 MiB, one after the other."""
    return ("push", big, f"{here.server.netloc}/a/b:1", "--part-size", "5MiB", "--parallel", "1")


def test_parts_go_to_the_store_and_none_of_their_bytes_through_us(here: Site, client: Client, tmp_path: Path) -> None:
    """H041, H105, H134, H138, H179, H190, H191: counted on the connections to the registry; about 1 KB for a part."""
    big = some_file(tmp_path / "big.bin", 4 * PART + 17)
    with FaultProxy(here.server.netloc) as door:
        out, said = client.run("push", big, f"{door.netloc}/a/b:1", "--part-size", "5MiB")
        urls = [seen for seen in door.seen if seen.path == "/part-presigned-url"]
        assert len(urls) == 5
        assert max(seen.in_all_bytes for seen in urls) < PER_PART_BYTES
        assert sum(seen.in_all_bytes for seen in door.seen) < 5 * PER_PART_BYTES + REST_BYTES
        assert not [seen for seen in door.seen if seen.path.startswith("/multipart-parts/") and seen.method == "PUT"]
    assert "registry from now on" not in said
    assert out.startswith(f"{door.netloc}/a/b:1@sha256:")
    assert here.sessions() == ["native"]
    assert here.at_the_store() == [1, 2, 3, 4, 5]
    assert here.stored(big)
    client.run("pull", f"{here.server.netloc}/a/b:1", "--output", tmp_path / "back.bin")
    assert sha256(tmp_path / "back.bin") == sha256(big)


def test_announced_hashes_are_what_the_store_holds_the_parts_to(here: Site, client: Client, tmp_path: Path) -> None:
    """M07, M09: form C, which the store checks."""
    big = some_file(tmp_path / "big.bin", 2 * PART, seed=7)
    client.run(*pushing(here, big), "--announce-hashes")
    assert here.sessions() == ["native"]
    parts = [seen for seen in here.store.asked(Call.PART) if PROBE not in seen.path]
    assert len(parts) == 2
    assert all("X-Amz-Content-Sha256=" in seen.query for seen in parts)
    assert here.stored(big)


@pytest.mark.parametrize("trouble", [BAD_SIGNATURE, UNAVAILABLE, RESET, Reset(1_000_000)], ids=repr)
def test_a_native_push_that_breaks_in_the_middle_goes_on_through_us(
    here: Site, client: Client, tmp_path: Path, trouble: Fault
) -> None:
    """H048: in the same session; what the store has stays there."""
    big = some_file(tmp_path / "big.bin", 5 * PART)
    here.store.on(trouble, Call.PART, path="holdfast/uploads/", skip=2)
    _, said = client.run(*pushing(here, big))
    assert said.count(FROM_NOW_ON) == 1
    assert here.sessions() == ["native"]
    assert here.at_the_store() == [1, 2]
    assert len(parts_received(here.server)) == 3
    assert here.stored(big)


def test_a_store_that_clients_cannot_reach_any_more_is_done_without(here: Site, client: Client, tmp_path: Path) -> None:
    """H047, H048: the registry still believes that they can."""
    big = some_file(tmp_path / "big.bin", 3 * PART)
    here.store.down()
    _, said = client.run(*pushing(here, big))
    assert said.count(FROM_NOW_ON) == 1
    assert len(parts_received(here.server)) == 3
    assert here.stored(big)


@pytest.mark.slow
def test_only_parts_that_the_store_has_not_are_sent_after_kills_of_both_sides(
    here: Site, client: Client, tmp_path: Path
) -> None:
    """H070, H071, H087, T09: the client is killed, and the server; each part arrives once, but for those under way."""
    big = some_file(tmp_path / "big.bin", 6 * PART)
    held = here.store.on(Held("before"), Call.PART, path="holdfast/uploads/", skip=2, times=1)
    first = client.start(*pushing(here, big))
    held.reached()
    kill(first)
    here.store.drop(held)
    here.server.kill()
    here.server.start()
    held = here.store.on(Held("before"), Call.PART, path="holdfast/uploads/", skip=2, times=1)
    second = client.start(*pushing(here, big))
    held.reached()
    here.server.kill()
    here.server.start()
    here.store.drop(held)
    _, said = ended(second)
    assert "parts are there already" in said
    assert here.sessions() == ["native"]
    assert sorted(set(here.at_the_store())) == [1, 2, 3, 4, 5, 6]
    assert len(here.at_the_store()) <= 6 + 2
    assert here.stored(big)
    assert client.journals == []


def test_a_reader_who_is_sent_to_the_store_gets_the_same_bytes(bucket: Bucket, client: Client, tmp_path: Path) -> None:
    """By 307, in ranges, verified; the registry passes none of it on."""
    big = some_file(tmp_path / "big.bin", 40 * 1024 * 1024 + 5)
    with site(bucket, tmp_path / "data", s3_redirect="on") as here:
        here.pushed(client, big)
        here.store.seen.clear()
        with FaultProxy(here.server.netloc) as door:
            client.run("pull", f"{door.netloc}/a/b:1", "--output", tmp_path / "back.bin")
            assert sum(seen.answer_bytes for seen in door.seen) < REST_BYTES
        read = [seen for seen in here.store.asked(Call.GET) if seen.status == 206]
        assert sum(seen.answer_bytes for seen in read) == big.stat().st_size
        assert sha256(tmp_path / "back.bin") == sha256(big)


@pytest.mark.slow
def test_a_pull_from_the_store_goes_on_after_a_kill(bucket: Bucket, client: Client, tmp_path: Path) -> None:
    big = some_file(tmp_path / "big.bin", 80 * 1024 * 1024)
    with site(bucket, tmp_path / "data", s3_redirect="on") as here:
        here.pushed(client, big)
        pull = ("pull", f"{here.server.netloc}/a/b:1", "--output", tmp_path / "back", "--parallel", "1")
        held = here.store.on(Held("before"), Call.GET, skip=2, times=1)
        pulling = client.start(*pull)
        held.reached()
        kill(pulling)
        here.store.drop(held)
        assert not (tmp_path / "back").exists()
        _, said = client.run(*pull)
    assert "of 5 ranges are there already" in said
    assert sha256(tmp_path / "back") == sha256(big)

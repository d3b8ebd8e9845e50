"""Proofs: what lies in the store is read again and hashed, a few objects at a time, and goes on where it broke off."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.base import KeyMissing
from backends.memory import PIECE_BYTES
from backends.memory_parts import MemoryStore
from model.digests import Digest
from model.errors import StorageFailed
from multipart import proving
from multipart.proving import Progress, Proof, Prover
from tests.support.storehooks import Halt, no_hook
from tests.unit.multipart.parting import complete, opened, send_all
from tests.unit.multipart.slicehouse import FIRST, Store, slicehouse

WHOLE = os.urandom(3 * PIECE_BYTES + 17)


@pytest.fixture
def store():
    held = MemoryStore()
    held.values["key"] = WHOLE
    return held


@pytest.fixture
def workers():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("batch", [1, PIECE_BYTES, 100 * PIECE_BYTES])
async def test_what_is_read_is_hashed_to_its_end(store, workers, monkeypatch, algorithm, batch):
    """T10, H080."""
    monkeypatch.setattr(proving, "BATCH_BYTES", batch)
    proof = Proof("key", len(WHOLE), algorithm)
    assert await Prover(store, workers).digest_of(proof) == Digest.of(WHOLE, algorithm)
    assert proof.progress == Progress(len(WHOLE), len(WHOLE))


async def test_nothing_hashes_to_the_digest_of_nothing(store, workers):
    store.values["key"] = b""
    assert await Prover(store, workers).digest_of(Proof("key", 0, "sha256")) == Digest.of(b"")


async def test_a_proof_that_broke_off_goes_on_where_it_was(store, workers, monkeypatch):
    """T09: an object that is assembled does not change."""
    monkeypatch.setattr(proving, "BATCH_BYTES", 1)
    proof, prover, pieces = Proof("key", len(WHOLE), "sha256"), Prover(store, workers), [0]

    async def breaks(verb, key):
        if verb == "get":
            pieces[0] += 1
            if pieces[0] == 2:
                raise StorageFailed("broken off")

    store.after = breaks
    with pytest.raises(StorageFailed, match="broken off"):
        await prover.digest_of(proof)
    assert proof.done_bytes == 2 * PIECE_BYTES
    asked = []
    real = store.get

    def get(key, start=0, length=None):
        asked.append((start, length))
        return real(key, start, length)

    monkeypatch.setattr(store, "get", get)
    assert await prover.digest_of(proof) == Digest.of(WHOLE)
    assert asked == [(2 * PIECE_BYTES, len(WHOLE) - 2 * PIECE_BYTES)]


async def test_a_proof_that_is_cancelled_goes_on_as_well(store, workers, monkeypatch):
    monkeypatch.setattr(proving, "BATCH_BYTES", 1)
    proof, prover, reading = Proof("key", len(WHOLE), "sha256"), Prover(store, workers), Halt("get")
    store.after = reading
    task = asyncio.create_task(prover.digest_of(proof))
    await reading.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.after = no_hook
    assert await prover.digest_of(proof) == Digest.of(WHOLE)


async def test_bytes_that_could_not_be_hashed_are_hashed_at_the_next_try(store, workers, monkeypatch):
    """Nothing is hashed behind a gap: that would end an upload whose bytes are right."""
    monkeypatch.setattr(proving, "BATCH_BYTES", 2 * PIECE_BYTES)
    proof, prover, updating = Proof("key", len(WHOLE), "sha256"), Prover(store, workers), proving._updating
    with monkeypatch.context() as patched:
        failures = iter([lambda: 1 / 0])
        patched.setattr(proving, "_updating", lambda *how: next(failures, updating(*how)))
        with pytest.raises(ZeroDivisionError):
            await prover.digest_of(proof)
    assert await prover.digest_of(proof) == Digest.of(WHOLE)


@pytest.mark.parametrize("size_bytes", [len(WHOLE) - 1, len(WHOLE) + 1])
async def test_an_object_of_another_length_is_not_read(store, workers, size_bytes):
    with pytest.raises(StorageFailed, match="instead of"):
        await Prover(store, workers).digest_of(Proof("key", size_bytes, "sha256"))
    with pytest.raises(KeyMissing):
        await Prover(store, workers).digest_of(Proof("other", size_bytes, "sha256"))


async def test_only_a_few_are_read_at_a_time(store, workers):
    """So that many completions at once do not take the line to the store from everybody else."""
    running, most, go = [0], [0], asyncio.Event()

    async def counts(verb, key):
        if verb == "get":
            running[0] += 1
            most[0] = max(most[0], running[0])
            await go.wait()
            running[0] -= 1

    store.before = counts
    prover = Prover(store, workers, at_once=2)
    proofs = [asyncio.create_task(prover.digest_of(Proof("key", len(WHOLE), "sha256"))) for _ in range(6)]
    await asyncio.wait(proofs, timeout=0.05)
    go.set()
    assert {await proof for proof in proofs} == {Digest.of(WHOLE)}
    assert most == [2]


def test_a_proof_is_of_one_object_and_of_the_algorithms_that_run():
    proof = Proof("key", 3, "sha512")
    assert proof.fits("key", "sha256")
    assert proof.fits("key", "sha512")
    assert not proof.fits("other", "sha512")
    assert not Proof("key", 3, "sha256").fits("key", "sha512")


async def test_sessions_of_all_kinds_share_these_few(tmp_path):
    """Pushes by `/v2/` and uploads in parts whose digest a restart took are read again, four objects at a time."""
    content, store, reading = os.urandom(10 * FIRST), Store(), 0
    as_many_as_may, go = asyncio.Event(), asyncio.Event()

    async def waits(verb, key):
        nonlocal reading
        if verb == "get":
            reading += 1
            if reading == proving.AT_ONCE:
                as_many_as_may.set()
            await go.wait()

    async with slicehouse(tmp_path, store, min_part_bytes=1) as h:
        for number in range(3):
            session = await h.received(content)
            await h.sent(session.id)
            await send_all(h, await opened(h, target=f"uploads/temp-{number}"))
        for parted in h.sessions.parted.all():
            await h.sent(parted.id)
        for path in h.folder.spool.glob("*.part*"):
            path.unlink()
    async with slicehouse(tmp_path, store, min_part_bytes=1) as h:
        store.before = waits
        in_sequence = [h.finish(session.id, len(content), content) for session in h.sessions.all()]
        in_parts = [complete(h, session) for session in h.sessions.parted.all()]
        ending = [asyncio.create_task(each) for each in (*in_sequence, *in_parts)]
        await as_many_as_may.wait()
        await asyncio.wait(ending, timeout=0.05)
        assert (len(ending), reading) == (6, proving.AT_ONCE)
        go.set()
        await asyncio.gather(*ending)
        assert reading == 6

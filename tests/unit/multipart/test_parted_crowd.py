"""Many clients on one upload in parts at once: random order, again, with other bytes, broken off, cancelled."""

import asyncio
import hashlib
import random
from itertools import pairwise
from typing import Any

import pytest

from model.digests import Digest
from model.errors import RegistryError
from multipart import follower
from multipart.bodies import Ending
from multipart.interrupted import Interrupted
from multipart.parts import ListedPart
from multipart.refusals import PartsInvalid
from tests.unit.multipart.harness import PlayedBody, house
from tests.unit.multipart.parting import OWNER, SMALL, files, listed, opened, send

PARTS, PART_BYTES = 64, 1000


class Crowd:
    """Clients that share one upload; each takes the next of its tasks as soon as it is through with one."""

    def __init__(self, h, session, seed):
        self.h, self.session, self.random = h, session, random.Random(seed)
        self.parts = [self.random.randbytes(PART_BYTES) for _ in range(PARTS)]

    def body(self, content, **how):
        cuts = sorted({0, len(content), *(self.random.randrange(len(content)) for _ in range(3))})
        return PlayedBody([content[a:b] for a, b in pairwise(cuts)], **how)

    async def right(self, number):
        """Send the part until it is taken: another client on the same part may ask this one to leave."""
        while True:
            try:
                return await send(self.h, self.session, number, self.body(self.parts[number - 1]))
            except Interrupted:
                continue

    async def disturbs(self, number):
        """Other bytes, a body that breaks off, or a request that is cancelled."""
        how = self.random.randrange(3)
        body = self.body(self.random.randbytes(PART_BYTES), ending=Ending.VANISHED if how == 0 else Ending.WHOLE)
        sending = asyncio.create_task(send(self.h, self.session, number, body))
        if how == 1:
            for _ in range(self.random.randrange(20)):
                await asyncio.sleep(0)
            sending.cancel()
        await asyncio.wait([sending])
        if not sending.cancelled() and sending.exception() is not None:
            assert isinstance(sending.exception(), RegistryError)


async def crowd(tmp_path, declared, seed):
    """16 clients; the right bytes are sent for good when the disturbances are over."""
    async with house(tmp_path, **SMALL) as h:
        sizes: dict[str, Any] = {"size_bytes": PARTS * PART_BYTES, "part_size_bytes": PART_BYTES} if declared else {}
        session = await opened(h, declared=False, **sizes)
        clients = Crowd(h, session, seed)
        todo = [clients.right(number) for number in range(1, PARTS + 1)]
        todo += [clients.disturbs(clients.random.randrange(1, PARTS + 1)) for _ in range(PARTS)]
        clients.random.shuffle(todo)
        queue = iter(todo)

        async def client():
            for doing in queue:
                await doing

        async def completes_too_early():
            with pytest.raises(PartsInvalid):
                await h.sessions.parted.complete(session.id, OWNER, [ListedPart(1, "x")], Digest.of(b""))

        await asyncio.gather(*(client() for _ in range(16)), *(completes_too_early() for _ in range(3)))
        stored = session.listing
        for number, content in enumerate(clients.parts, 1):
            if number not in stored or stored[number].sha256 != hashlib.sha256(content).hexdigest():
                await clients.right(number)
        whole = b"".join(clients.parts)
        await h.sessions.parted.complete(session.id, OWNER, listed(clients.parts), Digest.of(whole))
        assert await h.stored(whole)
        assert files(h) == []
        assert h.sessions._accounts.spooled_bytes == 0


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("seed", range(3))
async def test_whatever_many_clients_do_at_once_the_blob_is_byte_exact(tmp_path, monkeypatch, declared, seed):
    """H060, H068, H069: 64 parts in random order by 16 clients, disturbed at random."""
    monkeypatch.setattr(follower, "SLICE_BYTES", 2500)
    monkeypatch.setattr(follower, "CHECKPOINTS", 4)
    await crowd(tmp_path, declared, seed)

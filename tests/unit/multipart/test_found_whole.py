"""Objects that an earlier process had assembled and could not say so: what they hold is proven, not presumed."""

import random

import pytest

from model.digests import Digest
from model.errors import DigestMismatch, StorageFailed
from tests.support.storehooks import failing, no_hook
from tests.unit.multipart.harness import HandClock
from tests.unit.multipart.parting import ALL, OWNER, PARTS, TEMP, WHOLE, complete, listed, opened, send
from tests.unit.multipart.slicehouse import FIRST, Store, slicehouse
from tests.unit.multipart.storehouse import DirectStore, storehouse

NEW = [PARTS[0], b"SECOND ONE", PARTS[2]]
CHANGED = b"".join(NEW)


async def _killed_behind_assembling(tmp_path, store):
    """One process opens a session, is sent all parts, and dies when the store has just made an object of them."""
    async with storehouse(tmp_path, store, keep_bytes=1 << 20) as h:
        session = await opened(h, parts=ALL)
        store.after = failing(("assemble", ""), error=StorageFailed("the process was killed here"))
        with pytest.raises(StorageFailed):
            await complete(h, session)
    store.after = no_hook


@pytest.mark.parametrize("temporary", [False, True])
async def test_a_part_that_was_changed_since_is_in_the_blob(tmp_path, temporary):
    """C07, D9: the object that was found has the old part, and nobody sees it under the new digest."""
    store = DirectStore(HandClock())
    await _killed_behind_assembling(tmp_path, store)
    async with storehouse(tmp_path, store, keep_bytes=1 << 20) as h:
        (session,) = h.parted.all()
        await send(h, session, 2, NEW[1])
        digest = Digest.of(CHANGED)
        if temporary:
            done = await h.parted.complete(session.id, OWNER, listed(NEW), None)
            assert done.digest == ""
            with pytest.raises(DigestMismatch):
                await h.parted.publish(OWNER, TEMP, digest)
            return
        with pytest.raises(StorageFailed, match="complete it again"):
            await h.parted.complete(session.id, OWNER, listed(NEW), digest)
        await h.parted.complete(session.id, OWNER, listed(NEW), digest)
        assert await h.stored(CHANGED)


async def test_one_that_was_not_changed_is_read_once_and_shown(tmp_path):
    store = DirectStore(HandClock())
    await _killed_behind_assembling(tmp_path, store)
    async with storehouse(tmp_path, store, keep_bytes=1 << 20) as h:
        (session,) = h.parted.all()
        store.asked.clear()
        await complete(h, session)
        assert "send_part" not in [verb for verb, _ in store.asked]
        assert await h.stored(WHOLE)


async def test_bytes_in_sequence_that_were_changed_since_are_in_the_blob(tmp_path):
    store = Store()
    content = random.Random(8).randbytes(2 * FIRST + 50)
    async with slicehouse(tmp_path, store) as h:
        session = await h.received(content)
        store.losing["assemble"] = 1
        with pytest.raises(StorageFailed):
            await h.finish(session.id, len(content), content)
    store.dead = True  # so that the object is found only behind the change
    async with slicehouse(tmp_path, store) as h:
        (session,) = h.sessions.all()
        changed = content[: FIRST + 10] + bytes(FIRST + 40)
        await h.append(session.id, changed[FIRST + 10 :], FIRST + 10)
        store.dead = False
        with pytest.raises(StorageFailed, match="finish it again"):
            await h.finish(session.id, len(changed), changed)
        await h.becomes_the_blob(session.id, changed)

"""Clients that insist on the store's own URLs: they get those, or are told whether asking again may help (H051)."""

from types import SimpleNamespace

import pytest

from backends.base import StoreUnavailable
from backends.s3.findings import Findings
from model.errors import StorageFull, UploadUnknown
from multipart.refusals import NativeNotConfigured
from stores import Remote, is_away
from tests.unit.multipart.harness import HandClock
from tests.unit.multipart.parting import DIGEST, PARTS, WHOLE, listed, opened, send
from tests.unit.multipart.storehouse import OWNER, TEMP, DirectStore, storehouse


async def begun(h, session):
    """The store was asked what it has of the session."""
    upload = h.remotes.of(session.id)
    assert upload is not None
    await upload.begin()


@pytest.mark.parametrize("away", [True, False])
async def test_who_insists_is_told_whether_it_lasts(tmp_path, away):
    """A store that is merely away is no wrong configuration: 503, and not 400."""
    async with storehouse(tmp_path, is_away=lambda: away) as h:
        h.store.is_native, h.store.why_not_native = False, "nobody there"
        with pytest.raises(StoreUnavailable if away else NativeNotConfigured) as caught:
            await opened(h, insists=True)
        assert getattr(caught.value, "retry_after_s", 0) == (5 if away else 0)
        assert h.parted.all() == []


async def test_sizes_that_the_store_would_not_take_are_told_to_who_insists(tmp_path):
    """He would find himself sending to us otherwise."""
    async with storehouse(tmp_path) as h:
        with pytest.raises(NativeNotConfigured, match="the store takes parts of 8"):
            await opened(h, insists=True, size_bytes=24, part_size_bytes=7)
        assert (h.parted.all(), h.store.unfinished) == ([], {})


@pytest.mark.parametrize("error", [StoreUnavailable("it went away"), StorageFull("no room")])
async def test_a_store_that_does_not_begin_the_upload_is_told_to_who_insists(tmp_path, error):
    """Nothing is opened that he did not ask for; who does not insist sends to us."""
    async with storehouse(tmp_path) as h:

        async def fails(verb, key):
            if verb == "begin":
                raise error

        h.store.after = fails
        with pytest.raises(type(error)):
            await opened(h, insists=True)
        assert h.parted.all() == []
        assert (await opened(h, native=True)).mode == "buffered"
        h.store.after = h.store.before
        session = await opened(h, insists=True)
        assert session.mode == "native"
        await h.parted.complete(session.id, OWNER, h.puts(session, PARTS), DIGEST)
        assert await h.stored(WHOLE)
        assert list(h.store.unfinished) == []


async def test_no_client_is_sent_to_a_bucket_that_is_not_proven_to_be_ours(tmp_path):
    """A session of an earlier process, and the store was away at the start: the part comes through us."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
    ours = False
    async with storehouse(tmp_path, store, is_ours=lambda: ours) as h:
        await begun(h, session)
        assert h.parted.part_url(session.id, OWNER, 1, lifetime_s=900) is None
        ours = True
        assert h.parted.part_url(session.id, OWNER, 1, lifetime_s=900) is not None


async def test_what_was_assembled_unproven_and_is_lost_is_unknown_when_it_is_moved(tmp_path):
    """Also once the store has said so: nobody ever knew a digest of it, so he does not move it to a wrong one."""
    store = DirectStore(HandClock())
    async with storehouse(tmp_path, store) as h:
        session = await opened(h, native=True)
        done = await h.parted.complete(session.id, OWNER, h.puts(session, PARTS), None)
        assert done.digest == ""
    store.values.clear()
    async with storehouse(tmp_path, store) as h:
        (found,) = h.parted.all()
        await begun(h, found)
        assert not found.whole_afar
        with pytest.raises(UploadUnknown, match="send them again"):
            await h.parted.publish(OWNER, TEMP, DIGEST)
        await h.nothing_is_left()
        again = await opened(h)
        for number, content in enumerate(PARTS, 1):
            await send(h, again, number, content)
        await h.parted.complete(again.id, OWNER, listed(), None)
        await h.parted.publish(OWNER, TEMP, DIGEST)
        assert await h.stored(WHOLE)


@pytest.mark.parametrize(
    ("ok", "reachable", "barred", "away"),
    [
        (True, True, "", False),
        (False, True, "", True),
        (True, False, "", True),
        (False, False, "", True),
        (False, False, "DISABLE_PRESIGNED_URLS is set", False),
    ],
)
def test_a_store_is_away_while_it_does_not_answer_or_was_not_looked_at(ok, reachable, barred, away):
    """What the operator wants does not pass by itself."""
    health, findings = SimpleNamespace(ok=ok, reason=""), Findings(when_s=0.0, reachable=reachable, barred=barred)
    store = SimpleNamespace(health=health, findings=findings, calls=SimpleNamespace(), watch=print)
    assert isinstance(store, Remote)
    assert is_away(store) is away


def test_a_folder_is_never_away():
    assert not is_away(object())

"""Uploads in the making in a store: sent in the background, known to the ledger first, taken up by the next process."""

import asyncio
import hashlib

import pytest

from backends.base import FileSlice, MultipartGone, StoreUnavailable
from model.errors import RegistryError, StorageFailed
from multipart import remote_upload
from multipart.remote import RemoteUploads
from store.layout import is_temporary
from store.upload_parts import PartRow
from store.uploads import UploadRow
from tests.support.storehooks import Halt
from tests.unit.multipart.slicehouse import Store, slicehouse

ID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def store():
    return Store()


@pytest.fixture
async def house(tmp_path, store):
    async with slicehouse(tmp_path, store) as h:
        await h.ledger.add(UploadRow(ID, "lab/tools", "sha256", 0.0, 0.0))
        yield h


class Sent:
    """Parts of a file, and what came of them."""

    def __init__(self, folder):
        self.path = folder / "spooled"
        self.confirmed = []

    def part(self, number, content):
        path = self.path.with_name(f"{number}-{hashlib.md5(content).hexdigest()}")
        path.write_bytes(content)
        return FileSlice(path, 0, len(content)), hashlib.sha256(content).hexdigest()

    def send(self, upload, number, content):
        upload.send(number, *self.part(number, content), then=self.then)

    async def then(self, part):
        self.confirmed.append(part.number)


@pytest.fixture
def sent(tmp_path):
    return Sent(tmp_path)


async def test_the_ledger_knows_an_upload_before_the_store_does(house, store):
    seen = []

    async def before(verb, key):
        seen.append([(row.key == key, row.state, row.store_upload_id) for row in await house.ledger.objects()])

    store.before = before
    upload = await house.remotes.begin(ID, "")
    assert seen == [[(True, "making", None)]]
    assert [row.store_upload_id for row in await house.ledger.objects()] == [upload.store_upload_id]
    assert is_temporary(upload.key)


async def test_when_the_store_does_not_begin_one_nothing_is_left(house, store):
    store.failing["begin"] = 1
    with pytest.raises(StoreUnavailable):
        await house.remotes.begin(ID, "")
    assert house.remotes.of(ID) is None
    await house.discarder.done()
    assert await house.ledger.objects() == []


async def test_when_only_the_answer_is_lost_nothing_is_left_either(house, store):
    store.losing["begin"] = 1
    with pytest.raises(StoreUnavailable):
        await house.remotes.begin(ID, "")
    await house.discarder.done()
    assert (store.unfinished, await house.ledger.objects()) == ({}, [])


async def test_starting_asks_nobody_anything(house, store, sent):
    """Sessions that take bytes in never wait for a store."""
    store.dead = True
    upload = house.remotes.start(ID, "")
    assert (store.asked, await house.ledger.objects()) == ([], [])
    sent.send(upload, 1, b"one")
    assert upload.unsent_bytes == 3


async def test_what_begins_at_the_second_try_leaves_no_first_one_behind(house, store, sent):
    store.losing["begin"] = 1
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"one")
    await upload.all_sent(patience_s=5)
    assert list(store.unfinished) == [upload.store_upload_id]


async def test_under_the_key_of_a_digest_what_others_do_is_left_alone(house, store, sent):
    """Where an answer was lost there, the upload goes on elsewhere."""
    key = "docker/registry/v2/blobs/sha256/ab/abcd/data"
    other = await house.remotes.begin(ID[::-1], "", key=key)
    store.losing["begin"] = 1
    upload = house.remotes.start(ID, "", key=key)
    sent.send(upload, 1, b"one")
    await upload.all_sent(patience_s=5)
    assert other.store_upload_id in store.unfinished
    assert is_temporary(upload.key)


async def test_parts_are_assembled_in_the_order_of_their_numbers(house, store, sent):
    upload = house.remotes.start(ID, "")
    for number in (3, 1, 2):
        sent.send(upload, number, b"%d" % number)
    await upload.assemble([1, 2, 3])
    assert store.values[upload.key] == b"123"
    assert sorted(sent.confirmed) == [1, 2, 3]
    assert [row.state for row in await house.ledger.objects()] == ["whole"]


async def test_assembling_again_succeeds_again(house, store, sent):
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"one")
    await upload.assemble([1])
    await upload.assemble([1])
    assert store.count("assemble") == 1


async def test_a_newer_part_of_a_number_takes_the_place_of_the_older(house, store, sent):
    gate, reached = asyncio.Event(), asyncio.Event()

    async def before(verb, key):
        if verb == "send_part" and not gate.is_set():
            reached.set()
            await gate.wait()

    store.before = before
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"older")
    await reached.wait()
    sent.send(upload, 1, b"newer")
    gate.set()
    await upload.assemble([1])
    assert store.values[upload.key] == b"newer"
    assert sent.confirmed == [1]


async def test_the_same_part_given_twice_is_sent_once(house, store, sent):
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"one")
    sent.send(upload, 1, b"one")
    await upload.all_sent(patience_s=5)
    sent.send(upload, 1, b"one")
    await upload.all_sent(patience_s=5)
    assert store.count("send_part") == 1


async def test_a_part_that_was_dropped_is_not_waited_for(house, store, sent):
    upload = house.remotes.start(ID, "")
    store.dead = True
    sent.send(upload, 1, b"one")
    sent.send(upload, 2, b"two")
    upload.forget(2)
    store.dead = False
    await upload.assemble([1])
    assert store.values[upload.key] == b"one"


async def test_so_many_parts_are_on_their_way_at_a_time(tmp_path, house, store, sent):
    running, most, gate = 0, 0, asyncio.Event()

    async def before(verb, key):
        nonlocal running, most
        if verb == "send_part":
            running += 1
            most = max(most, running)
            if running == 3:
                gate.set()
            await gate.wait()
            running -= 1

    store.before = before
    remotes = RemoteUploads(store, house.ledger, house.clock, at_once=2, in_all=3, pause_s=0.001)
    uploads = [remotes.start(ID, ""), remotes.start(ID[::-1], "")]
    for upload in uploads:
        for number in range(1, 6):
            sent.send(upload, number, b"%d" % number)
    for upload in uploads:
        await upload.all_sent(patience_s=5)
    assert most == 3
    await remotes.close()


async def test_a_store_that_takes_nothing_is_told_and_tried_on(house, store, sent, caplog):
    upload = house.remotes.start(ID, "")
    store.dead = True
    sent.send(upload, 1, b"one")
    with pytest.raises(StoreUnavailable):
        await upload.all_sent(patience_s=0.05)
    assert "does not answer" in str(upload.failure)
    store.dead = False
    await upload.all_sent(patience_s=5)
    assert str(upload.failure) == "None"
    assert caplog.text.count("takes no parts for now") == 1


async def test_a_store_that_never_answers_is_given_up_as_well(house, store, sent, monkeypatch):
    monkeypatch.setattr(remote_upload, "GRACE_S", 0.05)
    store.before = Halt("send_part")
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"one")
    with pytest.raises(StorageFailed, match="too slow"):
        await upload.all_sent(patience_s=0.05)


async def test_a_part_that_cannot_be_recorded_is_in_the_store_all_the_same(house, store, sent, caplog):
    async def then(part):
        raise StorageFailed("the disk failed")

    upload = house.remotes.start(ID, "")
    upload.send(1, *sent.part(1, b"one"), then=then)
    await upload.assemble([1])
    assert "stored, but not recorded" in caplog.text


async def test_parts_that_clients_put_there_belong_to_it(house, store, sent):
    """H088: taken from what the store lists."""
    upload = await house.remotes.begin(ID, "")
    part = await store.send_part(upload.key, upload.store_upload_id or "", 1, *sent.part(1, b"theirs"))
    upload.adopt([part])
    sent.send(upload, 2, b"ours")
    await upload.assemble([1, 2])
    assert store.values[upload.key] == b"theirsours"


async def test_an_aborted_upload_leaves_nothing_in_the_store(house, store, sent):
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"one")
    await upload.all_sent(patience_s=5)
    await upload.abort()
    await house.discarder.done()
    assert (store.unfinished, store.values, await house.ledger.objects()) == ({}, {}, [])


async def test_aborting_never_waits_for_a_dead_store(house, store, sent):
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"one")
    await upload.all_sent(patience_s=5)
    store.dead = True
    await upload.abort()
    assert [row.state for row in await house.ledger.objects()] == ["discard"]


async def test_parts_that_are_nowhere_any_more_are_told(house, store, sent):
    lost: list[int] = []
    upload = house.remotes.start(ID, "")
    upload.on_lost = lost.extend
    for number in (1, 2):
        sent.send(upload, number, b"%d" % number)
    await upload.all_sent(patience_s=5)
    upload.let_go(1)
    store.drop_uploads()
    with pytest.raises(MultipartGone):
        await upload.assemble([1, 2])
    assert lost == [1]
    assert 2 in upload.confirmed


async def test_when_the_server_stops_only_what_is_waited_for_is_sent(house, store, sent):
    waited, forgotten = house.remotes.start(ID, ""), house.remotes.start(ID[::-1], "")
    gate = asyncio.Event()

    async def before(verb, key):
        await gate.wait()

    store.before = before
    sent.send(waited, 1, b"one")
    sent.send(forgotten, 1, b"two")
    waiting = asyncio.create_task(waited.all_sent(patience_s=5))
    await asyncio.sleep(0)
    house.remotes.rest()
    gate.set()
    await waiting
    assert (list(waited.confirmed), list(forgotten.confirmed)) == ([1], [])


async def test_when_the_server_stops_nobody_waits_for_a_dead_store(house, store, sent):
    tried = asyncio.Event()

    async def before(verb, key):
        tried.set()
        raise StoreUnavailable("the store does not answer")

    store.before = before
    upload = house.remotes.start(ID, "")
    sent.send(upload, 1, b"one")
    waiting = asyncio.create_task(upload.all_sent(patience_s=3600))
    await tried.wait()
    house.remotes.rest()
    with pytest.raises(StoreUnavailable):
        await waiting


# -- the next process -------------------------------------------------------------------------------------------------


async def recorded(house, upload, sent, *numbers):
    """Parts that are sent, with their rows."""
    for number in numbers:
        content = b"%d" % number
        sent.send(upload, number, content)
        await upload.all_sent(patience_s=5)
        etag = upload.confirmed[number].etag
        await house.ledger.add_part(PartRow(ID, number, 1, sent.part(number, content)[1], etag))


async def next_process(house):
    remotes = RemoteUploads(house.store, house.ledger, house.clock, pause_s=0.001)
    await remotes.load()
    upload = remotes.of(ID)
    assert upload is not None
    return upload


async def test_the_next_process_goes_on_with_what_the_store_has(house, store, sent):
    await recorded(house, house.remotes.start(ID, ""), sent, 1, 2)
    upload = await next_process(house)
    assert (sorted(upload.confirmed), upload.is_checked) == ([1, 2], False)
    for number in (1, 2, 3):
        sent.send(upload, number, b"%d" % number)
    await upload.assemble([1, 2, 3])
    assert upload.is_checked
    assert store.count("send_part") == 3
    assert store.values[upload.key] == b"123"


async def test_the_next_process_believes_no_row_that_the_store_does_not_list(house, store, sent):
    await recorded(house, house.remotes.start(ID, ""), sent, 1, 2)
    for unfinished in store.unfinished.values():
        unfinished.parts[2] = b"x"
    upload = await next_process(house)
    for number in (1, 2):
        sent.send(upload, number, b"%d" % number)
    await upload.assemble([1, 2])
    assert store.values[upload.key] == b"12"


async def test_the_next_process_finds_assembled_what_was_not_recorded_as_that(house, store, sent):
    upload = house.remotes.start(ID, "")
    await recorded(house, upload, sent, 1, 2)
    store.losing["assemble"] = 1
    with pytest.raises(StoreUnavailable):
        await upload.assemble([1, 2])
    upload = await next_process(house)
    await upload.assemble([1, 2])
    assert upload.assembled
    assert store.count("send_part") == 2
    assert [row.state for row in await house.ledger.objects()] == ["whole"]


async def test_what_was_assembled_and_is_gone_is_sent_again(house, store, sent):
    first = house.remotes.start(ID, "")
    await recorded(house, first, sent, 1, 2)
    await first.assemble([1, 2])
    store.values.clear()
    upload = await next_process(house)
    for number in (1, 2):
        sent.send(upload, number, b"%d" % number)
    await upload.assemble([1, 2])
    assert store.values == {upload.key: b"12"}
    assert upload.key != first.key


async def test_an_upload_of_which_only_the_intention_is_known_is_begun(house, store, sent):
    """Killed between the row and the store's answer: what may have begun there is removed first."""
    store.losing["begin"] = 1
    first = house.remotes.start(ID, "")
    with pytest.raises(StoreUnavailable):
        await first.begin()
    assert len(store.unfinished) == 1
    upload = await next_process(house)
    sent.send(upload, 1, b"one")
    await upload.all_sent(patience_s=5)
    assert list(store.unfinished) == [upload.store_upload_id]


async def test_the_store_being_dead_at_the_start_hinders_nobody(house, store, sent):
    await recorded(house, house.remotes.start(ID, ""), sent, 1)
    store.dead = True
    upload = await next_process(house)
    sent.send(upload, 1, b"1")
    with pytest.raises(RegistryError):
        await upload.all_sent(patience_s=0.02)
    store.dead = False
    await upload.assemble([1])
    assert store.count("send_part") == 1
